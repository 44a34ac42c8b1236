"""How the report names and groups runs, and which setting stands for each place."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eval.records.runs import OWN, Place, Run, Setting
from eval.tables import layout


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
    by_name = {run.name: run for run in runs}
    alone: dict[Place, Setting] = {}
    first: dict[Place, Setting] = {}
    for experiment in grid["experiments"].values():
        found: dict[Place, dict[Setting, None]] = {}
        for run in (by_name[name] for name in experiment["runs"]):
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
