"""The runs that a configuration expects, and what has become of each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.records import runs as results
from eval.records.runs import OWN, read_grid, read_run
from eval.tables import layout
from pipeline.errors import UserError

STATES = {
    "done": "its scores are there and of this configuration",
    "pending": "expected, not there yet",
    "stale": "made under another configuration; its numbers are not shown",
    "damaged": "its scores cannot be read; its numbers are not shown",
}
Place = tuple[str, str, str]  # dataset, protocol, method
Setting = tuple[float, tuple[int, ...], str]  # lambda, layers from the deepest on, map; plain runs are all (0, (), "")
PLAIN: Setting = (0.0, (), "")


@dataclass(frozen=True, eq=False)
class Run:
    """One expected run: `folder` below `<results>/runs`, what it is, its state (a key of STATES) and its scores.

    `entry` is the same for `eval.tables.pivot` and `eval.compare`, to which a damaged run is pending.
    """

    folder: str
    path: Path
    dataset: str
    protocol: str
    method: str
    setting: Setting
    seed: int
    state: str
    entry: results.Run
    scores: dict[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        """What a guided run shares with the plain run that it is compared with, but for the seed."""
        return (self.dataset, self.protocol, self.method)

    @property
    def layer(self) -> int:
        """The layer of the run's ATT-COS: the deepest guided one, and a plain run's deepest."""
        return max(self.scores["layers"])

    @property
    def written(self) -> float:
        """When its predictions were, of which scores and pictures are made in any order, seconds; 0 without them."""
        made = self.path / "predictions.h5"
        return made.stat().st_mtime if self.state == "done" and made.is_file() else 0.0


def read_runs(grid: Mapping[str, Any], folder: Path) -> list[Run]:
    """Look up the state and scores of every run of a grid, in the grid's order."""
    return [_run(name, row, folder / "runs" / name) for name, row in grid["runs"].items()]


def read(path: Path) -> dict[str, Any]:
    """Read `grid.json`; raise UserError if it is none or one of its runs does not say what it is."""
    grid = read_grid(path)
    needed = {"dataset", "protocol", "method", "weight", "layers", "seed", "card"}
    for folder, row in grid["runs"].items():
        if missing := sorted(needed - row.keys()):
            raise UserError(f"{path}: {folder} has no {missing[0]}; make it with python -m workflow.config --grid")
    for name, experiment in grid["experiments"].items():
        if missing := sorted({"kind", "runs"} - experiment.keys()) or sorted(
            set(experiment["runs"]) - grid["runs"].keys()
        ):
            raise UserError(f"{path}: {name} has no {missing[0]}; make it with python -m workflow.config --grid")
    return grid


def _run(folder: str, row: Mapping[str, Any], path: Path) -> Run:
    state, scores = _scores(path / "scores.json", row["card"])
    weight, layers = float(row["weight"]), tuple(sorted(set(row["layers"]), reverse=True))
    entry = results.Run(
        dataset=row["dataset"],
        protocol=row["protocol"],
        method=row["method"],
        weight=weight,
        layers=layers,
        map=row.get("map") or OWN,
        seed=row["seed"],
        state="pending" if state == "damaged" else state,
        path=path / "scores.json",
        scores=scores,
    )
    return Run(
        folder=folder,
        path=path,
        dataset=entry.dataset,
        protocol=entry.protocol,
        method=entry.method,
        setting=(weight, layers, entry.map) if weight else PLAIN,
        seed=entry.seed,
        state=state,
        entry=entry,
        scores=scores,
    )


def _scores(path: Path, card: str) -> tuple[str, dict[str, Any]]:
    if not path.is_file():
        return "pending", {}
    try:
        scores = read_run(path).scores
    except UserError:
        return "damaged", {}
    return ("done", scores) if scores.get("card") == card else ("stale", {})


def guidance(one: Setting) -> str:
    """Name a setting as tables do: plain; λ 5, layer 5; λ 5, layer 5, shuffled classes."""
    weight, layers, source = one
    return layout.guidance_name(weight, layers, source or OWN)


def place_name(place: Place) -> str:
    """Name a place for readers: CAM, rafdb (heldout)."""
    dataset, protocol, method = place
    return f"{layout.method_name(method)}, {dataset} ({protocol})"


def base(grid: Mapping[str, Any], runs: Sequence[Run]) -> dict[Place, Setting]:
    """Find the guided setting that stands for each place: that of an experiment which trains one setting only there.

    A sweep trains several. Where there are only sweeps, their first setting stands.
    """
    by_folder = {run.folder: run for run in runs}
    alone: dict[Place, Setting] = {}
    first: dict[Place, Setting] = {}
    for experiment in grid["experiments"].values():
        found: dict[Place, dict[Setting, None]] = {}
        for run in (by_folder[folder] for folder in experiment["runs"]):
            if run.setting[2] == OWN:
                found.setdefault(run.place, {})[run.setting] = None
        for place, settings in found.items():
            (alone if len(settings) == 1 else first).setdefault(place, next(iter(settings)))
    return {**first, **alone}


def groups(runs: Iterable[Run]) -> dict[tuple[Place, Setting], list[Run]]:
    """Put runs together that differ in their seed only."""
    found: dict[tuple[Place, Setting], list[Run]] = {}
    for run in runs:
        found.setdefault((run.place, run.setting), []).append(run)
    return found


def done(runs: Iterable[Run]) -> list[Run]:
    """Keep the runs whose numbers may be shown."""
    return [run for run in runs if run.state == "done"]
