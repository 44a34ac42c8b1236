"""The paper's own numbers, `paper.csv`: one row per number that we know, with its source; nothing is made up.

Columns: `table` (table1, table2, table3, fig5, time, data), `dataset`, `method`, `variant` (plain or au), `weight` and
`layers` (5+4; both empty where the paper's table does not vary them), `metric`, `value` as printed there, `source`. An
empty dataset or method stands for all of them. The lowest and highest number of a table are metrics of their own, such
as `attention_cosine_lowest`.
"""

from functools import cache
from pathlib import Path

import pandas as pd

PAPER = Path(__file__).with_name("paper.csv")
Key = tuple[str, str, str, str, str, str]  # dataset, method, variant, weight, layers, metric
SETTINGS = ("table3", "fig5")  # their rows are weights and layer sets


@cache
def values(name: str) -> dict[Key, float]:
    """Read the paper's numbers of a table."""
    rows = pd.read_csv(PAPER, dtype=str, keep_default_na=False)
    rows = rows[rows["table"] == name]
    keys = zip(
        *(rows[column] for column in ("dataset", "method", "variant", "weight", "layers", "metric")), strict=True
    )
    return dict(zip(keys, rows["value"].astype(float), strict=True))


def value(
    name: str, dataset: str, method: str, *, variant: str, metric: str, weight: float = 0.0, layers: str = ""
) -> float | None:
    """Look up a number of a table, or None where we do not know it; weight and layers count in SETTINGS only."""
    setting = ("", "")
    if name == "fig5" and weight:
        setting = (f"{weight:g}", layers)
    elif name == "table3" and weight:
        setting = ("", layers)
    found = values(name)
    asked = ((dataset, method), (dataset, ""))
    return next((found[key] for place in asked if (key := (*place, variant, *setting, metric)) in found), None)


def images() -> dict[str, int]:
    """Return the number of test images behind the paper's numbers, by dataset."""
    return {dataset: int(count) for (dataset, *_), count in values("data").items()}


def span(name: str, metric: str, variant: str, dataset: str = "") -> tuple[float, float] | None:
    """Return the lowest and the highest number of a table, over all its methods, or None where we do not know them."""
    found = values(name)
    keys = [(dataset, "", variant, "", "", f"{metric}_{which}") for which in ("lowest", "highest")]
    return (found[keys[0]], found[keys[1]]) if all(key in found for key in keys) else None
