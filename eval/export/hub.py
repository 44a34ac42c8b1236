"""The folder of an exported network in the layout of the Hugging Face hub, written and loaded."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from eval.export.model_card import card_text
from eval.export.scores import Evaluation
from pipeline.errors import UserError
from pipeline.storage.files import atomic_write, digest, write_text
from train.card.checks import describe_error
from train.card.schema import Card
from train.checkpoints.checkpoint import LABELS, Loaded
from train.data.prepared import Prepared, part_rows
from train.methods.base import Method, build_method
from train.weights.load import check_tensors

FILES = MODEL, CONFIG, README = "model.safetensors", "config.json", "README.md"
MAKER = "python -m eval.export"


def write_hub(
    loaded: Loaded,
    folder: Path,
    description: Mapping[str, Any],
    evaluation: Evaluation | None = None,
    *,
    seeds: Sequence[Mapping[str, Any]] = (),
    command: str | None = None,
) -> None:
    """Write a folder in the layout of the Hugging Face hub; it appears complete or not at all.

    `description` is that of `eval.export.export.describe`; `seeds` and `command` are for the model card. A folder that
    this command wrote before is replaced. Raises UserError if the folder holds anything else.
    """
    folder = folder.resolve()
    _refuse_foreign(folder)
    building, old = (folder.with_name(f".{os.getpid()}.{folder.name}.{part}") for part in ("new", "old"))
    try:
        with atomic_write(building / MODEL) as temporary:
            tensors = {name: tensor.contiguous() for name, tensor in loaded.method.state_dict().items()}
            save_file(tensors, temporary, {"format": "pt"})
        config = _config(loaded, building / MODEL, description, evaluation)
        write_text(building / CONFIG, json.dumps(config, indent=2) + "\n")
        text = card_text(loaded.card, config, evaluation, folder.name, seeds=seeds, command=command)
        write_text(building / README, text)
        _move_into_place(building, folder, old)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _config(
    loaded: Loaded, model: Path, description: Mapping[str, Any], evaluation: Evaluation | None
) -> dict[str, Any]:
    """Return config.json: the description, under the hub's names where it has some, checksum, origin, test accuracy."""
    labels = description["labels"]
    return {
        "made_by": MAKER,
        "architectures": [type(loaded.method).__name__],
        "method": loaded.card.method,
        "variant": loaded.card.variant,
        "backbone": loaded.card.model.backbone,
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
        **{key: value for key, value in description.items() if key != "labels"},
        "training_faces": _training_faces(loaded),
        **({"test": _test(evaluation)} if evaluation else {}),
        "sha256": digest(model),
    }


def _test(evaluation: Evaluation) -> dict[str, Any]:
    """Say how good the network's answers are."""
    scores = evaluation.scores
    return {"dataset": scores["dataset"], "faces": scores["images"], "accuracy": round(scores["accuracy"], 4)}


def _training_faces(loaded: Loaded) -> int | None:
    """Count the faces that a network was trained on; None if its data are no longer there or have changed."""
    try:
        prepared = Prepared(loaded.card.data.folder, loaded.card.heatmap)
        return len(part_rows(prepared, loaded.card, "train")) if prepared.digest == loaded.meta.get("data") else None
    except (UserError, OSError):
        return None


def load_hub(folder: str | Path) -> Method:
    """Load the network of a folder that `write_hub` wrote, in evaluation mode on the CPU; raises as `read_hub` does."""
    return read_hub(folder).method


def read_hub(folder: str | Path) -> Loaded:
    """Read a folder that `write_hub` wrote as `train.checkpoints.checkpoint.load` reads a checkpoint.

    Raises UserError if a file is missing, damaged or of another version.
    """
    config, model = _read_config(Path(folder)), Path(folder) / MODEL
    try:
        if digest(model) != config["sha256"]:
            raise UserError(f"{model} is damaged (its checksum does not match); download or export it again")
        if config["id2label"] != {str(number): label for number, label in enumerate(LABELS)}:
            raise UserError(f"{folder}/{CONFIG} has other labels than {', '.join(LABELS)}; export the checkpoint again")
        meta = {name: config[name] for name in ("preprocessing", "extractor", "versions", "commit")}
        card, tensors = Card.model_validate(config["card"]), load_file(model)
    except KeyError as error:
        raise UserError(f"{folder}/{CONFIG} holds no {error}; export the checkpoint again") from None
    except ValidationError as error:
        raise UserError(f"{folder} was made by another version: {describe_error(error)}") from None
    except (OSError, SafetensorError) as error:
        raise UserError(f"{model} cannot be read: {' '.join(str(error).split())[:100]}") from None
    method = build_method(card, initialise=False)
    check_tensors(tensors, method.state_dict(), model)
    method.load_state_dict(tensors)
    scores: dict[str, Any] = {name: config[name] for name in ("temperature", "validation", "test") if name in config}
    return Loaded(method.eval(), card, LABELS, scores, meta)


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
    present = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    foreign = [name for name in present if name not in FILES]
    if foreign:
        raise UserError(f"{folder} holds {foreign[0]}, which this command did not write; name a new or empty folder")
    if present:
        try:
            _read_config(folder)
        except UserError:
            raise UserError(f"{folder} was not written by this command; name a new or empty folder") from None


def _move_into_place(building: Path, folder: Path, old: Path) -> None:
    """Move the finished folder to its place; an old folder is deleted only then."""
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
