"""The paper's own numbers, `paper.csv`: one row per known number, with its source.

Columns: `table` (table1, table2, table3, fig5, time, data), `dataset`, `method`, `variant` (plain or au), `weight` and
`layers` (5+4; both empty where the paper's table does not vary them), `metric`, `value` as printed there, `source`. An
empty dataset or method stands for all. The lowest and the highest number of a table are metrics of their own, such as
`attention_cosine_lowest`.
"""

from functools import cache
from pathlib import Path

import pandas as pd

from eval.tables.kinds import HEADINGS, KINDS
from pipeline.errors import UserError

PAPER = Path(__file__).with_name("paper.csv")
COLUMNS = ["table", "dataset", "method", "variant", "weight", "layers", "metric", "value", "source"]
KEYS = COLUMNS[1:-2]
Key = tuple[str, ...]  # dataset, method, variant, weight, layers, metric


@cache
def numbers(name: str) -> dict[Key, float]:
    """Return the paper's numbers of a table."""
    rows = read_numbers(PAPER)
    rows = rows[rows["table"] == name]
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
        metric = row["metric"].removesuffix("_lowest").removesuffix("_highest")
        problem = (
            f"there is no table {row['table']!r}; there are {', '.join(sorted(tables))}" if row["table"] not in tables
            else f"there is no metric {metric!r}" if metric not in (*HEADINGS, "test_images")
            else f"the variant is plain or au, not {row['variant']!r}" if row["variant"] not in ("plain", "au", "")
            else f"the value {row['value']!r} is not a number" if pd.isna(pd.to_numeric(row["value"], errors="coerce"))
            else "it has no source" if not row["source"].strip()
            else "the same number stands above" if key in seen
            else ""
        )  # fmt: skip
        if problem:
            raise UserError(f"{path.name}, line {line}: {problem}")
        seen.add(key)
    return table


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


def span(name: str, metric: str, variant: str, dataset: str = "") -> tuple[float, float] | None:
    """Return the lowest and the highest number of a table over all its methods, None if they are unknown."""
    known = numbers(name)
    keys = [(dataset, "", variant, "", "", f"{metric}_{which}") for which in ("lowest", "highest")]
    return (known[keys[0]], known[keys[1]]) if all(key in known for key in keys) else None
