"""What names mean to a reader: headings, numbers and times as text."""

import math

from eval.compare import compare
from eval.tables import kinds

HEADINGS = {
    "p_holm": "p (Holm)",
    "images": "faces",
    "images_with_map": "faces with map",
    "low": "95 % interval",
    "percent": "landmarks (%)",
    "against": "compared with",
    "plain": "its level",
    "guided": "level with AU",
    "seed_sd": "± seeds",
    "guidance": "AU term",
    "kind": "map",
}
COSINES = {"cam": "CAM-COS", "attention": "ATT-COS"}  # of a kind of map


def heading(name: str) -> str:
    """Name a metric or a column for readers."""
    layer = name.removeprefix("attention_cosine_")
    if layer.isdigit():
        return f"ATT-COS, layer {layer}"
    known = {**kinds.HEADINGS, **compare.LABELS, **HEADINGS}
    return known.get(name, name.replace("_", " ").replace(":", ": "))


def digits(metric: str) -> int:
    """Return how many decimals a metric of a comparison is shown with."""
    return 2 if metric in compare.PERCENT else 3


def number(value: float | None, decimals: int, sign: str = "") -> str:
    """Write a number with a true minus; an en dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:{sign}.{decimals}f}".replace("-", "−")


def p_value(value: float | None) -> str:
    """Write a p value to three decimals, never as 0."""
    if value is None or math.isnan(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def duration(seconds: float) -> str:
    """Write a time as 4.8 s, 48 s, 12 min or 3.4 h."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
