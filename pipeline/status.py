"""Count the faces and landmarks that were found in a dataset's images, per split and class.

    python -m pipeline.status results/data/rafdb --out results/data/rafdb/status --source rafdb

Failures are not spread evenly over the classes, so a total would hide them. `status.csv` holds the table of faces and
landmarks; `status.md` adds warnings, the lost AU maps, the official counts, the steps of the detector and the
unreadable files. `faces.csv` beside them has a row per image.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas

from au_guidance.expressions import Expression
from pipeline import plugins
from pipeline.errors import UserError, run
from pipeline.geometry import complete
from pipeline.index import SPLITS, compare_counts, describe_classes, describe_differences
from pipeline.storage.files import refuse_overwriting, write_text
from pipeline.storage.shards import ShardFolder, read_all

FACES = ("ok", "several", "box_fallback", "whole_image", "unreadable")  # in this order in the table, others after them
LANDMARKS = ("ok", "redetected", "from_box", "outside", "no_face", "no_points", "not_listed", "unreadable")
ALL = "all"
WORDS = ("split", "expression")  # columns of words; the others hold numbers
LISTED = 50  # unreadable files that are listed
GAP = 10  # points between two classes beyond which maps are missing unevenly
FACE_COLUMNS = ("id", "split", "expression", "status", "step", "score", "landmarks", "quality")  # of faces.csv


def write_status(folder: Path, out: Path, source: str | None = None) -> pandas.DataFrame:
    """Count the rows of a prepared dataset's shards by split and class; write `<out>.csv`, `<out>.md` and `faces.csv`.

    `source` is the plug-in that knows the official counts. Raises UserError if it does not exist, and if the
    face and landmark shards do not hold the same images in the same order.
    """
    csv, md, per_face = out.with_name(out.name + ".csv"), out.with_name(out.name + ".md"), out.with_name("faces.csv")
    refuse_overwriting([folder / "index.csv", *folder.glob("*/*.h5")], [csv, md, per_face])
    rows = _rows(folder)
    table = summary(rows)
    text = "\n".join(_sections(rows, table, source))
    write_text(csv, table.to_csv(index=False, lineterminator="\n"))
    faces = face_table(rows).to_csv(index=False, lineterminator="\n", float_format="%.6g")
    write_text(per_face, faces)
    write_text(md, text)
    return table


def summary(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Count rows (split, expression, face, landmarks, found) per split and class, with totals.

    `percent` is the share of images with landmarks.
    """
    splits = sorted(rows["split"].unique(), key=SPLITS.index)
    lines = [_line(split, *group) for split in splits for group in _classes(rows[rows["split"] == split])]
    table = pandas.DataFrame([*lines, _line(ALL, ALL, rows)]).fillna(0)
    statuses = _ordered(table.columns, "face", FACES) + _ordered(table.columns, "landmarks", LANDMARKS)
    return table[["split", "expression", "images", *statuses, "percent"]].astype(dict.fromkeys(statuses, int))


def face_table(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Arrange a row per image: FACE_COLUMNS, `expression` in words; an unknown score or quality is NaN."""
    labels = [Expression(value).label for value in rows["expression"]]
    return rows.rename(columns={"face": "status"}).assign(expression=labels)[[*FACE_COLUMNS]]


def lost_maps(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Count per class, over all splits, the images without landmarks; Neutral has no map, but the same landmarks."""
    lines = [(label, len(part), int((~part["found"]).sum())) for label, part in _classes(rows)]
    table = pandas.DataFrame(lines, columns=["expression", "images", "lost"])
    return table.assign(percent=[f"{100 * lost / images:.1f}" if images else "-" for _, images, lost in lines])


def describe_gap(percent: Mapping[str, float]) -> str | None:
    """Warn if the share of images with landmarks, in percent by class, differs by more than GAP points."""
    if not percent:
        return None
    least, most = (choose(percent, key=lambda label: percent[label]) for choose in (min, max))
    if percent[most] - percent[least] <= GAP:
        return None
    return (
        f"warning: landmarks: {least} {percent[least]:.0f} %, {most} {percent[most]:.0f} %: AU maps are missing "
        "unevenly, so AU guidance is trained and measured on a biased part of the faces; "
        "try another detector or extractor"
    )


def split_warnings(rows: pandas.DataFrame) -> list[str]:
    """Return a one-line warning for each class that only the test split has, and if splits share pictures.

    Two pictures are the same if their aligned faces are, to the last bit.
    """
    images = Counter((split, Expression(value)) for split, value in zip(rows["split"], rows["expression"], strict=True))
    pictures = rows[rows["picture"] != ""]
    shared = pictures[pictures.groupby("picture")["split"].transform("nunique") > 1]
    lines = describe_classes(compare_counts(images, {}))
    if len(shared):
        same = shared[shared["picture"] == shared["picture"].iloc[0]].drop_duplicates("split")
        lines.append(
            f"warning: {shared['picture'].nunique()} pictures are in more than one split ({len(shared)} faces), such "
            f"as {same['id'].iloc[0]} and {same['id'].iloc[1]}; scores on them are not those on new faces"
        )
    return lines


def beside_official(rows: pandas.DataFrame, source: str) -> tuple[pandas.DataFrame, str | None]:
    """Compare the counts of the rows (split, expression) with those of the source's official release.

    Returns a table, empty if the source knows no counts, and the warning of `pipeline.index.describe_differences`.
    """
    images = Counter((split, Expression(value)) for split, value in zip(rows["split"], rows["expression"], strict=True))
    counts = compare_counts(images, plugins.load("pipeline.sources", source).EXPECTED)
    lines = [
        (pair.split, pair.expression.label, pair.found, pair.expected) for pair in counts if pair.expected is not None
    ]
    return pandas.DataFrame(lines, columns=["split", "expression", "found", "official"]), describe_differences(counts)


def count_steps(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Count per class (expression, step, quality) which step of the detector found the face, the most frequent first.

    `quality` is the mean of the landmarks' quality, left out if the extractor knows none.
    """
    frequent = [name for name, _ in sorted(Counter(rows["step"]).items(), key=lambda item: (-item[1], item[0])) if name]
    lines = []
    for label, part in _classes(rows):
        counts = {name: int((part["step"] == name).sum()) for name in frequent}
        line = {"expression": label, **counts, "none": int((part["step"] == "").sum())}
        if rows["quality"].notna().any():
            line["quality"] = f"{part['quality'].mean():.3f}" if part["quality"].notna().any() else "-"
        lines.append(line)
    return pandas.DataFrame(lines)


def markdown(table: pandas.DataFrame) -> str:
    """Write a table as Markdown with aligned columns: words to the left, numbers to the right."""
    cells = [[str(cell) for cell in row] for row in (table.columns, *table.to_numpy(object))]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    words = [name in WORDS for name in table.columns]
    moves = [str.ljust if left else str.rjust for left in words]
    lines = [
        "| " + " | ".join(move(cell, width) for move, cell, width in zip(moves, row, widths, strict=True)) + " |"
        for row in cells
    ]
    rules = ["-" * (width + 1) + ("-" if left else ":") for width, left in zip(widths, words, strict=True)]
    return "\n".join([lines[0], f"|{'|'.join(rules)}|", *lines[1:]]) + "\n"


def _rows(folder: Path) -> pandas.DataFrame:
    shards = ShardFolder(folder / "faces")
    scored = ["score"] if "score" in shards.shards[0].names else []  # shards of earlier versions have none
    faces = {"score": np.nan} | shards.columns("id", "split", "expression", "status", "step", *scored)
    faces["picture"] = np.array([sha256(file.data).hexdigest() if len(file) else "" for file in shards.stored_files()])
    landmarks = read_all(folder / "landmarks", "id", "status", "points", "quality")
    if not np.array_equal(faces["id"], landmarks["id"]):
        raise UserError(f"{folder}: faces/ and landmarks/ hold different images; run the workflow again")
    found = {"landmarks": landmarks["status"], "found": complete(landmarks["points"]), "quality": landmarks["quality"]}
    return pandas.DataFrame({**faces, **found}).rename(columns={"status": "face"})


def _sections(rows: pandas.DataFrame, table: pandas.DataFrame, source: str | None) -> Iterator[str]:
    """Write the parts of `status.md`, each ending with a line end."""
    yield "# What became of the images\n"
    yield from (f"{warning}\n" for warning in split_warnings(rows))
    yield f"## Faces and landmarks\n\n{markdown(table)}"
    yield f"## AU maps that are lost\n\n{markdown(lost_maps(rows))}"
    found = {label: 100 * part["found"].mean() for label, part in _classes(rows) if len(part) and label != ALL}
    if warning := describe_gap(found):
        yield f"{warning}\n"
    if source:
        official, differences = beside_official(rows, source)
        if len(official):
            yield f"## Images, beside the official release\n\n{markdown(official)}"
            yield f"{differences or 'All counts are those of the official release.'}\n"
    yield f"## Which step of the detector found the face\n\n{markdown(count_steps(rows))}"
    unreadable = rows["id"][rows["face"] == "unreadable"].tolist()
    yield f"## Unreadable files: {len(unreadable)}\n"
    if unreadable:
        more = [f"and {len(unreadable) - LISTED} more"] if len(unreadable) > LISTED else []
        yield "".join(f"- {line}\n" for line in [*(f"`{name}`" for name in unreadable[:LISTED]), *more])


def _classes(rows: pandas.DataFrame) -> Iterator[tuple[str, pandas.DataFrame]]:
    """Yield the rows of each class and then all of them, with a name."""
    for expression in Expression:
        yield expression.label, rows[rows["expression"] == expression.value]
    yield ALL, rows


def _line(split: str, expression: str, rows: pandas.DataFrame) -> dict[str, object]:
    statuses = Counter(f"{what}:{name}" for what in ("face", "landmarks") for name in rows[what])
    percent = f"{100 * rows['found'].mean():.1f}" if len(rows) else "-"
    return {"split": split, "expression": expression, "images": len(rows), **statuses, "percent": percent}


def _ordered(columns: Iterable[str], what: str, known: tuple[str, ...]) -> list[str]:
    present = [name for name in columns if name.startswith(f"{what}:")]
    first = [name for name in (f"{what}:{status}" for status in known) if name in present]
    return first + sorted(set(present) - set(first))


def main() -> None:
    """Read the command line, count, print the written text."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.status",
        description="Read the face and landmark shards of a dataset; write how often each status occurs.",
    )
    parser.add_argument("folder", type=Path, help="folder of a prepared dataset, with faces/ and landmarks/")
    parser.add_argument(
        "--out", type=Path, required=True, help="files to write, without .csv and .md; faces.csv lies beside"
    )
    parser.add_argument("--source", help="source of the dataset, to compare with its official counts (default: none)")
    arguments = parser.parse_args()
    write_status(arguments.folder, arguments.out, arguments.source)
    print(arguments.out.with_name(arguments.out.name + ".md").read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    run(main)
