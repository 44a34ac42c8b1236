"""First stage: list a dataset's images with their labels, and give each image its shard.

    python -m pipeline.index --source rafdb --root datasets/RAF-DB --shards 8 --out index.csv

Writes `index.csv`, which all later stages read instead of the dataset's own annotations, and prints the number of
images beside the official counts.
"""

import argparse
import csv
import logging
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from au_guidance.expressions import Expression
from pipeline import plugins
from pipeline.errors import UserError, run
from pipeline.storage.files import refuse_overwriting, write_csv
from pipeline.types import Count, Sample

SPLITS = ("train", "validation", "test")
REQUIRED = ("train", "test")
FIRST = ("id", "path", "expression", "split", "shard", "shards", "identity")  # then the attributes
LAST = ("box", "points5", "landmarks")
VOTES = "votes"  # the last column, only where a dataset has votes
SHAPES = {"box": (4,), "points5": (5, 2), "landmarks": (68, 2), VOTES: (len(Expression),)}

Floats = NDArray[np.float64]
log = logging.getLogger(__name__)


def build_index(source: str, root: Path, shards: int, out: Path, dataset: str | None = None) -> list[Count]:
    """Write the index of the dataset at `root` to `out` atomically; return the counts per split and class.

    `dataset` is the dataset's name in the config, for messages. Raises UserError if the root is missing, the source
    refuses it, the dataset or a split is empty, or an id or a path occurs twice.
    """
    if shards < 1:
        raise UserError(f"--shards: {shards} is too few, at least 1 is needed")
    plugin = plugins.load("pipeline.sources", source)
    if not root.is_dir():
        message, _, details = missing_root_message(dataset or source, source, root).partition("\n")
        raise UserError(message, details)
    if not _is_index(out):
        refuse_overwriting([root], [out])
    rows: list[dict[str, Any]] = []
    images: Counter[tuple[str, Expression]] = Counter()
    seen: dict[str, set[str]] = {"id": set(), "path": set()}
    for sample in plugin.read(root):
        _check(sample, seen)
        rows.append(_row(sample, shards))
        images[sample.split, sample.expression] += 1
    if not rows:
        raise UserError(f"{root} holds no images that the source {source!r} can use; see above which were left out")
    for split in REQUIRED:
        if not any(split == part for part, _ in images):
            raise UserError(f"{root} holds no images of the split {split!r} that the source {source!r} can use")
    attributes = dict.fromkeys(name for row in rows for name in row if name not in (*FIRST, *SHAPES))
    votes = [VOTES] if any(VOTES in row for row in rows) else []
    write_csv(out, [*FIRST, *attributes, *LAST, *votes], rows)
    return compare_counts(images, plugin.EXPECTED)


def read_samples(path: Path, shard: int | None = None) -> list[Sample]:
    """Read the samples of an index in its order, all or those of one shard.

    Coordinates have eight significant digits. Raises UserError if the file is missing, was not written by this stage
    or holds a damaged line.
    """
    return [_sample(row, path) for row in _rows(path) if shard is None or row["shard"] == str(shard)]


def shard_count(path: Path) -> int:
    """Read the number of shards of an index, empty ones included; raise UserError as `read_samples` does."""
    count = next((row["shards"] for row in _rows(path)), "no row")
    if not count.isdecimal():
        raise UserError(f"{path}: the number of shards is {count!r}; build it again with `python -m pipeline.index`")
    return int(count)


def shard_of(sample_id: str, shards: int) -> int:
    """Return the shard of an image: the same on every machine and in every order."""
    return crc32(sample_id.encode()) % shards


def missing_root_message(dataset: str, source: str, root: Path) -> str:
    """Return the message for a missing dataset: where to get it, its layout, its key, and what runs without it."""
    return (
        f"The dataset {dataset!r} (source {source!r}) is not at {root}.\n"
        f"{plugins.load('pipeline.sources', source).LAYOUT}\n"
        f"Put it there, or set `datasets.{dataset}.root` in the config. "
        "`make demo` runs without any dataset: it draws its own faces."
    )


def compare_counts(
    found: Mapping[tuple[str, Expression], int], expected: Mapping[tuple[str, Expression], int]
) -> list[Count]:
    """Pair the found counts with the expected ones, for every split and class.

    Copies without a validation split hold its images in the test split, so there the sum of both is expected.
    """
    splits = [split for split in SPLITS if split in REQUIRED or any(split == part for part, _ in found)]
    official = Counter[tuple[str, Expression]]()
    for (split, expression), count in expected.items():
        official[split if split in splits else "test", expression] += count
    return [
        Count(split, expression, found.get((split, expression), 0), official.get((split, expression)))
        for split in splits
        for expression in Expression
    ]


def counts_table(counts: Sequence[Count]) -> str:
    """Write the counts as plain text: a line per split and class, and a total per split."""
    lines = [f"{'split':<10} {'expression':<10} {'found':>8} {'expected':>8}"]
    for split in dict.fromkeys(count.split for count in counts):
        part = [count for count in counts if count.split == split]
        expected = [count.expected for count in part if count.expected is not None]
        total = sum(expected) if expected else None
        lines += [_line(split, count.expression.label, count.found, count.expected) for count in part]
        lines.append(_line(split, "all", sum(count.found for count in part), total))
    return "\n".join(lines)


def describe_differences(counts: Sequence[Count]) -> str | None:
    """Return a one-line warning if the counts differ from the official release; None if they agree or it has none."""
    wrong = [count for count in counts if count.expected is not None and count.found != count.expected]
    if not wrong:
        return None
    splits = list(dict.fromkeys(count.split for count in counts))
    totals = "/".join(str(sum(count.found for count in counts if count.split == split)) for split in splits)
    official = "/".join(str(sum(count.expected or 0 for count in counts if count.split == split)) for split in splits)
    return (
        f"warning: {len(wrong)} of {len(counts)} counts differ from the official release ({'/'.join(splits)} {totals}, "
        f"official {official}); results are not comparable with published ones"
    )


def describe_classes(counts: Sequence[Count]) -> list[str]:
    """Return a one-line warning for each class that is tested but not in the training split, or if there is one class.

    A class without any image does not matter: the networks have seven outputs in any case.
    """
    of_split = {
        split: {count.expression for count in counts if count.split == split and count.found} for split in SPLITS
    }
    classes = set().union(*of_split.values())
    if len(classes) == 1:
        return [f"warning: all images show {classes.pop().label}; with one class there is nothing to tell apart"]
    return [
        f"warning: {expression.label} is in the test split but not in the training split; no network can learn it"
        for expression in sorted(of_split["test"] - of_split["train"])
    ]


def main() -> None:
    """Read the command line, build the index, print the counts."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.index",
        description="Read a dataset in its official layout; write index.csv, a row per image with label and shard.",
    )
    parser.add_argument("--source", required=True, help=f"one of: {', '.join(plugins.names('pipeline.sources'))}")
    parser.add_argument("--root", required=True, type=Path, help="folder of the dataset in its official layout")
    parser.add_argument("--shards", required=True, type=int, help="into how many files the later stages divide it")
    parser.add_argument("--out", required=True, type=Path, help="the index.csv to write")
    parser.add_argument("--dataset", help="name in the config, for messages (default: that of the source)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    counts = build_index(arguments.source, arguments.root, arguments.shards, arguments.out, arguments.dataset)
    print(counts_table(counts))
    for warning in filter(None, [describe_differences(counts), *describe_classes(counts)]):
        print(warning)


def _is_index(path: Path) -> bool:
    """Say whether a file begins as those of `build_index` do."""
    try:
        with path.open("rb") as file:
            return file.readline().decode().startswith(",".join(FIRST))
    except (OSError, UnicodeDecodeError):
        return False


def _check(sample: Sample, seen: Mapping[str, set[str]]) -> None:
    """Raise UserError on a sample that no source may yield; add its id and path to `seen`."""
    if sample.split not in SPLITS:
        raise UserError(f"{sample.path}: the split {sample.split!r} is not one of {', '.join(SPLITS)}")
    for name, values in seen.items():
        value = getattr(sample, name)
        if value in values:
            raise UserError(f"{sample.path}: the {name} {value!r} occurs twice; each image must be listed once")
        if value.encode("utf-8", "replace").decode() != value:
            raise UserError(f"{value!r}: rename this file, its name is not UTF-8")
        values.add(value)


def _row(sample: Sample, shards: int) -> dict[str, Any]:
    return {
        "id": sample.id,
        "path": sample.path,
        "expression": sample.expression.label,
        "split": sample.split,
        "shard": shard_of(sample.id, shards),
        "shards": shards,
        "identity": sample.identity or "",
        **sample.attributes,
        **{name: _text(getattr(sample, name)) for name in LAST},
        **({} if sample.votes is None else {VOTES: _text(sample.votes)}),
    }


def _rows(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, restval="")
            absent = [name for name in (*FIRST, *LAST) if name not in (reader.fieldnames or ())]
            if absent:
                raise UserError(
                    f"{path} is no index: the column {absent[0]} is missing; build it with `python -m pipeline.index`"
                )
            yield from reader
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; build it with `python -m pipeline.index`") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is damaged ({error}); build it again with `python -m pipeline.index`") from None


def _sample(row: Mapping[str, str], path: Path) -> Sample:
    known = {name: value for name, value in row.items() if value and name not in (*FIRST, *SHAPES)}
    try:
        return Sample(
            id=row["id"],
            path=row["path"],
            expression=Expression.parse(row["expression"]),
            split=row["split"],
            identity=row["identity"] or None,
            attributes=known,
            **{name: _array(row.get(name, ""), shape) for name, shape in SHAPES.items()},
        )
    except ValueError as error:
        raise UserError(f"{path}, image {row['id']}: {error}; build it again with `python -m pipeline.index`") from None


def _text(values: Floats | None) -> str:
    return "" if values is None else ";".join(f"{value:.8g}" for value in values.flat)


def _array(text: str, shape: tuple[int, ...]) -> Floats | None:
    return np.array([float(word) for word in text.split(";")]).reshape(shape) if text else None


def _line(split: str, name: str, found: int, expected: int | None) -> str:
    return f"{split:<10} {name:<10} {found:>8} {'-' if expected is None else expected:>8}"


if __name__ == "__main__":
    run(main)
