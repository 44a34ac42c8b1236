"""The runs that a table or a figure shows: their scores, and which of the expected ones are pending or stale."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.errors import UserError

REQUIRED = {
    "dataset", "method", "variant", "weight", "layers", "seed", "protocol", "settings",
    "images", "images_with_map", "accuracy", "cam_cosine", "attention_cosine",
}  # fmt: skip
OWN = "own"  # the AU map that guided runs which are no controls align to

Scores = dict[str, Any]
Place = tuple[Any, ...]


@dataclass(frozen=True)
class Run:
    """One run of a grid or of a scores file: what it is, and its scores if they are there and of this configuration.

    `state` is "done", "pending" (expected, not there) or "stale" (made under another configuration; it has no scores
    here, so that they can enter no table). `layers` run from the deepest to the first.
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

    @property
    def variant(self) -> str:
        """`plain`, `au`, or the map of a control."""
        return variant(self.weight, self.map)

    @property
    def layer(self) -> int:
        """The guided layer nearest the output, which tables and pictures show."""
        return self.layers[0]

    @property
    def setting(self) -> Place:
        """What tells variants apart; all plain runs are one."""
        return (self.weight, self.layers, self.map) if self.weight else (0.0,)

    @property
    def place(self) -> Place:
        """What tells runs apart."""
        return (self.dataset, self.protocol, self.method, self.seed, *self.setting)


def variant(weight: float, source: str) -> str:
    """Name a variant by its lambda and the map that it aligns to: `plain`, `au`, or the map of a control."""
    return "plain" if weight == 0 else "au" if source == OWN else source


def read_json(path: Path, what: str, command: str) -> Scores:
    """Read a JSON object; raise UserError that says which command makes it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; make it with {command}") from None
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{path} is no {what}; make it with {command}")
    return found


def read_run(path: Path) -> Run:
    """Read a file of `eval.score`; raise UserError if it is none."""
    scores = read_json(path, "scores file", "python -m eval.score")
    missing = sorted(REQUIRED - scores.keys())
    if missing:
        raise UserError(f"{path} is no scores file (it has no {missing[0]}); make it with python -m eval.score")
    found = replace(_run(scores), path=path, scores=scores)
    if str(found.layer) not in scores["attention_cosine"]:
        raise UserError(
            f"{path} has no attention_cosine of layer {found.layer}; make it again with python -m eval.score"
        )
    return found


def _run(row: dict[str, Any]) -> Run:
    return Run(
        dataset=row["dataset"],
        protocol=row["protocol"],
        method=row["method"],
        weight=float(row["weight"]),
        layers=tuple(sorted(set(row["layers"]), reverse=True)),
        map=row.get("map") or OWN,
        seed=row["seed"],
    )


def gather(
    files: Sequence[Path], *, grid: Path | None = None, experiment: str | None = None, so_far: bool = False
) -> list[Run]:
    """Read scores files; with a grid (`python -m workflow.config --grid`), list what its experiment expects.

    Runs that are expected and not there are pending. Scores of another configuration than the grid's, or of a run that
    is not in it, raise UserError; `so_far` leaves the latter out and calls the former stale. Without files, those of
    the grid's runs below its folder are taken, as many as there are.
    """
    if grid is None:
        found = [read_run(path) for path in files]
        _once(found)
        return found
    expected = _expected(grid, experiment)
    found = [read_run(path) for path in files or [one.path for one, _ in expected.values() if one.path.is_file()]]
    _once(found)
    runs = {place: one for place, (one, _) in expected.items()}
    for one in found:
        if one.place in expected:
            runs[one.place] = _current(one, expected[one.place][1], grid=grid, so_far=so_far)
        elif not so_far:
            raise UserError(
                f"{one.path} is of no run of {f'{experiment} in ' if experiment else ''}{grid}; leave it out"
            )
    return list(runs.values())


def _current(one: Run, card: str, *, grid: Path, so_far: bool) -> Run:
    if one.scores.get("card") == card:
        return one
    if so_far:
        return replace(one, state="stale", scores={})
    raise UserError(f"{one.path} was made under another configuration than {grid}; run the workflow again")


def _expected(grid: Path, experiment: str | None) -> dict[Place, tuple[Run, str]]:
    """List the runs of an experiment as pending, with the place of their scores and the digest of their card."""
    content = read_grid(grid)
    known = content["experiments"]
    if experiment is not None and experiment not in known:
        raise UserError(f"{grid} has no experiment {experiment!r}; it has {', '.join(known)}")
    found = {}
    for folder in known[experiment]["runs"] if experiment else content["runs"]:
        row = content["runs"][folder]
        one = replace(_run(row), state="pending", path=grid.parent / "runs" / folder / "scores.json")
        found[one.place] = one, row["card"]
    return found


def read_grid(path: Path) -> dict[str, Any]:
    """Read the grid of a configuration; raise UserError if the file is none."""
    content = read_json(path, "grid", "python -m workflow.config --grid")
    missing = {"experiments", "runs"} - content.keys()
    if missing:
        raise UserError(f"{path} is no grid (it has no {min(missing)}); make it with python -m workflow.config --grid")
    return content


def _once(runs: Sequence[Run]) -> None:
    """Refuse a run that is given twice, and seeds of one variant that come from different configurations."""
    seen: dict[Place, Run] = {}
    for one in runs:
        if other := seen.get(one.place):
            if one.scores["settings"] != other.scores["settings"]:
                raise UserError(f"{other.path} and {one.path} come from different configurations; run both again")
            raise UserError(f"{other.path} and {one.path} are the same run; give one of them")
        seen[one.place] = one


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which runs are shown, for `selected`."""
    parser.add_argument("--scores", type=Path, nargs="+", default=[], help="scores.json of the runs")
    parser.add_argument("--grid", type=Path, help="grid.json of the configuration: which runs are expected")
    parser.add_argument("--experiment", help="the experiment of the grid; all of them if left out")
    parser.add_argument("--so-far", action="store_true", help="call runs of an old configuration stale, do not stop")


def selected(arguments: argparse.Namespace) -> list[Run]:
    """Read the runs that the arguments of `add_selection` ask for; raise UserError if there are none."""
    if not arguments.scores and not arguments.grid:
        raise UserError("give --scores, --grid or both")
    return gather(arguments.scores, grid=arguments.grid, experiment=arguments.experiment, so_far=arguments.so_far)
