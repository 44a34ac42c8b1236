"""Written tables, read again."""

from pathlib import Path

import pandas as pd

from eval.records.runs import gather
from eval.tables import table


def write(name: str, files: list[Path], out: Path) -> pd.DataFrame:
    """Write a table of a kind from scores files and read its CSV."""
    table.write_table(name, gather(files), out)
    return pd.read_csv(out.with_name(out.name + ".csv"))


def rows_of(markdown: str) -> list[list[str]]:
    """Return the cells of all rows of a table in Markdown."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
