"""Class by class: average maps, recall and cosines, and the classes that faces are taken for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from au_guidance.expressions import SEVEN, SIX
from eval.figures import style
from eval.figures.maps import read_averages
from eval.records.runs import PLAIN, Place, Run, Setting, done
from eval.report import embed
from eval.report.cells import Block, Cell, columns, mean, of_number, of_texts
from eval.report.figures import representative
from eval.report.runs import au_term, groups, place_name, plain_run
from eval.tables import layout
from pipeline.errors import UserError

Maps = Mapping[str, NDArray[np.float32]]
Members = Mapping[tuple[Place, Setting], list[Run]]
ROW = ("run", "AU term")  # what names a row


class Line(NamedTuple):
    """One kind of average map of a run, whose `maps` are by kind and class."""

    caption: str
    kind: str
    maps: Maps


@dataclass(frozen=True)
class Strip:
    """The average maps of a class in two runs, each with its caption and the text in its place."""

    of: str
    pictures: list[tuple[str, str, str]]


@dataclass(frozen=True)
class Class:
    """The results of a class; `confusion` says which classes its faces were taken for."""

    name: str
    faces: str
    strips: list[Strip] = field(default_factory=list)
    numbers: Block | None = None
    confusion: Block | None = None


def of_runs(runs: Sequence[Run], base: Mapping[Place, Setting]) -> list[Class]:
    """Gather every class of the finished runs, without AU and at the setting that represents their place."""
    together = {key: members for key, members in groups(done(runs)).items() if key[1] in (PLAIN, base.get(key[0]))}
    strips = [_strips(run, runs) for run in representative(runs, base)]
    return [_class(expression.label, together, strips) for expression in SEVEN] if together else []


def _class(label: str, together: Members, strips: Sequence[Mapping[str, Strip]]) -> Class:
    counts = {place[0]: members[0].scores["per_class"][label]["images"] for (place, _), members in together.items()}
    faces = ", ".join(f"{count} test faces in {dataset}" for dataset, count in counts.items())
    shown = [by_class[label] for by_class in strips if label in by_class]
    return Class(label, faces, shown, _numbers(label, together), _confusion(label, together))


def _strips(run: Run, runs: Sequence[Run]) -> dict[str, Strip]:
    """Show the average maps of a guided run and of its run without AU by class; maps of one kind share a scale."""
    sides = {"plain": plain_run(run, runs), "au": run}
    pair = [(name, maps) for name, side in sides.items() if side and (maps := _stored(side))]
    lines = [Line("AU map", "au_map", maps) for _, maps in pair[-1:]]
    for kind, caption in (("cam", "CAM"), (f"attention_{run.layer}", "attention")):
        lines += [Line(f"{caption} {layout.VARIANTS[name]}", kind, maps) for name, maps in pair]
    of = f"{place_name(run.place)}, {layout.guidance_name(*run.setting)}, seed {run.seed}"
    scales = {line.kind: _scale(line.kind, lines) for line in lines}
    strips = {expression.label: Strip(of, _pictures(expression.label, of, lines, scales)) for expression in SIX}
    return {label: strip for label, strip in strips.items() if strip.pictures}


def _scale(kind: str, lines: Sequence[Line]) -> tuple[float, float]:
    together = (line.maps for line in lines if line.kind == kind)
    return style.limits(maps[name] for maps in together for name in maps if name.startswith(f"{kind}_"))


def _pictures(
    label: str, of: str, lines: Sequence[Line], scales: Mapping[str, tuple[float, float]]
) -> list[tuple[str, str, str]]:
    shown = [(line, line.maps.get(f"{line.kind}_{label}")) for line in lines]
    return [
        (line.caption, f"average {line.caption} of {label} ({of})", embed.colour(values, *scales[line.kind]))
        for line, values in shown
        if values is not None and np.isfinite(values).all()
    ]


def _stored(run: Run) -> Maps | None:
    path = run.folder / "average_maps.npz"
    if run.state != "done" or not path.is_file():
        return None
    try:
        maps, about = read_averages(path)
    except UserError:
        return None
    return maps if about.get("checkpoint") == run.scores.get("checkpoint") else None


def _numbers(label: str, together: Members) -> Block:
    """Make the table of recall and cosines of a class, a row per place and setting."""
    rows = []
    for (place, setting), members in together.items():
        parts = [run.scores["per_class"][label] for run in members]
        attention = [part["attention_cosine"].get(str(run.layer)) for run, part in zip(members, parts, strict=True)]
        values = [
            mean([100 * part["recall"] for part in parts if part["recall"] is not None]),
            mean([part["cam_cosine"] for part in parts]),
            mean(attention),
        ]
        cells = [of_number(value, places) for value, places in zip(values, (1, 3, 3), strict=True)]
        rows.append([*of_texts(place_name(place), au_term(setting)), *cells, Cell(str(len(members)), len(members))])
    return Block("Numbers", columns(ROW, ("recall (%)", "CAM-COS", "ATT-COS", "seeds")), rows)


def _confusion(label: str, together: Members) -> Block:
    """Make the table of the classes that the faces of a class were taken for, in percent."""
    rows = []
    for (place, setting), members in together.items():
        labels = members[0].scores["labels"]
        total = np.sum([run.scores["confusion"][labels.index(label)] for run in members], axis=0)
        counts = total[[labels.index(expression.label) for expression in SEVEN]]
        shares = 100 * counts / counts.sum() if counts.sum() else np.full(len(SEVEN), np.nan)
        cells = [of_number(float(share), 1) for share in shares]
        rows.append([*of_texts(place_name(place), au_term(setting)), *cells])
    return Block("Taken for (% of its faces)", columns(ROW, (expression.label for expression in SEVEN)), rows)
