"""Test faces, drawn at random by seed: image, AU map, CAM and attention, without and with AU."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from au_guidance.expressions import SEVEN
from eval.records.runs import Place, Run, Setting
from eval.report import embed
from eval.report.cells import number
from eval.report.figures import representative
from eval.report.runs import place_name, plain_run
from eval.tables import layout

CLASSES = [expression.label for expression in SEVEN]
BUDGET = 3_500_000  # bytes of all encoded pictures; beyond it, fewer faces of each class are shown
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
    """A face: its class, the answers of both networks, and its pictures (caption, text, data URI, cosine)."""

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
        """Which network was right: both, none, au (only the guided one) or plain (only the one without AU)."""
        return {(1, 1): "both", (0, 0): "none", (0, 1): "au", (1, 0): "plain"}[self.right_plain, self.right_au]


@dataclass(frozen=True)
class Gallery:
    """The gallery: its faces, the runs that they are of, and the places whose gallery is omitted."""

    faces: list[Face]
    runs: dict[str, str]
    omitted: list[str]

    @property
    def expressions(self) -> list[str]:
        """The classes of its faces, in CLASSES' order."""
        present = {face.expression for face in self.faces}
        return [label for label in CLASSES if label in present]


def of_runs(runs: Sequence[Run], base: Mapping[Place, Setting], folder: Path) -> Gallery:
    """Read the gallery of every place whose runs are done; shorten all classes alike to stay within BUDGET."""
    sources: list[tuple[Run, list[Face]]] = []
    omitted: list[str] = []
    for run in representative(runs, base):
        path = folder / run.name / "gallery" / "gallery.json"
        if not path.is_file():
            continue
        pair = [run, plain] if (plain := plain_run(run, runs)) else [run]
        current = all(side.state == "done" and side.predicted <= path.stat().st_mtime + 1 for side in pair)
        faces = _faces(run, path) if current else []
        if faces:
            sources.append((run, faces))
        else:
            omitted.append(place_name(run.place))
    share = BUDGET // max(1, len(sources))
    names = {run.name: f"{place_name(run.place)}, {layout.guidance_name(*run.setting)}" for run, _ in sources}
    return Gallery([face for _, faces in sources for face in fitting(faces, share)], names, omitted)


def fitting(faces: Iterable[Face], budget: int) -> list[Face]:
    """Keep as many faces of every class as fit into `budget` bytes, the first ones of each class, in CLASSES' order."""
    by_class: dict[str, list[Face]] = {label: [] for label in CLASSES}
    for face in faces:
        by_class[face.expression].append(face)
    kept: list[Face] = []
    for faces_of_rank in zip_longest(*by_class.values()):
        row = [face for face in faces_of_rank if face]
        budget -= sum(len(uri) for face in row for _, _, uri, _ in face.pictures)
        if budget < 0:
            break
        kept += row
    return sorted(kept, key=lambda face: CLASSES.index(face.expression))


def _faces(run: Run, path: Path) -> list[Face]:
    """Read the faces of a gallery; none if it is damaged."""
    try:
        return [_face(run, path.parent, entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (KeyError, ValueError, OSError):
        return []


def _face(run: Run, folder: Path, entry: Mapping[str, Any]) -> Face:
    shown = []
    for kind, caption in PICTURES.items():
        file = entry["files"].get(kind)
        if not file or not (folder / file).is_file():
            continue
        cosine = entry.get("cosines", {}).get(kind)
        score = "" if cosine is None else number(cosine, 2)
        alt = f"{caption} of {entry['id']}, {entry['expression']}" + (f", cosine {score}" if score else "")
        shown.append((caption, alt, embed.face(folder / file), score))
    return Face(
        name=str(entry["id"]),
        expression=entry["expression"],
        run=run.name,
        plain=_answer(entry, "plain"),
        au=_answer(entry, "au"),
        right_plain=bool(entry["correct_plain"]),
        right_au=bool(entry["correct_au"]),
        pictures=shown,
    )


def _answer(entry: Mapping[str, Any], side: str) -> str:
    probability = entry.get("probabilities", {}).get(side)
    return f"{entry[f'predicted_{side}']}" + ("" if probability is None else f" ({100 * probability:.0f} %)")
