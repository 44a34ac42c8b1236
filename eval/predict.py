"""Checkpoint to predictions: one forward pass over the test faces.

    python -m eval.predict CHECKPOINT --out predictions.h5 [--data FOLDER]
    python -m eval.predict RUN.yaml --untrained --out untrained.h5          the same before any training

Columns: id, expression, identity, attribute_<name>; how the face was found: status `face`, `step` and `score` of the
detector, `landmark_quality`; logits float32 (n, 7); valid, True where a face has an AU heatmap; attention_<layer>
float16 (n, h, w), each map divided by its largest absolute value, so that a stored value is off by at most 2^-12 =
0.00024 of it; cam float16 (n, h, w), the map of the true class, min-max normalised at native size, off by at most
0.00024. Cosines change by less than 0.001. A method without CAM has no such column.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from au_guidance.loss import attention
from eval.metrics.cosines import min_max
from pipeline.errors import UserError, run
from pipeline.storage import shards
from pipeline.storage.files import digest, refuse_overwriting
from train.card.checks import read_card
from train.card.options import SUFFIXES
from train.card.schema import Card
from train.checkpoints import checkpoint
from train.data.faces import FaceStore
from train.data.prepared import Prepared, Rows, part_rows
from train.data.transforms import standardise, to_unit_range
from train.hardware import claim
from train.methods.base import Method, build_method

UNTRAINED = "untrained"  # stands where the SHA-256 of the checkpoint would


def predict(path: Path, out: Path, batch_size: int = 64, data: Path | None = None) -> None:
    """Write what the network of a checkpoint says about the readable test faces of its dataset.

    `data` is the folder of the prepared dataset where it is not the one that the card names. Rows are in the dataset's
    order and depend on the checkpoint and the data only. Raises UserError as `train.checkpoints.checkpoint.load` does,
    and if an output is not finite.
    """
    loaded = checkpoint.load(path)
    origin = {"checkpoint": digest(path), "commit": str(loaded.meta.get("commit", ""))}
    _write(out, loaded.method, with_data_folder(loaded.card, data), batch_size=batch_size, of=path, **origin)


def predict_untrained(path: Path, out: Path, batch_size: int = 64, data: Path | None = None) -> None:
    """Write what the network of a card (`run.yaml`) says before any training, with random weights by the card's seed.

    One that would start from pretrained weights gets random ones too; its batch normalisation has seen nothing, so it
    changes nothing. Raises UserError as `predict` does.
    """
    card = read_card(path)
    torch.manual_seed(card.seed)
    method = build_method(without_weights(card))
    origin = {"checkpoint": UNTRAINED, "commit": checkpoint.commit()}
    _write(out, method, with_data_folder(card, data), batch_size=batch_size, of=path, **origin)


def without_weights(card: Card) -> Card:
    """Ask for random weights wherever the card names pretrained ones, in the backbone and in the method's options."""
    named = card.model.options.items()
    options = {name: "none" if str(value).endswith(("imagenet", *SUFFIXES)) else value for name, value in named}
    return card.model_copy(update={"model": card.model.model_copy(update={"init": "none", "options": options})})


def with_data_folder(card: Card, data: Path | None) -> Card:
    """Let a card look for its prepared data in another folder, if one is given."""
    return card if data is None else card.model_copy(update={"data": card.data.model_copy(update={"folder": data})})


def _write(out: Path, method: Method, card: Card, *, batch_size: int, of: Path, checkpoint: str, commit: str) -> None:
    refuse_overwriting([of, *card.data.folder.glob("*/*.h5")], [out])
    prepared = Prepared(card.data.folder, card.heatmap)
    rows = part_rows(prepared, card, "test")
    columns = {
        "id": prepared.ids[rows],
        "expression": prepared.expressions[rows].astype(np.int8),
        "identity": prepared.identities[rows],
        **{name: values[rows] for name, values in (prepared.attributes | prepared.detection).items()},
        "valid": np.array([prepared.heatmap(row) is not None for row in rows]),
    }
    with claim() as device:
        outputs = _forward(method, prepared, rows, card=card, batch_size=batch_size, device=device)
        finite = (_finite(block, of) for block in outputs)
        said, mode = card.model_dump_json(), str(prepared.alignment["mode"])
        shards.write(out, columns, blocks=finite, card=said, checkpoint=checkpoint, commit=commit, mode=mode)


def _finite(block: dict[str, NDArray[Any]], of: Path) -> dict[str, NDArray[Any]]:
    broken = [name for name, values in block.items() if not np.isfinite(values).all()]
    if broken:
        raise UserError(f"{of} gives {broken[0]} that are not finite; train it again")
    return block


def _forward(
    method: Method, prepared: Prepared, rows: Rows, *, card: Card, batch_size: int, device: torch.device
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the outputs for some rows at a time: memory does not grow with their number."""
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    method = method.eval().to(device).to(memory_format=torch.channels_last)
    threads = card.training.workers if device.type == "cuda" else 0
    faces = FaceStore(prepared, rows, card.model.image_size, device, place="stream", threads=threads)
    batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    loaded = tqdm(faces.batches(batches), desc="predict", total=len(batches), unit="batch", disable=None)
    for batch, shown in zip(batches, loaded, strict=True):
        images = standardise(to_unit_range(shown), card.model.normalisation)
        yield _outputs(method, images, torch.from_numpy(prepared.expressions[batch]).to(device))


def _outputs(method: Method, images: Tensor, classes: Tensor) -> dict[str, NDArray[Any]]:
    with torch.enable_grad() if method.needs_gradient else torch.no_grad():
        output = method(images)
        columns = {"logits": output.logits.detach().float().cpu().numpy()}
        for layer, features in sorted(output.features.items()):
            maps = attention(features.detach()).float()
            peak = maps.abs().amax((1, 2), keepdim=True)
            columns[f"attention_{layer}"] = (maps / torch.where(peak > 0, peak, 1.0)).half().cpu().numpy()
        cam = method.cam(output, classes)
        if cam is not None:
            columns["cam"] = min_max(cam.detach().float()).half().cpu().numpy()
    return columns


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.predict",
        description="Read a checkpoint and the prepared faces of its dataset; write the network's logits, attention "
        "maps and CAMs for the test faces.",
    )
    parser.add_argument("source", type=Path, help="checkpoint.safetensors of a run; with --untrained its run.yaml")
    parser.add_argument("--untrained", action="store_true", help="random weights by the card's seed, no training")
    parser.add_argument("--out", type=Path, required=True, help="predictions.h5 to write")
    parser.add_argument("--batch-size", type=int, default=64, help="faces per forward pass; default: %(default)s")
    parser.add_argument("--data", type=Path, help="folder of the prepared dataset; default: that of the card")
    arguments = parser.parse_args()
    write = predict_untrained if arguments.untrained else predict
    write(arguments.source, arguments.out, arguments.batch_size, arguments.data)


if __name__ == "__main__":
    run(main)
