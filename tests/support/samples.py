"""Samples of a dataset, and an index that lists them."""

import csv
from pathlib import Path

import numpy as np

from au_guidance.expressions import Expression
from pipeline.types import Sample


def sample(name: str = "a", **known: np.ndarray) -> Sample:
    return Sample(id=name, path=f"{name}.png", expression=Expression.FEAR, split="train", **known)


def write_index(path: Path, samples: list[Sample]) -> Path:
    """Write what `pipeline.index` writes, without a source: all images are in the first of eight shards."""
    fields = ("box", "points5", "landmarks")
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "path", "expression", "split", "shard", "shards", "identity", "gender", *fields])
        for listed in samples:
            numbers = [getattr(listed, field) for field in fields]
            texts = ["" if known is None else ";".join(map(str, known.ravel())) for known in numbers]
            gender = listed.attributes.get("gender", "")
            writer.writerow(
                [
                    listed.id,
                    listed.path,
                    listed.expression.label,
                    listed.split,
                    0,
                    8,
                    listed.identity or "",
                    gender,
                    *texts,
                ]
            )
    return path
