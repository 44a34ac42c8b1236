"""What `snakemake published` needs: the user's datasets cut as the authors cut theirs, and what their archive holds.

A dataset gets a twin, `rafdb.published` or `affectnet.published`, which the rules of data.smk prepare by the authors'
rules and with their landmarks. No torch here.
"""

import csv
import sys
from pathlib import Path

from workflow.schema import Config, Dataset, Published

TWIN = ".published"
ARCHIVES = {"rafdb": "RAF-DB", "affectnet": "AffectNet"}  # source -> the authors' folder
FILES = "https://huggingface.co/sbelharbi/interpretable-fer-aus"


def with_twins(config: Config) -> Config:
    """Add the twin of the first dataset of each source that the authors evaluated on, if the config asks for it."""
    if config.published is None:
        return config
    twins = {f"{source}{TWIN}": _twin(dataset, config.published) for source, dataset in _originals(config).items()}
    return config.model_copy(update={"datasets": config.datasets | twins})


def _originals(config: Config) -> dict[str, Dataset]:
    found: dict[str, Dataset] = {}
    for name, dataset in config.datasets.items():
        if dataset.source in ARCHIVES and not name.endswith(TWIN):
            found.setdefault(dataset.source, dataset)
    return found


def _twin(dataset: Dataset, asked: Published) -> Dataset:
    """Cut RAF-DB by the five points of the user's detector, AffectNet not at all (spec, sections 1.3 and 1.4)."""
    return dataset.model_copy(
        update={
            "detector": "none" if dataset.source == "affectnet" else dataset.detector,
            "extractor": "published",
            "extractor_options": {"file": ",".join(map(str, _landmarks(asked.folds, dataset.source)))},
            "crop": 224,
            "quality": 75,
            "alignment": "published",
        }
    )


def _landmarks(folds: Path, source: str) -> list[Path]:
    base = folds / "wsol-done-right-splits" / ARCHIVES[source]
    return [base / split / "landmarks.txt" for split in ("train", "test")]


def settings(config: Config) -> Published:
    """Return the section `published`; end the program with one message if it, or what it names, is not there."""
    asked, originals = config.published, _originals(config)
    if asked is None or not originals:
        sys.exit(
            "error: `snakemake published` needs the key published: {root: shared-trained-models, folds: folds}, the "
            f"authors' unpacked files ({FILES}), and a dataset with the source {' or '.join(ARCHIVES)}"
        )
    for path in (asked.root / "FG_FER", *(path for source in originals for path in _landmarks(asked.folds, source))):
        if not path.exists():
            sys.exit(f"error: {path} does not exist: unpack the authors' files ({FILES}) and name them in `published`")
    return asked


def released(config: Config) -> list[str]:
    """List the files that the import reads."""
    return sorted(map(str, settings(config).root.glob("FG_FER/*/*/*/*/*/*/*.*")))


def scores(config: Config, report: str) -> list[str]:
    """List the scores of the checkpoints that were imported, for the datasets that the user has."""
    with Path(report).open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] == "imported"]
    folders = [
        f"{row['dataset']}/{row['method']}/{row['variant']}" for row in rows if row["dataset"] in _originals(config)
    ]
    if not folders:
        sys.exit(f"error: no checkpoint for the datasets of this config was imported, see {report}")
    return [f"{config.results}/published/{folder}/scores.json" for folder in folders]
