"""How a table of scores looks to a reader: Markdown and LaTeX, ours above the paper's."""

from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd

TITLES = {
    "table1": "Classification (CL) and CAM-COS, without and with AU",
    "table2": "ATT-COS, without and with AU",
    "sweep": "CL, CAM-COS and ATT-COS by weight and layers of the AU term",
}
PROTOCOLS = {
    "heldout": "the best epoch is chosen on a held-out part of the training set",
    "paper": "the best epoch is chosen on the test set, as the published code does",
}
HEADINGS = {"accuracy": "CL (%)", "cam_cosine": "CAM-COS", "attention_cosine": "ATT-COS"}
# The paper's names, in its order; a method of one's own follows under the name of its file.
METHODS = {
    "cam": "CAM", "wildcat": "WILDCAT", "gradcam": "GradCAM", "gradcampp": "GradCAM++", "acol": "ACoL", "prm": "PRM",
    "adl": "ADL", "cutmix": "CutMix", "layercam": "LayerCAM", "tscam": "TS-CAM", "apvit": "APViT",
}  # fmt: skip
VARIANTS = {"plain": "without AU", "au": "with AU"}
UNKNOWN = "n/a"
PENDING = "pending"
NO_CAM = "--"  # means that the method has no CAM, and nothing else

Grid = list[list[str]]  # headings hold line breaks, which LaTeX keeps


def layers(numbers: Sequence[int]) -> str:
    """Name a set of layers: 5, or 3+4+5."""
    return "+".join(map(str, numbers))


def method_name(method: str) -> str:
    """Name a method as the paper does."""
    return METHODS.get(method, method)


def rank(method: str) -> tuple[int, str]:
    """Sort key of a method: the paper's order, then the alphabet."""
    return [*METHODS, method].index(method), method


def beside_paper(table: pd.DataFrame, known: Collection[str]) -> Grid:
    """Arrange a long table: a heading, then for each method ours, and the paper's number and the difference.

    Columns are datasets, metrics, without and with AU. The paper has its rows only where it knows a dataset shown.
    """
    places = dict.fromkeys(zip(table["dataset"], table["protocol"], strict=True))
    metrics = dict.fromkeys(table["metric"])
    columns = [(*place, metric, variant) for place in places for metric in metrics for variant in VARIANTS]
    cells = _cells(table, ["method", "dataset", "protocol", "metric", "variant"])
    heading = [f"{dataset} ({protocol}),\n{HEADINGS[m]}\n{VARIANTS[v]}" for dataset, protocol, m, v in columns]
    rows = [["method", "", *heading]]
    for method in dict.fromkeys(table["method"]):
        found = [cells[method, *column] for column in columns]
        rows.append([method_name(method), "ours", *map(_ours, found)])
        if any(dataset in known for dataset, _ in places):
            rows.append(["", "paper", *(_number(one, "paper", "") for one in found)])
            rows.append(["", "difference", *(_number(one, "difference", "+") for one in found)])
    return rows


def sweep(table: pd.DataFrame) -> Grid:
    """Arrange a long table: a heading, then a row per method and setting of the AU term; columns are metrics."""
    places = dict.fromkeys(zip(table["dataset"], table["protocol"], table["metric"], strict=True))
    cells = _cells(table, ["method", "weight", "layers", "dataset", "protocol", "metric"])
    settings = dict.fromkeys(zip(table["method"], table["weight"], table["layers"], strict=True))
    rows = [["method", "AU term", *(f"{dataset} ({protocol}),\n{HEADINGS[m]}" for dataset, protocol, m in places)]]
    for method, weight, names in settings:
        setting = f"λ {weight:g}, layer {names}" if weight else "none"
        rows.append(
            [method_name(method), setting, *(_ours(cells.get((method, weight, names, *place))) for place in places)]
        )
    return rows


def _cells(table: pd.DataFrame, keys: list[str]) -> dict[tuple[Any, ...], Any]:
    return {tuple(row[key] for key in keys): row for _, row in table.iterrows()}


def _ours(row: Any) -> str:
    if row is None or not row["seeds"]:
        return PENDING
    if pd.isna(row["value"]):
        return NO_CAM
    spread = "" if pd.isna(row["sd"]) else f" ± {row['sd']:.2f}"
    return f"{row['value']:.2f}{spread} ({row['seeds']})"


def _number(row: Any, column: str, sign: str) -> str:
    return UNKNOWN if pd.isna(row[column]) else f"{row[column]:{sign}.2f}"


def markdown(title: str, rows: Grid, notes: Sequence[str]) -> str:
    """Set a grid as a Markdown table under its title, with its notes."""
    heading, *body = rows
    lines = [f"| {' | '.join(heading)} |".replace("\n", " "), f"|---|---|{'---:|' * (len(heading) - 2)}"]
    lines += [f"| {' | '.join(row)} |" for row in body]
    return "\n".join([f"# {title}", "", *lines, "", *(f"- {note}" for note in notes), ""])


def latex(title: str, rows: Grid, notes: Sequence[str]) -> str:
    """Set a grid as a LaTeX table that needs no package; its notes are in the caption."""
    heading, *body = ([_escaped(text) for text in row] for row in rows)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escaped(title)}. {_escaped(' '.join(notes))}}}",
        rf"\begin{{tabular}}{{ll{'r' * (len(heading) - 2)}}}",
        r"\hline",
        " & ".join(rf"\shortstack{{{text}}}".replace("\n", r"\\") for text in heading) + r" \\",
        r"\hline",
        *(" & ".join(row) + r" \\" for row in body),
        r"\hline",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    pairs = (("%", r"\%"), ("_", r"\_"), ("&", r"\&"), ("±", r"$\pm$"), ("λ", r"$\lambda$"), ("--", "{-}{-}"))
    for plain, safe in pairs:
        text = text.replace(plain, safe)
    return text
