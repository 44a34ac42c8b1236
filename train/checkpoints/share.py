"""Methods that read one network in several ways share its training: a run made from another one's files."""

import shutil
from pathlib import Path

from safetensors.torch import load_file

from pipeline.errors import UserError
from pipeline.storage.files import atomic_write
from train.card.checks import training_card
from train.card.schema import Card
from train.checkpoints import checkpoint
from train.weights import checksummed


def share(card: Card, source: Path, out: Path) -> None:
    """Write to `out` what training this card would write, from the run in `source`: equal tensors under the own card.

    Raises UserError if the run in `source` was trained under other settings.
    """
    for name in ("checkpoint.safetensors", "last.safetensors"):
        meta = checkpoint.read_metadata(source / name)
        if meta.get("card") != training_card(card).model_dump(mode="json"):
            raise UserError(f"{source / name} was trained with other settings than {card.method} needs; train it apart")
        meta["card"] = card.model_dump(mode="json")
        checksummed.write(out / name, load_file(source / name), meta)
    with atomic_write(out / "history.csv") as temporary:
        shutil.copyfile(source / "history.csv", temporary)
    print(f"{card.method} shares the training in {source}", flush=True)
