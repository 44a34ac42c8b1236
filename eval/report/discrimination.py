"""Whether the maps of a setting tell the six classes apart, as means over its seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.records.runs import Place, Run, Setting, done
from eval.report.cells import Block, Cell, Column, of_texts
from eval.report.numbers import mean, number
from eval.report.runs import groups, is_compared, map_scores, place_name, variant_name
from eval.tables.kinds import MAPS

HEADINGS = ("skill", "retrieval, true (%)", "retrieval, predicted (%)", "own − other", "own face − others")


@dataclass(frozen=True)
class Discrimination:
    """Class discrimination of the maps of one kind in one place and setting, and the skill of their cosine."""

    of: str
    variant: str
    map: str
    seeds: int
    skill: float | None
    retrieval: float | None
    retrieval_predicted: float | None
    margin: float | None
    specificity: float | None
    truth: float | None


def of_runs(runs: Sequence[Run], base: Mapping[Place, Setting]) -> list[Discrimination]:
    """Gather every place and kind of map, for the runs without AU, the base setting and its controls."""
    return [
        _discrimination(place, setting, kind, members)
        for (place, setting), members in groups(done(runs)).items()
        for kind in MAPS
        if place in base and is_compared(setting, base[place]) and map_scores(members, kind)
    ]


def _discrimination(place: Place, setting: Setting, kind: str, runs: Sequence[Run]) -> Discrimination:
    maps = map_scores(runs, kind)
    return Discrimination(
        of=place_name(place),
        variant=variant_name(setting),
        map=MAPS[kind],
        seeds=len(maps),
        skill=mean(scores.get("skill") for scores in maps),
        retrieval=_macro(scores.get("retrieval_true") for scores in maps),
        retrieval_predicted=_macro(scores.get("retrieval_predicted") for scores in maps),
        margin=_macro(scores.get("own_minus_other") for scores in maps),
        specificity=_macro(scores.get("specificity") for scores in maps),
        truth=_macro((run.scores.get("truth") or {}).get(kind) for run in runs),
    )


def _macro(scores: Iterable[dict[str, Any] | None]) -> float | None:
    return mean((score or {}).get("macro") for score in scores)


def codebook_truth(runs: Sequence[Run]) -> float | None:
    """Return the cosine of the AU maps with the maps of the truly active AUs, if the dataset knows these."""
    return _macro((run.scores.get("truth") or {}).get("heatmap") for run in done(runs))


def table(rows: Sequence[Discrimination]) -> Block:
    """Arrange class discrimination as a table; the truly active AUs have a column if any row knows them."""
    with_truth = any(row.truth is not None for row in rows)
    columns = [Column(name, numeric=False) for name in ("run", "AU term", "map")]
    columns += [Column(name) for name in (*HEADINGS, *(["active AUs"] * with_truth), "seeds")]
    body = []
    for row in rows:
        values = [(row.skill, 1, 3), (row.retrieval, 100, 1), (row.retrieval_predicted, 100, 1)]
        values += [(row.margin, 1, 3), (row.specificity, 1, 3), *([(row.truth, 1, 3)] * with_truth)]
        cells = [Cell(number(None if v is None else factor * v, places), v) for v, factor, places in values]
        body.append([*of_texts(row.of, row.variant, row.map), *cells, Cell(str(row.seeds), row.seeds)])
    return Block("Skill and class discrimination", columns, body)
