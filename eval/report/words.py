"""What names of columns and metrics mean to a reader."""

from eval.compare import compare
from eval.tables import kinds

HEADINGS = {
    "p_holm": "p (Holm)",
    "images": "faces",
    "images_with_map": "faces with map",
    "low": "95 % interval",
    "percent": "landmarks (%)",
    "against": "compared with",
    "plain": "its value",
    "guided": "value with AU",
    "seed_sd": "± seeds",
    "guidance": "AU term",
    "kind": "map",
}


def heading(name: str) -> str:
    """Return the heading of a metric or a column."""
    layer = name.removeprefix("attention_cosine_")
    if layer.isdigit():
        return f"ATT-COS, layer {layer}"
    known = {**kinds.HEADINGS, **compare.LABELS, **HEADINGS}
    return known.get(name, name.replace("_", " ").replace(":", ": "))
