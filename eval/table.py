"""Scores to tables: with and without AU, ours beside the paper's.

    python -m eval.table table1 --scores FILE... --out tables/table1

`table1` is CL and CAM-COS, `table2` ATT-COS, each method without and with AU; `sweep` is all three for every lambda
and layer set. Writes `.csv` in long form, a row per dataset, protocol, method, variant and metric, and `.md` and `.tex`
to read.
"""

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eval import layout
from eval.files import beside
from pipeline.errors import UserError, run
from pipeline.files import write_text

PAPER = Path(__file__).with_name("paper.csv")
METRICS = {
    "table1": ("accuracy", "cam_cosine"),
    "table2": ("attention_cosine",),
    "sweep": ("accuracy", "cam_cosine", "attention_cosine"),
}

REQUIRED = {
    "dataset", "method", "variant", "weight", "layers", "seed", "protocol", "settings",
    "images", "images_with_map", "accuracy", "cam_cosine", "attention_cosine",
}  # fmt: skip

Scores = dict[str, Any]
Key = tuple[Any, ...]


def paper_values(name: str) -> dict[tuple[str, str, str, str], float]:
    """Read the paper's numbers of a table: (dataset, method, variant, metric) -> value as printed there."""
    rows = pd.read_csv(PAPER, keep_default_na=False)
    rows = rows[rows["table"] == name]
    keys = zip(rows["dataset"], rows["method"], rows["variant"], rows["metric"], strict=True)
    return dict(zip(keys, rows["value"].astype(float), strict=True))


def read_scores(path: Path) -> Scores:
    """Read a file of `eval.score`; raise UserError if it is none."""
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; make it with python -m eval.score") from None
    except (OSError, ValueError):
        scores = None
    if not isinstance(scores, dict):
        raise UserError(f"{path} is no scores file; make it with python -m eval.score")
    missing = sorted(REQUIRED - scores.keys())
    if missing:
        raise UserError(f"{path} is no scores file (it has no {missing[0]}); make it with python -m eval.score")
    layer = max(scores["layers"])
    if str(layer) not in scores["attention_cosine"]:
        raise UserError(f"{path} has no attention_cosine of layer {layer}; make it again with python -m eval.score")
    return {**scores, "path": str(path), "layer": layer}


def pivot(name: str, scores: Sequence[Scores]) -> pd.DataFrame:
    """Gather runs that differ in their seed only: mean and standard deviation over seeds, beside the paper's number.

    A row per dataset, protocol, method, variant (in a sweep: weight and layers) and metric; accuracies are in percent.
    In the paper's tables every method has a row in every dataset and variant, with seeds 0 where no run is given.
    Raises UserError if a run is given twice, or was made under another configuration than its twins.
    """
    cells: dict[Key, list[Scores]] = {}
    for one in scores:
        cells.setdefault(_key(name, one), []).append(one)
    if name != "sweep":
        places, methods = {key[:2] for key in cells}, {key[2] for key in cells}
        for place, method, variant in itertools.product(sorted(places), sorted(methods), layout.VARIANTS):
            cells.setdefault((*place, method, variant), [])
    paper, rows = paper_values(name), []
    for key in sorted(cells, key=_order):
        runs = cells[key]
        _check(runs)
        start = dict(zip(("dataset", "protocol", "method", "variant"), key, strict=False))
        for metric in METRICS[name]:
            theirs = paper.get((start["dataset"], start["method"], start["variant"], metric))
            rows.append({**start, "metric": metric, **_cell(metric, runs, theirs)})
    return pd.DataFrame(rows)


def _key(name: str, one: Scores) -> Key:
    place = (one["dataset"], one["protocol"], one["method"], one["variant"])
    return (*place, one["weight"], tuple(one["layers"])) if name == "sweep" and one["weight"] else place


def _order(key: Key) -> Key:
    """Sort methods as the paper does, plain before au, and settings by weight."""
    return (*key[:2], layout.rank(key[2]), key[3] != "plain", *key[4:])


def _check(runs: Sequence[Scores]) -> None:
    for index, one in enumerate(runs):
        for other in runs[:index]:
            if one["settings"] != other["settings"]:
                raise UserError(f"{one['path']} and {other['path']} come from different configurations; run both again")
            if one["seed"] == other["seed"]:
                raise UserError(f"{one['path']} and {other['path']} are the same run; give one of them")


def value(metric: str, scores: Scores) -> float | None:
    """Take a metric from a run's scores as tables show it: accuracy in percent, ATT-COS of the deepest guided layer."""
    if metric == "accuracy":
        return 100 * scores["accuracy"]
    if metric == "attention_cosine":
        return scores["attention_cosine"][str(scores["layer"])]
    return scores[metric]


def _cell(metric: str, runs: Sequence[Scores], theirs: float | None) -> dict[str, Any]:
    found = [value(metric, one) for one in runs]
    values = [one for one in found if one is not None]
    ours = float(np.mean(values)) if values else None
    first = runs[0] if runs else {}
    return {
        "weight": first.get("weight"),
        "layers": layout.layers(first.get("layers", [])),
        "value": ours,
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "seeds": len(runs),
        "images": first.get("images"),
        "images_with_map": first.get("images_with_map"),
        "paper": theirs,
        "difference": None if ours is None or theirs is None else ours - theirs,
    }


def notes(name: str, table: pd.DataFrame, official: dict[str, int]) -> list[str]:
    """Say what a reader must know: protocol, rounding, Neutral, missing cells, and when faces are not the paper's."""
    shown = table[table["seeds"] > 0]
    found = dict.fromkeys(zip(shown["dataset"], shown["protocol"], shown["images"].astype(int), strict=True))
    said = [
        f"{dataset}, protocol {protocol}: {layout.PROTOCOLS[protocol]}; {count} test faces."
        for dataset, protocol, count in found
    ]
    for dataset, _, count in found:
        if dataset not in official:
            said.append(f"The paper has no numbers for {dataset}.")
        elif count != official[dataset]:
            said.append(
                f"{dataset}: the paper's numbers are for {official[dataset]} test faces, not for these {count}; "
                "the difference does not say how well the paper is reproduced."
            )
    said.append(
        "CL is in percent, over all seven classes; cosines are macro means over six expressions, Neutral excluded."
    )
    if "attention_cosine" in METRICS[name]:
        which = f", {_attention_layers(shown)}" if name == "table2" else ""
        said.append(f"ATT-COS is that of the deepest guided layer{which}.")
    return [
        *said,
        "Ours: mean ± standard deviation over seeds (number of seeds), rounded to two decimals. The paper truncates to "
        "two decimals and selects on the test set.",
        f"{layout.UNKNOWN}: not known to us; {layout.PENDING}: no run yet; {layout.NO_CAM}: the method has no CAM.",
    ]


def _attention_layers(table: pd.DataFrame) -> str:
    """Name the deepest guided layer, of which ATT-COS is, of every method where that is not 5."""
    found: dict[str, set[int]] = {}
    for method, names in zip(table["method"], table["layers"], strict=True):
        found.setdefault(layout.method_name(method), set()).add(max(map(int, names.split("+"))))
    others = [f"{name}: {' or '.join(map(str, sorted(deep)))}" for name, deep in found.items() if deep != {5}]
    return f"5 ({', '.join(others)})" if others else "5"


def paper_images() -> dict[str, int]:
    """Return the number of test images behind the paper's numbers, by dataset."""
    return {dataset: int(count) for (dataset, *_), count in paper_values("data").items()}


def write_table(name: str, files: Sequence[Path], out: Path) -> None:
    """Write a table as `out`.csv, `out`.md and `out`.tex."""
    table, official = pivot(name, [read_scores(path) for path in files]), paper_images()
    rows = layout.sweep(table) if name == "sweep" else layout.beside_paper(table, official)
    said = notes(name, table, official)
    write_text(beside(out, ".csv"), table.to_csv(index=False))
    write_text(beside(out, ".md"), layout.markdown(layout.TITLES[name], rows, said))
    write_text(beside(out, ".tex"), layout.latex(layout.TITLES[name], rows, said))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Set the scores of runs as a table.")
    parser.add_argument("table", choices=sorted(METRICS), help="which table")
    parser.add_argument("--scores", type=Path, nargs="+", required=True, help="scores.json of the runs")
    parser.add_argument("--out", type=Path, required=True, help="path without suffix: .csv, .md and .tex are written")
    arguments = parser.parse_args()
    write_table(arguments.table, arguments.scores, arguments.out)


if __name__ == "__main__":
    run(main)
