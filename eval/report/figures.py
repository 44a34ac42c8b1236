"""The figures of a results folder, with alternative texts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.records.runs import PLAIN, Place, Run, Setting
from eval.report import embed
from eval.report.runs import au_term, is_compared, place_name

LARGEST = 60_000  # bytes of a CSV that is embedded in the page
KINDS = {  # file name -> title, what is to be seen
    "lambda": (
        "Fig. 5: accuracy and cosines by λ",
        "Lines of accuracy, CAM-COS and ATT-COS over lambda, the weight of the AU term, with the values without AU",
    ),
    "layers": (
        "Table 3 as a picture: the guided layers",
        "Accuracy, CAM-COS and ATT-COS for each set of guided layers, with the values without AU",
    ),
    "baselines": (
        "Cosines beside their baselines",
        "Bars of the cosines without and with AU beside baselines such as the mean AU map of all classes",
    ),
    "faithfulness": (
        "Faithfulness: deletion, insertion and ROAD",
        "Curves of the class's probability while the most important pixels are deleted or inserted",
    ),
    "matrices": (
        "Figs. 10 and 11: confusion, and cosines per class and layer",
        "Matrices with AU above without: faces by true and predicted class; cosines by expression and layer",
    ),
    "panels": (
        "Fig. 4: single faces",
        "Test faces in rows: the image, its AU map, CAM and attention without and with AU",
    ),
    "reliability": (
        "Reliability: accuracy by confidence",
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


@dataclass
class FigureSet:
    """Figures by what they are of, and the names of those that cannot be shown."""

    figures: dict[str, list[Figure]] = field(default_factory=dict)
    omitted: list[str] = field(default_factory=list)

    def add(self, path: Path, folder: Path, runs: Sequence[Run], of: str) -> None:
        """Add a figure if it is current and undamaged; otherwise list it as omitted."""
        place = path.relative_to(folder)
        figure = _figure(path, of, str(place.with_suffix(""))) if _current(path, runs) else None
        if figure:
            self.figures.setdefault(of, []).append(figure)
        else:
            self.omitted.append(str(place))


def of_experiments(grid: Mapping[str, Any], runs: Sequence[Run], folder: Path) -> FigureSet:
    """Read the figures of experiments."""
    by_name, figures = {run.name: run for run in runs}, FigureSet()
    for name, experiment in grid["experiments"].items():
        for path in sorted((folder / name).glob("*.png")):
            figures.add(path, folder, [by_name[run] for run in experiment["runs"]], f"Experiment {name}")
    return figures


def of_runs(runs: Sequence[Run], base: Mapping[Place, Setting], folder: Path) -> FigureSet:
    """Read the figures of single runs: the first seed of every place without AU, with AU and of its controls."""
    figures = FigureSet()
    for run in representative(runs, base, others=True):
        name = folder / run.name
        for path in filter(Path.is_file, (name.with_name(f"{name.name}.png"), *sorted(name.glob("*.png")))):
            figures.add(path, folder, [run], f"{place_name(run.place)}, {au_term(run.setting)}, seed {run.seed}")
    return figures


def representative(runs: Iterable[Run], base: Mapping[Place, Setting], *, others: bool = False) -> list[Run]:
    """Choose the run of the first seed of every place's base setting; `others`: also those without AU and controls."""
    chosen: dict[tuple[Place, Setting], Run] = {}
    for run in runs:
        own = base.get(run.place, PLAIN)
        if is_compared(run.setting, own) if others else run.setting == own != PLAIN:
            chosen.setdefault((run.place, run.setting), run)
    return list(chosen.values())


def _current(path: Path, runs: Sequence[Run]) -> bool:
    """Return whether a figure is of the runs as they are now: a picture cannot mark single numbers as stale."""
    if any(run.state in ("stale", "damaged") for run in runs) or all(run.state == "pending" for run in runs):
        return False
    return max(run.predicted for run in runs) <= path.stat().st_mtime + 1


def _figure(path: Path, of: str, name: str) -> Figure | None:
    """Read a figure, its text and its numbers; None if it is damaged."""
    unknown = AVERAGES if path.stem.startswith("seed") else (path.stem, path.stem)
    title, alt = KINDS.get(path.stem.partition("-")[0], unknown)
    numbers = path.with_suffix(".csv")
    embedded = numbers.is_file() and numbers.stat().st_size <= LARGEST
    try:
        link = embed.csv(numbers.read_text(encoding="utf-8")) if embedded else ""
        return Figure(name, title, of, f"{alt} ({of}).", *embed.figure(path), link)
    except OSError:
        return None
