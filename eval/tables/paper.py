"""The numbers of the paper (Belharbi et al., FG 2024), `paper.csv`: one row per number, with its place in the paper.

Columns: `table` (table1, table2, table3, fig5, time, data), `dataset`, `method`, `variant` (plain or au), `weight` and
`layers` (5+4; both empty where the paper's table does not vary them), `metric`, `value` as printed there, also `--`,
and `source`. An empty method stands for all.
"""

import math
from functools import cache
from pathlib import Path

import pandas as pd

from eval.tables.kinds import HEADINGS, KINDS
from pipeline.errors import UserError

PAPER = Path(__file__).with_name("paper.csv")
COLUMNS = ["table", "dataset", "method", "variant", "weight", "layers", "metric", "value", "source"]
KEYS = COLUMNS[1:-2]
PROTOCOL = "paper"  # whose runs select the epoch on the test set, as the paper's do
NO_CAM = "--"  # printed where the method has no CAM
TRUNCATED = {"accuracy", "cam_cosine", "attention_cosine"}  # to two decimals
Key = tuple[str, ...]  # dataset, method, variant, weight, layers, metric


@cache
def numbers(name: str) -> dict[Key, float]:
    """Return the paper's numbers of a table, without the cells that hold none."""
    rows = read_numbers(PAPER)
    rows = rows[(rows["table"] == name) & (rows["value"] != NO_CAM)]
    return {tuple(row[key] for key in KEYS): float(row["value"]) for row in rows.to_dict("records")}


def read_numbers(path: Path) -> pd.DataFrame:
    """Read the file as text; raise UserError that names a line and what is wrong with it."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if list(table.columns) != COLUMNS:
        raise UserError(f"{path.name} must have the columns {', '.join(COLUMNS)}")
    tables = {"data", *(kind.paper for kind in KINDS.values() if kind.paper)}
    seen: set[Key] = set()
    for line, row in enumerate(table.to_dict("records"), start=2):
        key = tuple(row[name] for name in COLUMNS[:-2])
        metric, value = row["metric"], row["value"]
        problem = (
            f"there is no table {row['table']!r}; there are {', '.join(sorted(tables))}" if row["table"] not in tables
            else f"there is no metric {metric!r}" if metric not in (*HEADINGS, "test_images")
            else f"the variant is plain or au, not {row['variant']!r}" if row["variant"] not in ("plain", "au", "")
            else f"the value {value!r} is not a number" if value != NO_CAM and not _is_number(value)
            else "it has no source" if not row["source"].strip()
            else "the same number stands above" if key in seen
            else ""
        )  # fmt: skip
        if problem:
            raise UserError(f"{path.name}, line {line}: {problem}")
        seen.add(key)
    return table


def _is_number(text: str) -> bool:
    return not pd.isna(pd.to_numeric(text, errors="coerce"))


def number(
    name: str, dataset: str, method: str, *, variant: str, metric: str, weight: float = 0.0, layers: str = ""
) -> float | None:
    """Return a number of a table, None if it is unknown; fig5 and table3 also depend on the weight or the layers."""
    setting = ("", "")
    if name == "fig5" and weight:
        setting = (f"{weight:g}", layers)
    elif name == "table3" and weight:
        setting = ("", layers)
    known = numbers(name)
    places = ((dataset, method), (dataset, ""))
    return next((known[key] for place in places if (key := (*place, variant, *setting, metric)) in known), None)


def official_images() -> dict[str, int]:
    """Return the number of test images behind the paper's numbers, by dataset."""
    return {dataset: int(count) for (dataset, *_), count in numbers("data").items()}


def span(name: str, metric: str, variant: str, dataset: str = "") -> tuple[float, float]:
    """Return the lowest and the highest number of a table over all its methods and, without `dataset`, datasets."""
    values = [
        value
        for (place, _, of, _, _, what), value in numbers(name).items()
        if (of, what) == (variant, metric) and dataset in ("", place)
    ]
    return min(values), max(values)


@cache
def _without_number() -> frozenset[tuple[str, str, str]]:
    rows = read_numbers(PAPER)
    rows = rows[rows["value"] == NO_CAM]
    return frozenset(zip(rows["dataset"], rows["method"], rows["metric"], strict=True))


def prints_no_number(dataset: str, method: str, metric: str) -> bool:
    """Return whether the paper prints `--` in this cell of Table 1: the CAM of a method that has none."""
    return (dataset, method, metric) in _without_number()


def is_comparable(metric: str, protocol: str) -> bool:
    """Return whether a number of a protocol's runs may stand beside the paper's; times may under every protocol."""
    return metric not in TRUNCATED or protocol == PROTOCOL


def as_printed(metric: str, value: float) -> float:
    """Truncate accuracies (%) and cosines to two decimals as the paper does: 2735 of 3068 are 89.14, not 89.15."""
    # 29 of 100 are 28.999999999999996 % in floating point
    return math.trunc(round(100 * value, 6)) / 100 if metric in TRUNCATED else value


def difference(metric: str, ours: float, theirs: float) -> float:
    """Subtract the paper's number from ours, both as printed."""
    change = as_printed(metric, ours) - theirs
    return round(change, 2) + 0.0 if metric in TRUNCATED else change  # + 0.0 makes -0.0 positive
