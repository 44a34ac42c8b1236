"""What became of a dataset's images: found faces and landmarks per split and class.

    python -m pipeline.status results/data/rafdb --out results/data/rafdb/status

Writes `status.csv` and `status.md`. Failures are not spread evenly over the classes, so a total alone would hide them.
"""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas

from pipeline import shards
from pipeline.errors import UserError, run
from pipeline.expressions import Expression
from pipeline.geometry import complete

FACES = ("ok", "several", "box_fallback", "whole_image", "unreadable")  # in the table's order, others after
LANDMARKS = ("ok", "redetected", "from_box", "outside", "no_face", "no_points", "not_listed", "unreadable")
ALL = "all"


def build(folder: Path, out: Path) -> pandas.DataFrame:
    """Count the rows of a prepared dataset's shards by split and class; write `<out>.csv` and `<out>.md`.

    Raises UserError if the face and landmark shards do not hold the same images in the same order.
    """
    table = summary(_rows(folder))
    out.parent.mkdir(parents=True, exist_ok=True)
    _write(out.with_name(out.name + ".csv"), table.to_csv(index=False, lineterminator="\n"))
    _write(out.with_name(out.name + ".md"), markdown(table))
    return table


def summary(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Count rows (split, expression, face, landmarks, found) per split and class, with totals.

    `percent` is the share of images with landmarks.
    """
    lines = []
    for split in sorted(rows["split"].unique(), key=("train", "test").index):
        part = rows[rows["split"] == split]
        lines += [_line(split, one.label, part[part["expression"] == one.value]) for one in Expression]
        lines.append(_line(split, ALL, part))
    lines.append(_line(ALL, ALL, rows))
    table = pandas.DataFrame(lines).fillna(0)
    counts = _ordered(table.columns, "face", FACES) + _ordered(table.columns, "landmarks", LANDMARKS)
    return table[["split", "expression", "images", *counts, "percent"]].astype(dict.fromkeys(counts, int))


def markdown(table: pandas.DataFrame) -> str:
    """Write the table as Markdown with aligned columns."""
    cells = [[str(name) for name in table.columns], *([str(cell) for cell in row] for row in table.to_numpy(object))]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = ["| " + " | ".join(_padded(row, widths)) + " |" for row in cells]
    rule = "|" + "|".join("-" * (width + 1) + ("-" if column < 2 else ":") for column, width in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def _rows(folder: Path) -> pandas.DataFrame:
    faces = shards.read_all(folder / "faces", "id", "split", "expression", "status")
    found = shards.read_all(folder / "landmarks", "id", "status", "points")
    if not np.array_equal(faces["id"], found["id"]):
        raise UserError(f"{folder}: faces/ and landmarks/ hold different images; run the workflow again")
    return pandas.DataFrame(
        {
            "split": faces["split"],
            "expression": faces["expression"],
            "face": faces["status"],
            "landmarks": found["status"],
            "found": complete(found["points"]),
        }
    )


def _line(split: str, expression: str, rows: pandas.DataFrame) -> dict[str, object]:
    counts = {
        f"{what}:{name}": int(count)
        for what in ("face", "landmarks")
        for name, count in rows[what].value_counts().items()
    }
    percent = f"{100 * rows['found'].mean():.1f}" if len(rows) else "-"
    return {"split": split, "expression": expression, "images": len(rows), **counts, "percent": percent}


def _ordered(columns: Iterable[str], what: str, known: tuple[str, ...]) -> list[str]:
    there = [name for name in columns if name.startswith(f"{what}:")]
    first = [name for name in (f"{what}:{status}" for status in known) if name in there]
    return first + sorted(set(there) - set(first))


def _padded(row: list[str], widths: list[int]) -> list[str]:
    """Words to the left, numbers to the right."""
    fit = (str.ljust, str.ljust, *[str.rjust] * len(row))
    return [move(cell, width) for move, cell, width in zip(fit, row, widths, strict=False)]


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def main() -> None:
    """Read the command line, count, print the table."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.status", description="Count faces and landmarks.")
    parser.add_argument("folder", type=Path, help="folder of a prepared dataset, with faces/ and landmarks/")
    parser.add_argument("--out", type=Path, required=True, help="what to write, without .csv and .md")
    arguments = parser.parse_args()
    print(markdown(build(arguments.folder, arguments.out)), end="")


if __name__ == "__main__":
    run(main)
