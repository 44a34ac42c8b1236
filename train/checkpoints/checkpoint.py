"""Checkpoints: a trained network in one safetensors file with all that using it needs; no code runs on loading.

The file's metadata are JSON texts: card, labels (in the order of the logits), preprocessing, scores, data (digest of
the shards), extractor (of the landmarks), machine, versions, commit; and sha256, of the whole file with zeros in the
place of this checksum.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from au_guidance.expressions import Expression
from pipeline.errors import UserError
from pipeline.plugins import ROOT
from pipeline.storage.files import atomic_write
from train.card.checks import describe_error, training_card
from train.card.schema import Card
from train.data.prepared import Prepared
from train.data.transforms import NORMALISATIONS
from train.hardware import machine
from train.methods.base import Method, build_method
from train.weights import checksummed
from train.weights.load import check_tensors

LABELS = [expression.label for expression in Expression]  # in the order of the logits
PACKAGES = ("torch", "torchvision", "timm", "numpy", "opencv-python-headless")


@dataclass(frozen=True, eq=False)
class Loaded:
    """A checkpoint in memory: the network in evaluation mode on the CPU, and its metadata."""

    method: Method
    card: Card
    labels: list[str]
    scores: dict[str, Any]
    meta: dict[str, Any]


def load(path: str | Path) -> Loaded:
    """Load a checkpoint; raise UserError if it is missing or damaged, or its labels or tensors do not fit."""
    path = Path(path)
    meta = read_metadata(path)
    try:
        card = Card.model_validate(meta["card"])
        labels, scores = meta["labels"], meta["scores"]
    except KeyError as error:
        raise UserError(f"{path} is no checkpoint of this project: it does not hold {error}") from None
    except ValidationError as error:
        raise UserError(f"{path} was made by another version: {describe_error(error)}") from None
    if labels != LABELS:
        raise UserError(f"{path}: labels are {', '.join(labels)}; expected {', '.join(LABELS)}")
    method = build_method(card, initialise=False)
    tensors = load_file(path)
    check_tensors(tensors, method.state_dict(), path)
    method.load_state_dict(tensors)
    return Loaded(method.eval(), card, labels, scores, meta)


def read_metadata(path: Path) -> dict[str, Any]:
    """Read a checkpoint's metadata without its tensors; raise UserError as `load` does if any byte has changed."""
    try:
        with safe_open(path, "numpy") as file:
            texts = file.metadata() or {}
        if checksummed.KEY in texts and not checksummed.checksum_matches(path):
            raise UserError(f"{path} is damaged (its checksum does not match); delete it and train the run again")
        meta = {name: json.loads(text) for name, text in texts.items() if name != checksummed.KEY}
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; train the run first") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is not a checkpoint, or a damaged one: {' '.join(str(error).split())[:100]}") from None
    if checksummed.KEY not in texts:
        raise UserError(f"{path} is no checkpoint of this project: it has no checksum")
    return meta


def save(path: Path, tensors: Mapping[str, Tensor], card: Card, prepared: Prepared, scores: Mapping[str, Any]) -> None:
    """Write the checkpoint of a training whole or not at all."""
    described = {"data": prepared.digest, "extractor": prepared.extractor, "machine": machine()}
    write(path, tensors, card, scores, alignment=prepared.alignment, **described)


def write(
    path: Path,
    tensors: Mapping[str, Tensor],
    card: Card,
    scores: Mapping[str, Any],
    *,
    alignment: Mapping[str, Any],
    **metadata: Any,
) -> None:
    """Write a checkpoint whole or not at all; `alignment` is how faces were cut, `metadata` are stored as they are."""
    meta = {
        **metadata,
        "card": card.model_dump(mode="json"),
        "labels": LABELS,
        "preprocessing": {
            "image_size": card.model.image_size,
            "normalisation": card.model.normalisation,
            **NORMALISATIONS.get(card.model.normalisation, {}),
            "alignment": dict(alignment),
        },
        "scores": dict(scores),
        "versions": {"python": sys.version.split()[0], **{name: _version(name) for name in PACKAGES}},
        "commit": commit(),
    }
    checksummed.write(path, tensors, meta)


def was_trained_by(path: Path, card: Card, prepared: Prepared) -> bool:
    """Say whether a checkpoint exists that was trained with this card on this data."""
    if not path.exists():
        return False
    meta = read_metadata(path)
    return meta.get("card") == card.model_dump(mode="json") and meta.get("data") == prepared.digest


def share(card: Card, source: Path, out: Path) -> None:
    """Write to `out` what training this card would write, from the run in `source`: equal tensors under the own card.

    Raises UserError if the run in `source` was trained under other settings.
    """
    for name in ("checkpoint.safetensors", "last.safetensors"):
        meta = read_metadata(source / name)
        if meta.get("card") != training_card(card).model_dump(mode="json"):
            raise UserError(f"{source / name} was trained with other settings than {card.method} needs; train it apart")
        meta["card"] = card.model_dump(mode="json")
        checksummed.write(out / name, load_file(source / name), meta)
    with atomic_write(out / "history.csv") as temporary:
        shutil.copyfile(source / "history.csv", temporary)
    print(f"{card.method} shares the training in {source}", flush=True)


def commit() -> str:
    """Return the commit of the code, with "+changes" if files differ from it; "unknown" outside a repository."""
    try:
        head = _git("rev-parse", "HEAD")
        return f"{head}+changes" if _git("status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:
        return ""
