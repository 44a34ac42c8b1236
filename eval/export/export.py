"""A checkpoint for other programs: an ONNX file, a folder in the layout of the Hugging Face hub.

    python -m eval.export CHECKPOINT [--onnx FILE.onnx] [--hub DIR] [--scores scores.json]

The ONNX file takes `images` (b, 3, s, s), normalised as its metadata `preprocessing` says, and gives `logits` (b, 7),
`attention` (b, h, w) and, where no gradient is needed, `cam` (b, h, w); see `eval.export.onnx`. The folder holds
model.safetensors, config.json and a model card, README.md, with the numbers of scores.json (the one beside the
checkpoint unless given) and no others. Nothing that is written names a place on this machine.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from eval.export.model_card import card_text
from eval.export.onnx import write_onnx
from eval.export.scores import Evaluated, evaluated
from pipeline.errors import UserError
from pipeline.storage.files import atomic_write, digest, write_text
from train.card.checks import explain
from train.card.schema import Card
from train.checkpoints import checkpoint
from train.checkpoints.checkpoint import Loaded
from train.data.prepared import Prepared, part_rows
from train.methods.base import Method, build_method
from train.weights.tensors import check_tensors

MODEL, CONFIG, README = "model.safetensors", "config.json", "README.md"
MAKER = "python -m eval.export"


def export(path: Path, *, onnx: Path | None = None, hub: Path | None = None, scores: Path | None = None) -> None:
    """Write what is asked for of a checkpoint; `scores` are for the model card of `hub`.

    Raises UserError as `train.checkpoints.checkpoint.load`, `eval.export.onnx.write_onnx` and `write_hub` do.
    """
    if onnx is None and hub is None:
        raise UserError("nothing to write: give --onnx FILE.onnx, --hub DIR, or both")
    loaded = checkpoint.load(path)
    if hub is not None:
        beside = path.with_name("scores.json")
        scores = beside if scores is None and beside.exists() else scores
        layer = max(loaded.card.guidance.layers)
        found = None if scores is None else evaluated(scores, path, layer)
        write_hub(loaded, hub, found)
    if onnx is not None:
        write_onnx(loaded, onnx, described(loaded))


def described(loaded: Loaded) -> dict[str, Any]:
    """Tell what a program must know to use a network, in JSON's types; of a card's absolute path the name is left."""
    told = {
        "labels": loaded.labels,
        "preprocessing": loaded.meta["preprocessing"],
        "card": loaded.card.model_dump(mode="json"),
        "versions": loaded.meta.get("versions", {}),
        "commit": loaded.meta.get("commit", "unknown"),
    }
    calibrated = {"temperature": loaded.scores["temperature"]} if "temperature" in loaded.scores else {}
    return public(told | calibrated)


def public(value: Any) -> Any:
    """Reduce every text in JSON-like values that leads to a place on this machine to its last name."""
    if isinstance(value, Mapping):
        return {key: public(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [public(part) for part in value]
    if not isinstance(value, str):
        return value
    place = PureWindowsPath(value)  # which knows both kinds of slashes
    return place.name if place.root or value.startswith(("~", "..")) else value


def write_hub(loaded: Loaded, folder: Path, found: Evaluated | None) -> None:
    """Write a folder in the layout of the Hugging Face hub, whole; one that this command wrote before is replaced.

    Raises UserError if the folder holds anything else.
    """
    folder = folder.resolve()
    _refuse_foreign(folder)
    building, old = (folder.with_name(f".{os.getpid()}.{folder.name}.{part}") for part in ("new", "old"))
    try:
        with atomic_write(building / MODEL) as temporary:
            tensors = {name: tensor.contiguous() for name, tensor in loaded.method.state_dict().items()}
            save_file(tensors, temporary, {"format": "pt"})
        config = hub_config(loaded, building / MODEL)
        write_text(building / CONFIG, json.dumps(config, indent=2) + "\n")
        write_text(building / README, card_text(loaded.card, config, found, folder.name))
        _put(building, folder, old)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def hub_config(loaded: Loaded, model: Path) -> dict[str, Any]:
    """Arrange config.json: what `described` tells, under the names that the hub knows where it has some."""
    told = described(loaded)
    labels = told.pop("labels")
    return {
        "made_by": MAKER,
        "architectures": [type(loaded.method).__name__],
        "method": loaded.card.method,
        "variant": loaded.card.variant,
        "backbone": loaded.card.model.backbone,
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
        **told,
        "training_faces": training_faces(loaded),
        "sha256": digest(model),
    }


def training_faces(loaded: Loaded) -> int | None:
    """Count the faces that a network was trained on; None unless its very data are still where they were."""
    try:
        prepared = Prepared(loaded.card.data.folder, loaded.card.heatmap)
        return len(part_rows(prepared, loaded.card, "train")) if prepared.digest == loaded.meta.get("data") else None
    except (UserError, OSError):
        return None


def load_hub(folder: str | Path) -> Method:
    """Load the network of a folder that `write_hub` wrote, in evaluation mode on the CPU.

    Raises UserError if a file is missing, damaged or of another version.
    """
    config, model = _read_config(Path(folder)), Path(folder) / MODEL
    try:
        if digest(model) != config["sha256"]:
            raise UserError(f"{model} is damaged (its checksum does not match); download or export it again")
        card, tensors = Card.model_validate(config["card"]), load_file(model)
    except KeyError as error:
        raise UserError(f"{folder}/{CONFIG} holds no {error}; export the checkpoint again") from None
    except ValidationError as error:
        raise UserError(f"{folder} was made by another version: {explain(error)}") from None
    except (OSError, SafetensorError) as error:
        raise UserError(f"{model} cannot be read: {' '.join(str(error).split())[:100]}") from None
    method = build_method(card, initialise=False)
    check_tensors(tensors, method.state_dict(), model)
    method.load_state_dict(tensors)
    return method.eval()


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())[:100]
        raise UserError(f"{folder} holds no {CONFIG} of {MAKER} ({why})") from None
    if not isinstance(config, dict) or config.get("made_by") != MAKER:
        raise UserError(f"{folder} holds no {CONFIG} of {MAKER}; name a folder that it wrote")
    return config


def _refuse_foreign(folder: Path) -> None:
    """Raise UserError unless a folder is absent, empty, or holds this command's files and no others."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; name a folder to write")
    there = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    foreign = [name for name in there if name not in (MODEL, CONFIG, README)]
    if foreign:
        raise UserError(f"{folder} holds {foreign[0]}, which this command did not write; name a new or empty folder")
    if there:
        try:
            _read_config(folder)
        except UserError:
            raise UserError(f"{folder} was not written by this command; name a new or empty folder") from None


def _put(building: Path, folder: Path, old: Path) -> None:
    """Let the finished folder take its place; what was there goes only then."""
    if not folder.exists():
        building.replace(folder)
        return
    folder.replace(old)
    try:
        building.replace(folder)
    except OSError:
        old.replace(folder)
        raise
    shutil.rmtree(old)
