"""Runs to one long table: a row per dataset, protocol, method, variant and metric, aggregated over seeds."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eval.records.runs import PLAIN, Run, done
from eval.tables import paper
from eval.tables.kinds import KINDS, Kind, measured, scaled
from eval.tables.layout import VARIANTS, guidance_name, layers, rank
from pipeline.errors import UserError

COLUMNS = (
    "dataset", "protocol", "method", "variant", "guidance", "weight", "layers", "map", "attribute", "group", "kind",
    "metric", "value", "sd", "low", "high", "seeds", "expected", "state", "images", "images_with_map", "paper",
    "difference",
)  # fmt: skip
Row = dict[str, Any]
Key = tuple[Any, ...]  # of a cell: dataset, protocol, method, variant and setting


def pivot(name: str, runs: Sequence[Run], *, complete: bool = True) -> pd.DataFrame:
    """Aggregate runs that differ only in their seed: mean and standard deviation, beside the paper's number.

    Returns COLUMNS. Shares are in percent. A variant is a row; in tables of settings, so is every lambda and layer set;
    `seeds` of `expected` runs are done; `state` is done, partial (some seeds), pending, stale, no_cam or unknown.
    `complete` adds pending rows, so that every method has both variants everywhere. Groups carry the mean bounds of
    their runs' intervals. Raises UserError if runs of one cell come from different configurations.
    """
    rows: list[Row] = []
    variants = [(*run.place, run.variant) for run in runs]
    kind = KINDS[name].arranged(zip(variants, (run.setting for run in runs), strict=True))
    cells = _cells(kind, runs, complete=complete)
    for place in sorted(cells, key=_order):
        _check(cells[place])
        start = _start(place, cells[place])
        metrics = _group_rows(kind, cells[place]) if kind.rows == "group" else _rows(kind, start, cells[place])
        rows += [{**start, **row} for row in metrics]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return _with_ratios(table) if name == "time" else table


def _cells(kind: Kind, runs: Sequence[Run], *, complete: bool) -> dict[Key, list[Run]]:
    cells: dict[Key, list[Run]] = {}
    for run in runs:
        setting = PLAIN if kind.rows == "method" else run.setting
        cells.setdefault((*run.place, run.variant, *setting), []).append(run)
    if complete and kind.rows == "method":
        places, methods = {place[:2] for place in cells}, {place[2] for place in cells}
        for place, method, name in itertools.product(places, methods, ("plain", "au")):
            cells.setdefault((*place, method, name, *PLAIN), [])
    return cells


def _order(place: Key) -> Key:
    """Methods as in the paper, plain first, then by weight, single layers before sets, controls last."""
    dataset, protocol, method, name, weight, layers, _ = place
    return (dataset, protocol, rank(method), [*VARIANTS].index(name), weight, len(layers), layers)


def _check(runs: Sequence[Run]) -> None:
    finished = done(runs)
    for run in finished[1:]:
        if run.scores["settings"] != finished[0].scores["settings"]:
            raise UserError(f"{finished[0].path} and {run.path} come from different configurations; run both again")


def _start(place: Key, runs: Sequence[Run]) -> Row:
    first = runs[0] if runs else None
    return {
        **dict(zip(("dataset", "protocol", "method", "variant"), place, strict=False)),
        "guidance": guidance_name(first.weight, first.layers, first.map) if first else "",
        "weight": first.weight if first else None,
        "layers": layers(first.layers) if first else "",
        "map": first.map if first and first.weight else "",
    }


def _rows(kind: Kind, start: Row, runs: Sequence[Run]) -> Iterator[Row]:
    place = {name: start[name] for name in ("dataset", "method", "variant", "layers")}
    for of, metric in kind.columns:
        theirs = None
        compared = kind.paper and start["variant"] in ("plain", "au")
        if compared and paper.is_comparable(metric, start["protocol"]):
            theirs = paper.number(kind.paper, **place, metric=metric, weight=start["weight"] or 0.0)
        row = _cell(runs, [measured(run, of, metric) for run in done(runs)])
        if row["state"] == "unknown" and _without_cam(of, metric, runs):
            row["state"] = "no_cam"
        ours = row["value"]
        difference = None if ours is None or theirs is None else paper.difference(metric, ours, theirs)
        yield {"kind": of, "metric": metric, **row, "paper": theirs, "difference": difference}


def _without_cam(kind: str, metric: str, runs: Sequence[Run]) -> bool:
    return (kind == "cam" or metric == "cam_cosine") and all(run.scores["cam_cosine"] is None for run in done(runs))


def _cell(runs: Sequence[Run], numbers: Sequence[float | None]) -> Row:
    values, finished = [number for number in numbers if number is not None], done(runs)
    if not finished:
        state = "stale" if any(run.state == "stale" for run in runs) else "pending"
    else:
        state = "unknown" if not values else "done" if len(finished) == len(runs) else "partial"
    return {
        "value": float(np.mean(values)) if values else None,
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "seeds": len(finished),
        "expected": len(runs),
        "state": state,
        "images": finished[0].scores["images"] if finished else None,
        "images_with_map": finished[0].scores["images_with_map"] if finished else None,
    }


def _group_rows(kind: Kind, runs: Sequence[Run]) -> Iterator[Row]:
    scores = [run.scores.get("groups") or {} for run in done(runs)]
    if not scores:
        yield {"metric": kind.columns[0][1], "attribute": "", "group": "", **_cell(runs, [])}
    names = dict.fromkeys((attribute, group) for score in scores for attribute in score for group in score[attribute])
    for attribute, group in names:
        of_group = [score[attribute][group] for score in scores if group in score.get(attribute, {})]
        start = {"attribute": attribute, "group": group}
        for of, metric in kind.columns:
            keys = (metric, f"{metric}_low", f"{metric}_high")
            own, low, high = (_cell(runs, [scaled(metric, row.get(key)) for row in of_group]) for key in keys)
            bounds = {"low": low["value"], "high": high["value"]}
            counts = {"images": of_group[0]["images"], "images_with_map": None}
            yield {**start, "kind": of, "metric": metric, **own, **bounds, **counts}


def _with_ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Fill time_ratio: seconds per epoch of a variant / those of plain training, ours and the paper's."""
    rows = table.to_dict("records")
    timed = [row for row in rows if row["metric"] == "seconds_per_epoch"]
    seconds = {(*_place(row), row["variant"], row["guidance"]): row for row in timed}
    without = {_place(row): row for row in timed if row["variant"] == "plain"}
    for row in rows:
        if row["metric"] != "time_ratio":
            continue
        own, plain = seconds[*_place(row), row["variant"], row["guidance"]], without.get(_place(row))
        for name in ("value", "paper"):
            both = own[name], plain[name] if plain else None
            row[name] = None if any(pd.isna(value) for value in both) else both[0] / both[1]
        row["state"] = own["state"] if pd.isna(row["value"]) or own["state"] == "partial" else "done"
        if plain and pd.isna(row["value"]) and row["state"] in ("done", "partial"):
            row["state"] = plain["state"]
        known = not pd.isna(row["value"]) and not pd.isna(row["paper"])
        row["difference"] = row["value"] - row["paper"] if known else None
    kept = [row for row in rows if row["metric"] != "time_ratio" or row["variant"] != "plain"]
    return pd.DataFrame(kept, columns=list(COLUMNS))


def _place(row: Mapping[Any, Any]) -> Key:
    return row["dataset"], row["protocol"], row["method"]
