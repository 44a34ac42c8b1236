"""Convert the authors' released checkpoints to this project's form.

    python -m eval.published DIR --out checkpoint.safetensors
    python -m eval.published --all shared-trained-models --out FOLDER

DIR holds `model.pt` and `config_model.yaml`; nothing in them is executed. `--all` takes the 44 folders of the released
archive and writes `<dataset>/<method>/<variant>/checkpoint.safetensors` for each, and `import.csv` with their status:
imported, missing, or failed and why.
"""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from torch import Tensor
from tqdm import tqdm

from eval.published.config import DATASETS, ReleasedConfig, card_of, released_method
from eval.published.methods import METHODS, ReleasedMethod, tensor_name
from pipeline.errors import UserError
from pipeline.storage.files import digest, refuse_overwriting, write_text
from train.card.schema import Card
from train.checkpoints import checkpoint
from train.methods.base import build_method
from train.weights.load import check_tensors, read_tensors

CONFIG, MODEL = "config_model.yaml", "model.pt"
CHECKPOINT, REPORT = "checkpoint.safetensors", "import.csv"
DATA = Path("results/data/{dataset}")
ALIGNED = {"plain": False, "au": True}
DETECTORS = {"rafdb": "mtcnn", "affectnet": "none"}  # of the authors; they cut faces to 224 px


class ReleasedFolder(NamedTuple):
    """One checkpoint of the archive: what it is, and the folder that holds it."""

    dataset: str
    method: str
    variant: str
    folder: Path

    @property
    def checkpoint(self) -> Path:
        """Its path, once imported, below the folder of all."""
        return Path(self.dataset, self.method, self.variant, CHECKPOINT)


def archive(root: Path) -> Iterator[ReleasedFolder]:
    """List the 44 checkpoints of the released archive, in the paper's order."""
    for (theirs, dataset), (name, method), variant in itertools.product(DATASETS.items(), METHODS.items(), ALIGNED):
        tag = f"{theirs}-{method.encoder}-{name}-{method.pooling}-cp_best-boxv2_False"
        term = f"align_atten_to_heatmap_{ALIGNED[variant]}"
        folder = root / "FG_FER" / theirs / method.encoder / "STD_CL" / name / term / tag
        yield ReleasedFolder(dataset, method.name, variant, folder)


def import_folder(folder: Path, out: Path, data: Path = DATA, expected: ReleasedFolder | None = None) -> None:
    """Write the checkpoint of a released folder, for faces prepared in `data`; {dataset} stands for the dataset's name.

    Raises UserError that names the file and the key or tensor that is missing or wrong, or that differs from what is
    `expected` of the folder.
    """
    refuse_overwriting([folder / MODEL, folder / CONFIG], [out])
    path, config = folder / MODEL, ReleasedConfig(folder / CONFIG)
    method, card = released_method(config), card_of(config, data)
    for key in ("dataset", "method", "variant") if expected else ():
        if getattr(card, key) != getattr(expected, key):
            raise UserError(
                f"{config.path}: the {key} is {getattr(card, key)}, in a folder of {getattr(expected, key)}"
            )
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a folder of the authors' shared-trained-models")
    checkpoint.write(
        out,
        _tensors(path, method, card),
        card,
        {name: value for name, value in config.values.items() if name == "best_epoch"},
        alignment={"size": 224, "detector": DETECTORS[card.dataset], "mode": "published"},
        published={"sha256": digest(path), "config": json.loads(json.dumps(config.values, default=str))},
    )


def _tensors(path: Path, method: ReleasedMethod, card: Card) -> dict[str, Tensor]:
    """Read the tensors of a file under our names; raise UserError that names the first that does not fit."""
    given, wanted = read_tensors(path), build_method(card, initialise=False).state_dict()
    theirs = {name: tensor_name(method, name) for name in wanted}
    try:
        check_tensors(given, {theirs[name]: value for name, value in wanted.items()}, path)
    except UserError as error:
        raise UserError(f"{error} (the method of its config is {card.method})") from None
    return {name: given.get(theirs[name], value).to(value.dtype).clone() for name, value in wanted.items()}


def import_all(root: Path, out: Path, data: Path = DATA) -> pd.DataFrame:
    """Write the checkpoints of the released archive, skipping those that are missing or broken, and a report.

    Returns the report: a row per checkpoint with its `status` (imported, missing or failed) and the `problem`.
    """
    if not (root / "FG_FER").is_dir():
        raise UserError(f"{root} has no folder FG_FER; give the authors' shared-trained-models")
    rows = []
    for released in tqdm(list(archive(root)), desc="import", unit="checkpoint", disable=None):
        status, problem = "imported", ""
        try:
            if released.folder.is_dir():
                import_folder(released.folder, out / released.checkpoint, data, released)
            else:
                status = "missing"
        except Exception as error:  # a broken folder must not stop the others
            status, problem = "failed", " ".join(str(error).split()) or type(error).__name__
        if status != "imported":
            (out / released.checkpoint).unlink(missing_ok=True)
        rows.append({**released._asdict(), "status": status, "problem": problem})
    report = pd.DataFrame(rows)
    write_text(out / REPORT, report.to_csv(index=False))
    return report
