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
    found, left = [], []
    for name, experiment in grid["experiments"].items():
        for path in sorted((folder / name).glob("*.png")):
            if _outdated(path, [by_folder[one] for one in experiment["runs"]]):
                left.append(f"{name}/{path.name}")
            else:
                found.append(_figure(path, f"experiment {name}", f"{name}/{path.stem}"))
    return found, left


def of_runs(runs: Sequence[Run], base: Mapping[Place, Setting], folder: Path) -> tuple[list[Figure], list[str]]:
    """Read the figures of one guided run per place: the first seed, at the setting that stands for the place."""
    found, left = [], []
    for run in representative(runs, base):
        name = folder / run.folder
        paths = [name.with_name(f"{name.name}.png"), *sorted(name.glob("*.png"))]
        for path in filter(Path.is_file, paths):
            if _outdated(path, [run]):
                left.append(str(path.relative_to(folder)))
            else:
                of = f"{place_name(run.place)}, {guidance(run.setting)}, seed {run.seed}"
                found.append(_figure(path, of, str(path.relative_to(folder).with_suffix(""))))
    return found, left


def representative(runs: Iterable[Run], base: Mapping[Place, Setting]) -> list[Run]:
    """Choose the guided run of the first seed for every place."""
    chosen: dict[Place, Run] = {}
    for run in runs:
        if run.setting == base.get(run.place) and (run.place not in chosen or run.seed < chosen[run.place].seed):
            chosen[run.place] = run
    return list(chosen.values())


def _outdated(path: Path, runs: Sequence[Run]) -> bool:
    """Say whether a figure cannot be of the runs as they are; a picture's own numbers cannot be marked one by one."""
    if any(run.state in ("stale", "damaged") for run in runs) or all(run.state == "pending" for run in runs):
        return True
    return max(run.written for run in runs) > path.stat().st_mtime + 1


def _figure(path: Path, of: str, name: str) -> Figure:
    kind = next((one for one in KINDS if path.stem == one or path.stem.startswith(f"{one}-")), None)
    title, alt = KINDS[kind] if kind else AVERAGES if path.stem.startswith("seed") else (path.stem, path.stem)
    numbers = path.with_suffix(".csv")
    link = ""
    if numbers.is_file() and numbers.stat().st_size <= LARGEST:
        link = f"data:text/csv;base64,{base64.b64encode(numbers.read_bytes()).decode()}"
    return Figure(name, title, of, f"{alt} ({of}).", *pictures.figure(path), link)
