"""Faces of the test set, drawn by seed and not picked: image, AU map, CAM and attention, without and with AU."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.records.runs import Place, Run, Setting
from eval.report import pictures
from eval.report.figures import representative
from eval.report.runs import guidance, place_name
from eval.report.words import number

BUDGET = 3_500_000  # bytes of all encoded pictures together; beyond it fewer faces of each class are shown
PICTURES = {  # file of a face -> caption
    "image": "face",
    "heatmap": "AU map",
    "cam_plain": "CAM without AU",
    "cam_au": "CAM with AU",
    "attention_plain": "attention without AU",
    "attention_au": "attention with AU",
}


@dataclass(frozen=True)
class Face:
    """A face: its class, what both networks said, and its pictures (caption, text, data URI, cosine)."""

    name: str
    expression: str
    run: str
    plain: str
    au: str
    right_plain: bool
    right_au: bool
    pictures: list[tuple[str, str, str, str]] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """Who was right: both, none, au (guidance mended it) or plain (guidance broke it)."""
        return {(1, 1): "both", (0, 0): "none", (0, 1): "au", (1, 0): "plain"}[self.right_plain, self.right_au]


@dataclass(frozen=True)
class Gallery:
    """The gallery: its faces, the runs that they are of, and what could not be shown."""

    faces: list[Face]
    runs: dict[str, str]
    left: list[str]

    @property
    def expressions(self) -> list[str]:
        """The classes of its faces, in their order of appearance."""
        return list(dict.fromkeys(face.expression for face in self.faces))


def read(runs: Sequence[Run], base: Mapping[Place, Setting], folder: Path) -> Gallery:
    """Read the gallery of every place whose runs are done; trim all classes alike to what the page may weigh."""
    sources: list[tuple[Run, list[Face]]] = []
    left: list[str] = []
    for run in representative(runs, base):
        path = folder / run.name / "gallery" / "gallery.json"
        if not path.is_file():
            continue
        twins = [one for one in runs if one.place == run.place and one.seed == run.seed and not one.setting[0]]
        current = all(one.state == "done" and one.predicted <= path.stat().st_mtime + 1 for one in (run, *twins))
        faces = _faces(run, path) if current else []
        if faces:
            sources.append((run, faces))
        else:
            left.append(place_name(run.place))
    share = BUDGET // max(1, len(sources))
    names = {run.name: f"{place_name(run.place)}, {guidance(run.setting)}" for run, _ in sources}
    return Gallery([face for _, faces in sources for face in fitting(faces, share)], names, left)


def fitting(faces: Iterable[Face], budget: int) -> list[Face]:
    """Keep as many faces of every class as fit; within a class they are in the order in which they were drawn."""
    by_class: dict[str, list[Face]] = {}
    for face in faces:
        by_class.setdefault(face.expression, []).append(face)
    kept: list[Face] = []
    for rank in range(max((len(found) for found in by_class.values()), default=0)):
        row = [found[rank] for found in by_class.values() if rank < len(found)]
        budget -= sum(len(uri) for face in row for _, _, uri, _ in face.pictures)
        if budget < 0:
            break
        kept += row
    order = list(by_class)
    return sorted(kept, key=lambda face: order.index(face.expression))


def _faces(run: Run, path: Path) -> list[Face]:
    """Read the faces of a gallery; none if it is damaged."""
    try:
        return [_face(run, path.parent, one) for one in json.loads(path.read_text(encoding="utf-8"))]
    except (KeyError, ValueError, OSError):
        return []


def _face(run: Run, folder: Path, one: Mapping[str, Any]) -> Face:
    shown = []
    for kind, caption in PICTURES.items():
        file = one["files"].get(kind)
        if not file or not (folder / file).is_file():
            continue
        cosine = one.get("cosines", {}).get(kind)
        score = "" if cosine is None else number(cosine, 2)
        alt = f"{caption} of {one['id']}, {one['expression']}" + (f", cosine {score}" if score else "")
        shown.append((caption, alt, pictures.face(folder / file), score))
    return Face(
        name=str(one["id"]),
        expression=one["expression"],
        run=run.name,
        plain=_said(one, "plain"),
        au=_said(one, "au"),
        right_plain=bool(one["correct_plain"]),
        right_au=bool(one["correct_au"]),
        pictures=shown,
    )


def _said(one: Mapping[str, Any], which: str) -> str:
    probability = one.get("probabilities", {}).get(which)
    return f"{one[f'predicted_{which}']}" + ("" if probability is None else f" ({100 * probability:.0f} %)")
