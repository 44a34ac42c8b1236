"""How the report names and groups runs, and which setting stands for each place."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eval.records.runs import OWN, PLAIN, Place, Run, Setting, variant
from eval.tables import layout


def au_term(setting: Setting) -> str:
    """Name a setting for readers: without AU; λ 5, layer 5."""
    return layout.VARIANTS["plain"] if setting == PLAIN else layout.guidance_name(*setting)


def variant_name(setting: Setting) -> str:
    """Name the variant of a setting for readers: without AU, with AU, or the map of a control."""
    name = variant(setting[0], setting[2])
    return layout.VARIANTS.get(name, name)


def place_name(place: Place) -> str:
    """Name a place for readers: CAM, rafdb (heldout)."""
    dataset, protocol, method = place
    return f"{layout.method_name(method)}, {dataset} ({protocol})"


def base(grid: Mapping[str, Any], runs: Sequence[Run]) -> dict[Place, Setting]:
    """Choose the guided setting that represents each place: that of an experiment with a single setting there.

    A sweep has several. Where there are only sweeps, the first setting of the first one is chosen.
    """
    by_name = {run.name: run for run in runs}
    alone: dict[Place, Setting] = {}
    first: dict[Place, Setting] = {}
    for experiment in grid["experiments"].values():
        guided: dict[Place, dict[Setting, None]] = {}
        for run in (by_name[name] for name in experiment["runs"]):
            if run.setting[2] == OWN:
                guided.setdefault(run.place, {})[run.setting] = None
        for place, settings in guided.items():
            (alone if len(settings) == 1 else first).setdefault(place, next(iter(settings)))
    return {**first, **alone}


def plain_run(run: Run, runs: Iterable[Run]) -> Run | None:
    """Return the run without AU of the same place and seed, if it is among the runs."""
    return next((other for other in runs if other.key == (run.place, PLAIN, run.seed)), None)


def is_compared(setting: Setting, chosen: Setting) -> bool:
    """Return whether a setting is shown beside the chosen one of its place: itself, without AU, or a control of it."""
    return setting in (PLAIN, chosen) or (setting[2] != OWN and setting[:2] == chosen[:2])


def map_scores(runs: Iterable[Run], kind: str) -> list[dict[str, Any]]:
    """Return the scores of one kind of map in all runs that have it."""
    return [run.scores["maps"][kind] for run in runs if kind in run.scores.get("maps", {})]


def groups(runs: Iterable[Run]) -> dict[tuple[Place, Setting], list[Run]]:
    """Group runs that differ only in their seed."""
    grouped: dict[tuple[Place, Setting], list[Run]] = {}
    for run in runs:
        grouped.setdefault((run.place, run.setting), []).append(run)
    return grouped
