"""The figures of a results folder, with texts for those who do not see them."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.report import pictures
from eval.report.runs import Place, Run, Setting, guidance, place_name

LARGEST = 60_000  # bytes of a CSV that the page carries along
KINDS = {  # file name -> title, what is to be seen
    "lambda": (
        "Fig. 5: accuracy and cosines by λ",
        "Lines of accuracy, CAM-COS and ATT-COS over lambda, the weight of the AU term, with the values without AU",
    ),
    "layers": (
        "Table 3 as a picture: the guided layers",
        "Accuracy, CAM-COS and ATT-COS for each set of guided layers, with the values without AU",
    ),
    "floors": (
        "Cosines beside what needs no network",
        "Bars of the cosines without and with AU beside floors such as the mean AU map of all classes",
    ),
    "faithfulness": (
        "Faithfulness: what the network loses when the map's pixels go",
        "Curves of the class's probability while the most important pixels are deleted or inserted",
    ),
    "matrices": (
        "Figs. 10 and 11: confusion, and cosines per class and layer",
        "Two matrices: faces by true and predicted class; cosines with the AU map by expression and layer",
    ),
    "panels": (
        "Fig. 4: single faces",
        "Test faces in rows: the image, its AU map, CAM and attention without and with AU",
    ),
    "reliability": (
        "Reliability: is a confidence of 80 % right in 80 % of cases?",
        "Accuracy by confidence in bins, with the diagonal of a perfectly calibrated network",
    ),
}
AVERAGES = (
    "Figs. 6 to 9: where the network looks on average",
    "Average AU map, CAM and attention of each expression, without and with AU, one colour scale per kind of map",
)


@dataclass(frozen=True)
class Figure:
    """A figure: its title, what it is of, the text in its place, the picture and its numbers as data URIs."""

    name: str
    title: str
    of: str
    alt: str
    picture: str
    size: tuple[int, int]
    numbers: str = ""


def of_experiments(grid: Mapping[str, Any], runs: Sequence[Run], folder: Path) -> tuple[list[Figure], list[str]]:
    """Read the figures of experiments; leave out, and name, those that are older than one of their runs or stale."""
    by_folder = {run.folder: run for run in runs}
    found: list[Figure] = []
    left: list[str] = []
    for name, experiment in grid["experiments"].items():
        for path in sorted((folder / name).glob("*.png")):
            current = _current(path, [by_folder[one] for one in experiment["runs"]])
            if current and (figure := _figure(path, f"experiment {name}", f"{name}/{path.stem}")):
                found.append(figure)
            else:
                left.append(f"{name}/{path.name}")
    return found, left


def of_runs(runs: Sequence[Run], base: Mapping[Place, Setting], folder: Path) -> tuple[list[Figure], list[str]]:
    """Read the figures of one guided run per place: the first seed, at the setting that stands for the place."""
    found: list[Figure] = []
    left: list[str] = []
    for run in representative(runs, base):
        name = folder / run.folder
        paths = [name.with_name(f"{name.name}.png"), *sorted(name.glob("*.png"))]
        for path in filter(Path.is_file, paths):
            place = path.relative_to(folder)
            of = f"{place_name(run.place)}, {guidance(run.setting)}, seed {run.seed}"
            if _current(path, [run]) and (figure := _figure(path, of, str(place.with_suffix("")))):
                found.append(figure)
            else:
                left.append(str(place))
    return found, left


def representative(runs: Iterable[Run], base: Mapping[Place, Setting]) -> list[Run]:
    """Choose the guided run of the first seed for every place."""
    chosen: dict[Place, Run] = {}
    for run in runs:
        if run.setting == base.get(run.place) and (run.place not in chosen or run.seed < chosen[run.place].seed):
            chosen[run.place] = run
    return list(chosen.values())


def _current(path: Path, runs: Sequence[Run]) -> bool:
    """Say whether a figure can be of the runs as they are; what is in a picture cannot be marked number by number."""
    if any(run.state in ("stale", "damaged") for run in runs) or all(run.state == "pending" for run in runs):
        return False
    return max(run.written for run in runs) <= path.stat().st_mtime + 1


def _figure(path: Path, of: str, name: str) -> Figure | None:
    """Read a figure, its text and its numbers; None if it is damaged."""
    kind = next((one for one in KINDS if path.stem == one or path.stem.startswith(f"{one}-")), None)
    title, alt = KINDS[kind] if kind else AVERAGES if path.stem.startswith("seed") else (path.stem, path.stem)
    numbers = path.with_suffix(".csv")
    link = ""
    if numbers.is_file() and numbers.stat().st_size <= LARGEST:
        link = f"data:text/csv;base64,{base64.b64encode(numbers.read_bytes()).decode()}"
    try:
        return Figure(name, title, of, f"{alt} ({of}).", *pictures.figure(path), link)
    except OSError:
        return None
