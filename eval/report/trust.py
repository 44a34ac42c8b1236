"""How far to trust the numbers: the number of test faces, ladders of cosines, and whether maps tell classes apart.

A ladder shows what baselines, networks and controls reach on the same test faces. Numbers are means over the seeds of a
setting. Baselines are those of the run with AU if there is one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from au_guidance.expressions import SIX
from eval.metrics.baselines import BASELINES
from eval.metrics.names import COSINES
from eval.records.runs import PLAIN, Place, Run, Setting, done
from eval.report.cells import Block, Cell, columns, mean, number, of_texts
from eval.report.runs import groups, is_compared, map_scores, place_name, variant_name
from eval.tables.kinds import MAPS

DISCRIMINATION = {  # score of a kind of map -> heading, factor, decimals
    "skill": ("skill", 1, 3),
    "retrieval_true": ("retrieval, true (%)", 100, 1),
    "retrieval_predicted": ("retrieval, predicted (%)", 100, 1),
    "own_minus_other": ("own − other", 1, 3),
    "specificity": ("own face − others", 1, 3),
    "truth": ("active AUs", 1, 3),
}


def of_test_faces(runs: Sequence[Run]) -> list[str]:
    """Return a sentence per dataset: its number of test faces, and the uncertainty that this number alone causes.

    The error of an accuracy a on n faces is 1.96 sqrt(a (1 - a) / n), the normal approximation of a 95 % interval.
    """
    sentences: dict[str, str] = {}
    for run in done(runs):
        scores, classes = run.scores, run.scores["per_class"]
        rarest = min((expression.label for expression in SIX), key=lambda label: classes[label]["images_with_map"])
        accuracy, count = scores["accuracy"], scores["images"]
        error = 196 * (accuracy * (1 - accuracy) / count) ** 0.5
        sentences.setdefault(
            run.dataset,
            f"{run.dataset}: {count} test faces, {scores['images_with_map']} with an AU map. With another sample of "
            f"faces, a CL of {number(100 * accuracy, 0)} % would vary by about ±{number(error, 1)} points (95 %). The "
            f"rarest expression, {rarest}, has {classes[rarest]['images_with_map']} faces with a map and counts for a "
            "sixth of every cosine.",
        )
    return list(sentences.values())


@dataclass(frozen=True)
class Step:
    """A step of a ladder: a label and its cosine; `kind` is baseline, ceiling, plain, au or control."""

    label: str
    value: float
    kind: str
    remark: str = ""

    @property
    def text(self) -> str:
        """The cosine as text."""
        return number(self.value, 3)


@dataclass(frozen=True)
class Ladder:
    """The cosines with the AU maps of the same faces, from the lowest to the highest."""

    of: str
    map: str
    steps: list[Step]


def ladders(runs: Sequence[Run], base: Mapping[Place, Setting]) -> list[Ladder]:
    """Make the ladder of every place and kind of map that has a finished run."""
    grouped, made = groups(done(runs)), []
    for place, chosen in base.items():
        settings = [setting for other, setting in grouped if other == place and is_compared(setting, chosen)]
        for kind, name in COSINES.items():
            scores = {setting: map_scores(grouped[place, setting], kind) for setting in settings}
            if scores := {setting: maps for setting, maps in scores.items() if maps}:
                made.append(Ladder(place_name(place), name, _steps(scores, chosen)))
    return made


def _steps(scores: Mapping[Setting, Sequence[dict[str, Any]]], chosen: Setting) -> list[Step]:
    steps = []
    source = scores.get(chosen) or next(iter(scores.values()))
    for name, baseline in BASELINES.items():
        value = mean(maps["baselines"].get(name) for maps in source)
        if value is not None:
            kind = "ceiling" if name == "ceiling" else "baseline"
            steps.append(Step(baseline.label, value, kind, baseline.description))
    for setting, maps in scores.items():
        value = mean(score["cosine"]["macro"] for score in maps)
        kind = "plain" if setting == PLAIN else "au" if setting == chosen else "control"
        if value is not None:
            label = "guided by: " if kind == "control" else "network "
            steps.append(Step(label + variant_name(setting), value, kind))
    return sorted(steps, key=lambda step: step.value)


@dataclass(frozen=True)
class Discrimination:
    """Means over seeds of the scores DISCRIMINATION of one kind of map, in one place and setting."""

    of: str
    variant: str
    map: str
    seeds: int
    scores: dict[str, float | None]


def discriminations(runs: Sequence[Run], base: Mapping[Place, Setting]) -> list[Discrimination]:
    """Gather every place and kind of map, for the runs without AU, the base setting and its controls."""
    return [
        _discrimination(place, setting, kind, members)
        for (place, setting), members in groups(done(runs)).items()
        for kind in MAPS
        if place in base and is_compared(setting, base[place]) and map_scores(members, kind)
    ]


def _discrimination(place: Place, setting: Setting, kind: str, runs: Sequence[Run]) -> Discrimination:
    maps = map_scores(runs, kind)
    scores = {name: _macro(score.get(name) for score in maps) for name in DISCRIMINATION}
    scores["truth"] = _truth(runs, kind)
    return Discrimination(place_name(place), variant_name(setting), MAPS[kind], len(maps), scores)


def _macro(scores: Iterable[Any]) -> float | None:
    return mean(score.get("macro") if isinstance(score, dict) else score for score in scores)


def _truth(runs: Iterable[Run], kind: str) -> float | None:
    return _macro((run.scores.get("truth") or {}).get(kind) for run in runs)


def codebook_truth(runs: Sequence[Run]) -> float | None:
    """Return the cosine of the AU maps with the maps of the truly active AUs, if the dataset knows these."""
    return _truth(done(runs), "heatmap")


def table(rows: Sequence[Discrimination]) -> Block:
    """Arrange class discrimination as a table; the truly active AUs have a column if any row knows them."""
    with_truth = any(row.scores["truth"] is not None for row in rows)
    shown = {name: column for name, column in DISCRIMINATION.items() if name != "truth" or with_truth}
    body = []
    for row in rows:
        values = [(row.scores[name], factor, places) for name, (_, factor, places) in shown.items()]
        cells = [Cell(number(None if v is None else factor * v, places), v) for v, factor, places in values]
        body.append([*of_texts(row.of, row.variant, row.map), *cells, Cell(str(row.seeds), row.seeds)])
    heads = columns(("run", "AU term", "map"), [*(heading for heading, _, _ in shown.values()), "seeds"])
    return Block("Skill and class discrimination", heads, body)
