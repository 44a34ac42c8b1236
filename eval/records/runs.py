"""The runs that tables, figures and the report show: their scores, and which expected ones are missing or stale."""

import argparse
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.storage.files import refuse_overwriting

BESIDE = ("images.csv", "faithfulness.json", "faithfulness.csv", "history.csv")  # what is read beside scores
REQUIRED = {
    "dataset", "method", "variant", "weight", "layers", "seed", "protocol", "settings",
    "images", "images_with_map", "accuracy", "cam_cosine", "attention_cosine",
}  # fmt: skip
OF_GRID_RUN = ("dataset", "protocol", "method", "weight", "layers", "seed", "card")
OWN = "own"  # the AU map that guided runs which are no controls align to
STATES = {
    "done": "its scores are there and of this configuration",
    "pending": "expected, not there yet",
    "stale": "made under another configuration; its numbers are not shown",
    "damaged": "its scores cannot be read; its numbers are not shown",
}

Scores = dict[str, Any]
Place = tuple[str, str, str]  # dataset, protocol, method
Setting = tuple[float, tuple[int, ...], str]  # lambda, layers from the deepest on, map
PLAIN: Setting = (0.0, (), "")  # of all runs without AU


@dataclass(frozen=True, eq=False)
class Run:
    """One run of a grid or of a scores file: what it is, its state, and its scores if it is done.

    `state` is a key of STATES; a run that is not done has no scores here, so that they can enter no table. `layers` run
    from the deepest to the first. `path` is its scores file, `name` its folder below `<results>/runs` if a grid expects
    it, and `card` the digest of its configuration.
    """

    dataset: str
    protocol: str
    method: str
    weight: float
    layers: tuple[int, ...]
    map: str
    seed: int
    state: str = "done"
    path: Path = Path()
    scores: Scores = field(default_factory=dict)
    name: str = ""
    card: str | None = None

    @property
    def variant(self) -> str:
        """`plain`, `au`, or the map of a control."""
        return variant(self.weight, self.map)

    @property
    def layer(self) -> int:
        """The guided layer nearest the output, which tables and pictures show; a plain run's deepest."""
        return self.layers[0]

    @property
    def place(self) -> Place:
        """What a guided run shares with the plain run that it is compared with, but for the seed."""
        return self.dataset, self.protocol, self.method

    @property
    def setting(self) -> Setting:
        """What tells the variants of a place apart; all plain runs are one."""
        return (self.weight, self.layers, self.map) if self.weight else PLAIN

    @property
    def key(self) -> tuple[Place, Setting, int]:
        """What tells runs apart."""
        return self.place, self.setting, self.seed

    @property
    def folder(self) -> Path:
        """The folder of its files."""
        return self.path.parent

    @property
    def predicted(self) -> float:
        """When its predictions were written (seconds); scores and pictures follow in any order. 0 if there are none."""
        predictions = self.folder / "predictions.h5"
        return predictions.stat().st_mtime if self.state == "done" and predictions.is_file() else 0.0


def variant(weight: float, source: str) -> str:
    """Name a variant by its lambda and the map that it aligns to: `plain`, `au`, or the map of a control."""
    return "plain" if weight == 0 else "au" if source == OWN else source


def done(runs: Iterable[Run]) -> list[Run]:
    """Keep the runs whose numbers may be shown."""
    return [run for run in runs if run.state == "done"]


def read_json(path: Path, what: str, command: str, required: Collection[str] = ()) -> Scores:
    """Read a JSON object with the required keys; raise UserError that says which command makes it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; make it with {command}") from None
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{path} is no {what}; make it with {command}")
    if missing := sorted(set(required) - content.keys()):
        raise UserError(f"{path} is no {what} (it has no {missing[0]}); make it with {command}")
    return content


def read_run(path: Path) -> Run:
    """Read a file of `eval.score`; raise UserError if it is none."""
    scores = read_json(path, "scores file", "python -m eval.score", REQUIRED)
    if any("baselines" not in maps for maps in scores.get("maps", {}).values()):
        raise UserError(f"{path} is of an earlier version (its maps have no baselines); run python -m eval.score again")
    run = replace(_described(scores), path=path, scores=scores)
    if str(run.layer) not in scores["attention_cosine"]:
        raise UserError(f"{path} has no attention_cosine of layer {run.layer}; make it again with python -m eval.score")
    return run


def _described(row: Mapping[str, Any]) -> Run:
    return Run(
        dataset=row["dataset"],
        protocol=row["protocol"],
        method=row["method"],
        weight=float(row["weight"]),
        layers=tuple(sorted(set(row["layers"]), reverse=True)),
        map=row.get("map") or OWN,
        seed=row["seed"],
        card=row.get("card"),
    )


def read_grid(path: Path) -> dict[str, Any]:
    """Read `grid.json`; raise UserError if it is none, or one of its runs or experiments does not say what it is."""
    command = "python -m workflow.config --grid"
    grid = read_json(path, "grid", command, ("experiments", "runs"))
    lacking = {name: [key for key in OF_GRID_RUN if key not in row] for name, row in grid["runs"].items()}
    for name, experiment in grid["experiments"].items():
        lacking[name] = [key for key in ("kind", "runs") if key not in experiment]
        lacking[name] += sorted(set(experiment.get("runs", ())) - grid["runs"].keys())
    for name, keys in lacking.items():
        if keys:
            raise UserError(f"{path}: {name} has no {keys[0]}; make it with {command}")
    return grid


def expected_runs(grid: Mapping[str, Any], results: Path) -> list[Run]:
    """Look up the state and scores of every run of a grid in a results folder, in the grid's order."""
    return [_looked_up(run) for run in _pending(grid, grid["runs"], results)]


def _pending(grid: Mapping[str, Any], names: Iterable[str], results: Path) -> list[Run]:
    paths = {name: results / "runs" / name / "scores.json" for name in names}
    return [replace(_described(grid["runs"][name]), state="pending", path=paths[name], name=name) for name in paths]


def _looked_up(run: Run) -> Run:
    if not run.path.is_file():
        return run
    try:
        read = read_run(run.path)
    except UserError:
        return replace(run, state="damaged")
    return _current(read, run)


def gather(
    files: Sequence[Path], *, grid: Path | None = None, experiment: str | None = None, so_far: bool = False
) -> list[Run]:
    """Read scores files; with a grid (`python -m workflow.config --grid`), list what its experiment expects.

    Runs that are expected and not there are pending. Scores of another configuration than the grid's, or of a run that
    is not in it, raise UserError; `so_far` leaves the latter out and calls the former stale. Without files, those of
    the grid's runs below its folder are taken, as many as there are.
    """
    if grid is None:
        return _distinct([read_run(path) for path in files])
    runs = {run.key: run for run in _of_experiment(grid, experiment)}
    there = files or [run.path for run in runs.values() if run.path.is_file()]
    for read in _distinct([read_run(path) for path in there]):
        if read.key in runs:
            runs[read.key] = _current(read, runs[read.key])
            if runs[read.key].state == "stale" and not so_far:
                raise UserError(f"{read.path} was made under another configuration than {grid}; run the workflow again")
        elif not so_far:
            expected = f"{experiment} in {grid}" if experiment else str(grid)
            raise UserError(f"{read.path} is of no run of {expected}; leave it out")
    return list(runs.values())


def _of_experiment(path: Path, experiment: str | None) -> list[Run]:
    grid = read_grid(path)
    experiments = grid["experiments"]
    if experiment is not None and experiment not in experiments:
        raise UserError(f"{path} has no experiment {experiment!r}; it has {', '.join(experiments)}")
    return _pending(grid, experiments[experiment]["runs"] if experiment else grid["runs"], path.parent)


def _current(read: Run, expected: Run) -> Run:
    if read.card == expected.card:
        return replace(read, name=expected.name)
    return replace(expected, state="stale", path=read.path)


def _distinct(runs: list[Run]) -> list[Run]:
    """Refuse a run that is given twice, and seeds of one variant that come from different configurations."""
    seen: dict[object, Run] = {}
    for run in runs:
        if other := seen.get(run.key):
            if run.scores["settings"] != other.scores["settings"]:
                raise UserError(f"{other.path} and {run.path} come from different configurations; run both again")
            raise UserError(f"{other.path} and {run.path} are the same run; give one of them")
        seen[run.key] = run
    return runs


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which runs are shown, for `selected`."""
    parser.add_argument("--scores", type=Path, nargs="+", default=[], help="scores.json files; default: the grid's")
    parser.add_argument("--grid", type=Path, help="grid.json of the configuration, which lists the expected runs")
    parser.add_argument("--experiment", help="experiment of the grid; default: all")
    parser.add_argument("--so-far", action="store_true", help="mark runs of an old configuration as stale; do not stop")


def refuse_overwriting_runs(arguments: argparse.Namespace, runs: Sequence[Run], outputs: Iterable[Path]) -> None:
    """Raise UserError if an output is the grid of `add_selection` or a file of the runs, as `refuse_overwriting`."""
    grid = [arguments.grid] if arguments.grid else []
    read = (path for run in runs for path in (run.path, *(run.folder / name for name in BESIDE)))
    refuse_overwriting([*grid, *read], outputs)


def selected(arguments: argparse.Namespace) -> list[Run]:
    """Read the runs that the arguments of `add_selection` ask for; raise UserError if there are none."""
    if not arguments.scores and not arguments.grid:
        raise UserError("give --scores, --grid or both")
    return gather(arguments.scores, grid=arguments.grid, experiment=arguments.experiment, so_far=arguments.so_far)
