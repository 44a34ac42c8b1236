"""A checkpoint for other programs: an ONNX file, a folder in the layout of the Hugging Face hub.

    python -m eval.export CHECKPOINT [--onnx FILE.onnx] [--hub DIR] [--scores scores.json] [--seeds scores.json...]

The ONNX file is described in `eval.export.onnx`; its metadata `preprocessing` says how images are normalised. The
folder holds model.safetensors, config.json and a model card, README.md, with the numbers of scores.json (by default
the one beside the checkpoint) and no others. No written file names a path of this machine.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

from eval.export.hub import FILES, write_hub
from eval.export.onnx import write_onnx
from eval.export.scores import read_evaluation, read_other_seeds
from pipeline.errors import UserError
from pipeline.storage.files import refuse_overwriting
from train.checkpoints import checkpoint
from train.checkpoints.checkpoint import Loaded


def export(
    path: Path,
    *,
    onnx: Path | None = None,
    hub: Path | None = None,
    scores: Path | None = None,
    seeds: Sequence[Path] = (),
    command: str | None = None,
) -> None:
    """Write a checkpoint as an ONNX file, as a folder for the hub, or both.

    For the folder's model card: `scores`, those of the same training with other `seeds`, the `command` that made it.

    Raises UserError as `train.checkpoints.checkpoint.load`, `eval.export.onnx.write_onnx` and `write_hub` do.
    """
    if onnx is None and hub is None:
        raise UserError("nothing to write: give --onnx FILE.onnx, --hub DIR, or both")
    written = [*([onnx] if onnx else []), *(hub / name for name in FILES if hub)]
    refuse_overwriting([path, *([scores] if scores else []), *seeds], written)
    loaded = checkpoint.load(path)
    description = describe(loaded)
    if hub is not None:
        beside = path.with_name("scores.json")
        scores = beside if scores is None and beside.exists() else scores
        evaluation = None if scores is None else read_evaluation(scores, path, max(loaded.card.guidance.layers))
        others = read_other_seeds(seeds, evaluation)
        write_hub(loaded, hub, description, evaluation, seeds=others, command=command)
    if onnx is not None:
        write_onnx(loaded, onnx, description)


def describe(loaded: Loaded) -> dict[str, Any]:
    """Return, in JSON's types, what a program must know to use a network; paths are reduced to their last name."""
    description = {
        "labels": loaded.labels,
        "preprocessing": _preprocessing(loaded.meta["preprocessing"]),
        "extractor": loaded.meta.get("extractor"),
        "card": loaded.card.model_dump(mode="json"),
        "versions": loaded.meta.get("versions", {}),
        "commit": loaded.meta.get("commit", "unknown"),
    }
    description |= {name: loaded.scores[name] for name in ("temperature", "validation") if name in loaded.scores}
    return {key: public(value) for key, value in description.items()}


def _preprocessing(values: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce paths in the detector's options, which are stored as JSON."""
    alignment = dict(values["alignment"])
    if "detector_options" in alignment:
        alignment["detector_options"] = json.dumps(public(json.loads(alignment["detector_options"])), sort_keys=True)
    return {**values, "alignment": alignment}


def public(value: Any) -> Any:
    """Reduce every text in JSON-like values that is a path of this machine to its last name."""
    if isinstance(value, Mapping):
        return {key: public(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [public(part) for part in value]
    if not isinstance(value, str):
        return value
    path = PureWindowsPath(value)  # knows both kinds of slashes
    return path.name if path.root or value.startswith(("~", "..")) else value
