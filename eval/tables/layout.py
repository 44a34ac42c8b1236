"""How a table of scores looks to a reader: names, cells and blocks, with the paper's numbers below ours."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from eval.metrics.baselines import PREFIX
from eval.tables import paper
from eval.tables.kinds import HEADINGS, KINDS, Column, digits
from pipeline.storage.files import beside, write_text

SUFFIXES = (".csv", ".md", ".tex")  # of a written table
PROTOCOLS = {
    "heldout": "the best epoch is chosen on validation faces, which are neither training nor test faces",
    "paper": "the best epoch is chosen on the test set, as the published code does",
}
# The paper's names in its order; further methods follow under the names of their files.
METHODS = {
    "cam": "CAM", "wildcat": "WILDCAT", "gradcam": "GradCAM", "gradcampp": "GradCAM++", "acol": "ACoL", "prm": "PRM",
    "adl": "ADL", "cutmix": "CutMix", "layercam": "LayerCAM", "tscam": "TS-CAM", "apvit": "APViT",
}  # fmt: skip
CONTROLS = {
    "shuffled": "shuffled classes",
    "landmarks": "landmarks only",
    "uniform": "uniform map",
    "agnostic": "class-agnostic map",
}
VARIANTS = {"plain": "without AU", "au": "with AU", **CONTROLS}
UNKNOWN = "n/a"
PENDING = "pending"
STALE = "stale"
WIDE = 6  # columns of metrics x protocols that fit side by side

Grid = list[list[str]]  # headings may hold line breaks, which LaTeX keeps
Cells = dict[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Block:
    """A part of a table under its own heading; the first row holds the headings, the first `lead` columns names."""

    title: str
    grid: Grid
    lead: int


def layers(numbers: Sequence[int]) -> str:
    """Name a set of layers as the paper does: 5, or 5+4+3."""
    return "+".join(map(str, sorted(set(numbers), reverse=True)))


def guidance_name(weight: float, numbers: Sequence[int], source: str = "own") -> str:
    """Name a variant: plain, or its lambda and layers and, of a control, the map that it aligns to."""
    if not weight:
        return "plain"
    return f"λ {weight:g}, layer {layers(numbers)}" + ("" if source == "own" else f", {source} map")


def method_name(method: str) -> str:
    """Name a method as the paper does."""
    return METHODS.get(method, method)


def rank(method: str) -> tuple[int, str]:
    """Return the sort key of a method: the paper's order, then the alphabet."""
    return [*METHODS, method].index(method), method


def blocks(name: str, table: pd.DataFrame, known: Collection[str]) -> list[Block]:
    """Arrange a long table of `eval.tables.pivot` in blocks, one per dataset and section.

    A method or setting has a row with our numbers. In tables of the paper, rows with the paper's numbers and the
    differences follow for the datasets in `known`, if the paper has this method or setting.
    """
    arranged = []
    for dataset in dict.fromkeys(table["dataset"]):
        own = table[table["dataset"] == dataset].to_dict("records")
        kind = KINDS[name].arranged(
            ((row["protocol"], row["method"], row["variant"]), row["guidance"]) for row in own if row["guidance"]
        )
        with_paper = dataset in known and bool(kind.paper)
        wide = len(set(table["protocol"])) * max(map(len, kind.sections.values())) > WIDE
        for section, columns in kind.sections.items():
            title = ": ".join(part for part in (dataset, section) if part)
            rows = [row for row in own if (row["kind"], row["metric"]) in columns]
            if kind.rows == "group":
                arranged.append(_groups(title, rows, columns))
            elif kind.rows == "method":
                arranged.append(_methods(title, rows, columns, with_paper=with_paper))
            else:
                arranged.append(_settings(title, rows, columns, with_paper=with_paper, wide=wide))
    return arranged


def _methods(title: str, rows: Sequence[dict[str, Any]], columns: Sequence[Column], *, with_paper: bool) -> Block:
    """Rows are methods; columns are protocols, metrics, without and with AU, then controls if there are any."""
    protocols = dict.fromkeys(row["protocol"] for row in rows)
    present = {(row["kind"], row["metric"], row["variant"]) for row in rows}
    places = [(p, *column, v) for p in protocols for column in columns for v in VARIANTS if (*column, v) in present]
    cells: Cells = {(row["method"], row["protocol"], row["kind"], row["metric"], row["variant"]): row for row in rows}
    grid = [["method", "", *(f"{p},\n{HEADINGS[metric]}\n{VARIANTS[v]}" for p, _, metric, v in places)]]
    for method in dict.fromkeys(row["method"] for row in rows):
        line = [cells.get((method, *place)) for place in places]
        grid += _lines([method_name(method), "ours"], line, with_paper=with_paper)
    return Block(title, grid, lead=2)


def _settings(
    title: str, rows: Sequence[dict[str, Any]], columns: Sequence[Column], *, with_paper: bool, wide: bool
) -> Block:
    """Rows are methods and settings of the AU term; protocols are columns, or rows where the table is `wide`."""
    across = [""] if wide else list(dict.fromkeys(row["protocol"] for row in rows))
    names = ["method", "AU term", *(["protocol", "seeds"] if wide else []), *([""] if with_paper else [])]
    headings = [f"{protocol},\n{HEADINGS[m]}" if protocol else HEADINGS[m] for protocol in across for _, m in columns]
    leads: dict[tuple[str, ...], Cells] = {}
    for row in rows:
        place = row["method"], row["guidance"], *([row["protocol"]] if wide else [])
        leads.setdefault(place, {})["" if wide else row["protocol"], row["kind"], row["metric"]] = row
    grid = [[*names, *headings]]
    for (method, guidance, *protocols), cells in leads.items():
        lead = [method_name(method), "none" if guidance == "plain" else guidance, *protocols]
        lead += [_seeds(next(iter(cells.values())))] if wide else []
        line = [cells.get((protocol, *column)) for protocol in across for column in columns]
        grid += _lines([*lead, *(["ours"] if with_paper else [])], line, with_paper=with_paper, counted=not wide)
    return Block(title, grid, lead=len(names))


def _lines(lead: list[str], line: Sequence[dict[str, Any] | None], *, with_paper: bool, counted: bool = True) -> Grid:
    """Return the line of our numbers and, with `with_paper`, of the paper's numbers, if it has any, and differences."""
    rows = [[*lead, *(cell_text(cell, counted=counted) for cell in line)]]
    if with_paper and not all(cell is None or pd.isna(cell["paper"]) for cell in line):
        blank = [""] * (len(lead) - 1)
        rows.append([*blank, "paper", *(_beside(cell, "paper", "") for cell in line)])
        rows.append([*blank, "difference", *(_beside(cell, "difference", "+") for cell in line)])
    return rows


def _groups(title: str, rows: Sequence[dict[str, Any]], columns: Sequence[Column]) -> Block:
    """Rows are methods, settings and groups; a cell is a mean and its interval over faces."""
    heading = ["method", "AU term", "protocol", "group", "faces", *(HEADINGS[metric] for _, metric in columns)]
    grid: Grid = [heading]
    groups: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        place = tuple(row[key] for key in ("method", "guidance", "protocol", "attribute", "group"))
        groups.setdefault(place, {})[row["metric"]] = row
    for (method, guidance, protocol, attribute, group), cells in groups.items():
        faces = next(iter(cells.values()))["images"]
        lead = [method_name(method), guidance, protocol, f"{attribute}: {group}" if attribute else ""]
        shown = [cell_text(cells.get(metric), counted=False) for _, metric in columns]
        grid.append([*lead, "" if pd.isna(faces) else f"{faces:.0f}", *shown])
    return Block(title, grid, lead=4)


def _seeds(row: dict[str, Any]) -> str:
    return str(row["seeds"]) if row["seeds"] in (0, row["expected"]) else f"{row['seeds']} of {row['expected']}"


def cell_text(row: dict[str, Any] | None, *, counted: bool = True) -> str:
    """Write a cell: mean, its interval or standard deviation over seeds, number of seeds, or why there is none.

    A cell is empty if the configuration asks for no such run.
    """
    if row is None:
        return ""
    words = {"pending": PENDING, "stale": STALE, "no_cam": paper.NO_CAM, "unknown": UNKNOWN}
    if pd.isna(row["value"]):
        return words.get(row["state"], UNKNOWN)
    places = digits(row["metric"], row["kind"])
    if not pd.isna(row["low"]):
        return f"{row['value']:.{places}f} [{row['low']:.{places}f}, {row['high']:.{places}f}]"
    alone = pd.isna(row["sd"]) or (row["metric"].startswith(PREFIX) and not round(row["sd"], places))
    spread = "" if alone else f" ± {row['sd']:.{places}f}"  # baselines are of the same faces in all runs
    value = row["value"] if pd.isna(row["paper"]) else paper.as_printed(row["metric"], row["value"])
    return f"{value:.{places}f}{spread}" + (f" ({_seeds(row)})" if counted else "")


def _beside(row: dict[str, Any] | None, column: str, sign: str) -> str:
    """Write the paper's number or the difference, or why there is none; empty beside a protocol that is not its own."""
    if row is None or not paper.is_comparable(row["metric"], row["protocol"]):
        return ""
    if not pd.isna(row[column]):
        return f"{row[column]:{sign}.2f}"
    return paper.NO_CAM if paper.prints_no_number(row["dataset"], row["method"], row["metric"]) else UNKNOWN


def write(out: Path, table: pd.DataFrame, title: str, arranged: Sequence[Block], notes: Sequence[str]) -> str:
    """Write a table as `out`.csv, and its blocks as `out`.md and `out`.tex for readers; return the Markdown."""
    text = markdown(title, arranged, notes)
    contents = table.to_csv(index=False), text, latex(title, arranged, notes)
    for suffix, content in zip(SUFFIXES, contents, strict=True):
        write_text(beside(out, suffix), content)
    return text


def markdown(title: str, arranged: Sequence[Block], notes: Sequence[str]) -> str:
    """Write blocks as Markdown tables under their titles, with their notes."""
    lines = [f"# {title}", ""]
    for block in arranged:
        heading, *body = block.grid
        sides = f"|{'---|' * block.lead}{'---:|' * (len(heading) - block.lead)}"
        lines += [f"## {block.title}", ""] if block.title else []
        lines += [f"| {' | '.join(heading)} |".replace("\n", " "), sides]
        lines += [f"| {' | '.join(row)} |" for row in body] + [""]
    return "\n".join([*lines, *(f"- {note}" for note in notes), ""])


def latex(title: str, arranged: Sequence[Block], notes: Sequence[str]) -> str:
    """Write blocks as LaTeX tables that need no package; the caption of the first one holds the notes."""
    parts = []
    for number, block in enumerate(arranged):
        heading, *body = ([_escaped(cell) for cell in row] for row in block.grid)
        name = f"{title} ({block.title})" if block.title else title
        caption = f"{name}. {' '.join(notes)}" if number == 0 else f"{name}."
        parts += [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_escaped(caption)}}}",
            rf"\begin{{tabular}}{{{'l' * block.lead}{'r' * (len(heading) - block.lead)}}}",
            r"\hline",
            " & ".join(rf"\shortstack{{{cell}}}".replace("\n", r"\\") for cell in heading) + r" \\",
            r"\hline",
            *(" & ".join(row) + r" \\" for row in body),
            r"\hline",
            r"\end{tabular}",
            r"\end{table}",
        ]
    return "\n".join(parts) + "\n"


def _escaped(cell: str) -> str:
    pairs = (
        ("%", r"\%"), ("_", r"\_"), ("&", r"\&"), ("#", r"\#"), ("±", r"$\pm$"), ("λ", r"$\lambda$"), ("−", "$-$"),
        ("→", r"$\rightarrow$"), ("≤", r"$\le$"), ("--", "{-}{-}"),
    )  # fmt: skip
    for plain, safe in pairs:
        cell = cell.replace(plain, safe)
    return cell
