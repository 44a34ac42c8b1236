"""What `snakemake published` needs: the user's datasets prepared as the authors prepared theirs, and their archive.

Such a dataset is called `rafdb.published` or `affectnet.published`; the rules of data.smk prepare it by the authors'
rules and with their landmarks. No torch here.
"""

import csv
import sys
from pathlib import Path

from workflow.schema import Config, Dataset, Published

PUBLISHED_SUFFIX = ".published"
PUBLISHED_CODEBOOK, PUBLISHED_GEOMETRY = "paper_code", "published"  # of the authors' AU maps
ARCHIVES = {"rafdb": "RAF-DB", "affectnet": "AffectNet"}  # source -> the authors' folder
FILES = "https://huggingface.co/sbelharbi/interpretable-fer-aus"


def with_published_datasets(config: Config) -> Config:
    """Add the first dataset of each source of the authors, prepared as theirs, if the config has `published`."""
    if config.published is None:
        return config
    added = {
        f"{source}{PUBLISHED_SUFFIX}": _as_published(dataset, config.published)
        for source, dataset in _evaluated(config).items()
    }
    return config.model_copy(update={"datasets": config.datasets | added})


def _evaluated(config: Config) -> dict[str, Dataset]:
    """Return the first dataset of each source that the authors evaluated on, by source."""
    first: dict[str, Dataset] = {}
    for name, dataset in config.datasets.items():
        if dataset.source in ARCHIVES and not name.endswith(PUBLISHED_SUFFIX):
            first.setdefault(dataset.source, dataset)
    return first


def _as_published(dataset: Dataset, files: Published) -> Dataset:
    """Cut RAF-DB by the five points of the user's detector, AffectNet not at all (spec, sections 1.3 and 1.4)."""
    return dataset.model_copy(
        update={
            **({"detector": "none", "detector_options": {}} if dataset.source == "affectnet" else {}),
            "extractor": "published",
            "extractor_options": {"file": ",".join(map(str, _landmarks(files.folds, dataset.source)))},
            "crop": 224,
            "quality": 75,
            "alignment": "published",
        }
    )


def _landmarks(folds: Path, source: str) -> list[Path]:
    base = folds / "wsol-done-right-splits" / ARCHIVES[source]
    return [base / split / "landmarks.txt" for split in ("train", "test")]


def settings(config: Config) -> Published:
    """Return the section `published`; exit with a one-line error if it, or a file that it names, does not exist."""
    files, datasets = config.published, _evaluated(config)
    if files is None or not datasets:
        sys.exit(
            "error: `snakemake published` needs the key published: {root: shared-trained-models, folds: folds}, the "
            f"authors' unpacked files ({FILES}), and a dataset with the source {' or '.join(ARCHIVES)}"
        )
    for path in (files.root / "FG_FER", *(path for source in datasets for path in _landmarks(files.folds, source))):
        if not path.exists():
            sys.exit(f"error: {path} does not exist: unpack the authors' files ({FILES}) and name them in `published`")
    return files


def archive_files(config: Config) -> list[str]:
    """List the files that the import reads."""
    return sorted(map(str, settings(config).root.glob("FG_FER/*/*/*/*/*/*/*.*")))


def scores(config: Config, report: str) -> list[str]:
    """List the scores of the checkpoints that `report`, import.csv, says are imported, for the config's datasets."""
    with Path(report).open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] == "imported"]
    datasets = _evaluated(config)
    folders = [f"{row['dataset']}/{row['method']}/{row['variant']}" for row in rows if row["dataset"] in datasets]
    if not folders:
        sys.exit(f"error: no checkpoint for the datasets of this config was imported, see {report}")
    return [f"{config.results}/published/{folder}/scores.json" for folder in folders]
