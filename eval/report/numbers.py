"""Numbers, p values and times as the page writes them."""

from collections.abc import Iterable

import pandas as pd

from eval.compare.compare import PERCENT, p_text

MISSING = "–"


def digits(metric: str) -> int:
    """Return the number of decimals of a metric in a comparison."""
    return 2 if metric in PERCENT else 3


def number(value: float | None, decimals: int, sign: str = "") -> str:
    """Write a number with a true minus sign; an en dash if it is missing."""
    return MISSING if pd.isna(value) else f"{value:{sign}.{decimals}f}".replace("-", "−")


def p_value(value: float | None) -> str:
    """Write a p value to three decimals, never as 0; an en dash if it is missing."""
    return MISSING if value is None or pd.isna(value) else p_text(value)


def duration(seconds: float) -> str:
    """Write a time as 4.8 s, 48 s, 12 min or 3.4 h."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are known, None if none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
