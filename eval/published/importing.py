"""Bring the authors' released checkpoints into this project's form.

    python -m eval.published.importing DIR --out checkpoint.safetensors
    python -m eval.published.importing --all shared-trained-models --out FOLDER

DIR holds `model.pt` and `config_model.yaml`; nothing in them is executed. `--all` takes the 44 folders of the released
archive, writes `<dataset>/<method>/<variant>/checkpoint.safetensors` for each and `import.csv`, which says what became
of them: imported, missing, or failed and why.
"""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from torch import Tensor
from tqdm import tqdm

from eval.published.names import DATASETS, METHODS, Arguments, Release, card, release, tensor_name
from pipeline.errors import UserError
from pipeline.storage.files import digest, write_text
from train.card.schema import Card
from train.checkpoints import checkpoint
from train.methods.base import build_method
from train.weights.tensors import check_tensors, read_tensors

CONFIG, MODEL = "config_model.yaml", "model.pt"
CHECKPOINT, REPORT = "checkpoint.safetensors", "import.csv"
DATA = Path("results/data/{dataset}")
ALIGNED = {"plain": False, "au": True}
DETECTORS = {"rafdb": "mtcnn", "affectnet": "none"}  # with which the authors cut their faces, to 224 px


class Place(NamedTuple):
    """One checkpoint of the archive: what it is, and the folder that holds it."""

    dataset: str
    method: str
    variant: str
    folder: Path

    @property
    def checkpoint(self) -> Path:
        """Where its import lies below the folder of all."""
        return Path(self.dataset, self.method, self.variant, CHECKPOINT)


def archive(root: Path) -> Iterator[Place]:
    """List the 44 checkpoints of the released archive, in the paper's order."""
    for (theirs, dataset), (name, found), variant in itertools.product(DATASETS.items(), METHODS.items(), ALIGNED):
        tag = f"{theirs}-{found.encoder}-{name}-{found.pooling}-cp_best-boxv2_False"
        place = Path("FG_FER", theirs, found.encoder, "STD_CL", name, f"align_atten_to_heatmap_{ALIGNED[variant]}", tag)
        yield Place(dataset, found.method, variant, root / place)


def import_folder(folder: Path, out: Path, data: Path = DATA, place: Place | None = None) -> None:
    """Write the checkpoint of a released folder, for faces prepared in `data`, where {dataset} is the dataset's name.

    Raises UserError that names the file and the key or tensor that is missing or wrong, or that is not what `place`
    says.
    """
    path, arguments = folder / MODEL, Arguments(folder / CONFIG)
    found, made = release(arguments), card(arguments, data)
    for key in ("dataset", "method", "variant") if place else ():
        if getattr(made, key) != getattr(place, key):
            raise UserError(
                f"{arguments.path}: the {key} is {getattr(made, key)}, in a folder of {getattr(place, key)}"
            )
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a folder of the authors' shared-trained-models")
    checkpoint.write(
        out,
        _tensors(path, found, made),
        made,
        {name: value for name, value in arguments.values.items() if name == "best_epoch"},
        alignment={"size": 224, "detector": DETECTORS[made.dataset], "mode": "published"},
        published={
            "sha256": digest(path),
            "config": json.loads(json.dumps(arguments.values, default=str)),
        },
    )


def _tensors(path: Path, found: Release, made: Card) -> dict[str, Tensor]:
    """Read the tensors of a file under our names; raise UserError that names the first that does not fit."""
    given, wanted = read_tensors(path), build_method(made, initialise=False).state_dict()
    theirs = {name: tensor_name(found, name) for name in wanted}
    try:
        check_tensors(given, {theirs[name]: value for name, value in wanted.items()}, path)
    except UserError as error:
        raise UserError(f"{error} (the method of its config is {made.method})") from None
    return {name: given.get(theirs[name], value).to(value.dtype).clone() for name, value in wanted.items()}


def import_all(root: Path, out: Path, data: Path = DATA) -> pd.DataFrame:
    """Write the checkpoints of the released archive, past those that are missing or broken, and a report.

    Returns the report: a row per checkpoint with its `status`, imported, missing or failed, and the `problem`.
    """
    if not (root / "FG_FER").is_dir():
        raise UserError(f"{root} has no folder FG_FER; give the authors' shared-trained-models")
    rows = []
    for place in tqdm(list(archive(root)), desc="import", unit="checkpoint", disable=None):
        status, problem = "imported", ""
        try:
            if place.folder.is_dir():
                import_folder(place.folder, out / place.checkpoint, data, place)
            else:
                status = "missing"
        except Exception as error:  # whatever is wrong with one folder, the others are to come
            status, problem = "failed", " ".join(str(error).split()) or type(error).__name__
        if status != "imported":
            (out / place.checkpoint).unlink(missing_ok=True)
        rows.append({**place._asdict(), "status": status, "problem": problem})
    report = pd.DataFrame(rows)
    write_text(out / REPORT, report.to_csv(index=False))
    return report
