"""AffectNet, cropped release: 224-px faces, and one small `.npy` file per image and annotation."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.sources._affectnet_labels import EXPRESSIONS, expression_id, report_left_out
from pipeline.sources._folders import named, pictures
from pipeline.types import Sample

SPLITS = {"train": ("train_set",), "test": ("val_set", "valid_set")}  # some copies write valid_set

log = logging.getLogger(__name__)


def find(root: Path) -> Mapping[str, Path] | None:
    """Return the folder of each split, or None if there are none; raise UserError if one is missing."""
    present = {split: [root / name for name in names if (root / name).is_dir()] for split, names in SPLITS.items()}
    if not any(present.values()):
        return None
    for split, folders in present.items():
        if len(folders) != 1:
            raise UserError(f"{root} must hold one folder {' or '.join(SPLITS[split])}, it has {len(folders)}")
        for part in ("images", "annotations"):
            if not (folders[0] / part).is_dir():
                raise UserError(f"{folders[0] / part} is missing; unpack the whole release there")
    return {split: folders[0] for split, folders in present.items()}


def read(root: Path, splits: Mapping[str, Path]) -> Iterator[Sample]:
    """Yield the faces in the order of their numbers, with the 68 points where the release has them."""
    left_out: Counter[int] = Counter()
    for split, folder in splits.items():
        without_points = []
        for stem, file in _labelled(folder):
            label = _label(folder / "annotations" / f"{stem}_exp.npy")
            if label not in EXPRESSIONS:
                left_out[label] += 1
                continue
            landmarks = _landmarks(folder / "annotations" / f"{stem}_lnd.npy")
            if landmarks is None:
                without_points.append(stem)
            yield Sample(
                id=f"{SPLITS[split][0]}/images/{file}",
                path=(folder / "images" / file).relative_to(root).as_posix(),
                expression=EXPRESSIONS[label],
                split=split,
                landmarks=landmarks,
            )
        if without_points:
            what = f"{len(without_points)} images of {folder.name} without 68 points"
            log.warning("%s, kept without: %s", what, named(without_points))
    report_left_out(left_out)


def _labelled(folder: Path) -> list[tuple[str, str]]:
    """List (number, image file) of all labels, by number; the file is "" if an image to leave out is missing.

    Raises UserError if an image of the seven expressions is missing.
    """
    images = pictures(folder / "images")
    suffix = "_exp.npy"
    labels = {path.name.removesuffix(suffix) for path in (folder / "annotations").glob(f"*{suffix}")}
    absent = sorted(labels - images.keys(), key=_number)
    missing = [stem for stem in absent if _label(folder / "annotations" / f"{stem}{suffix}") in EXPRESSIONS]
    if missing:
        raise UserError(
            f"{folder / 'images'}: {len(missing)} of {len(labels)} labelled images are missing: {named(missing)}"
        )
    extra = sorted(images.keys() - labels, key=_number)
    if extra:
        log.warning("left out: %d images of %s without a label: %s", len(extra), folder.name, named(extra))
    return [(stem, images.get(stem, "")) for stem in sorted(labels, key=_number)]


def _number(stem: str) -> tuple[int, str]:
    return (int(stem) if stem.isdecimal() else 0, stem)


def _label(path: Path) -> int:
    """Read an id; releases store it as a number or as text."""
    array = _load(path)
    try:
        word = str(array.reshape(-1)[0]) if array.size == 1 else ""
    except Exception:  # damaged text holds what are no characters
        word = ""
    return expression_id(word, str(path))


def _landmarks(path: Path) -> NDArray[np.float64] | None:
    """Read 68 interleaved x, y in crop pixels; None if there is no such file."""
    if not path.exists():
        return None
    try:
        points = _load(path).astype(np.float64).reshape(68, 2)
    except ValueError:
        points = np.full((68, 2), np.nan)
    if not np.isfinite(points).all():
        raise UserError(f"{path}: expected 136 numbers; unpack it again")
    return points


def _load(path: Path) -> NDArray[np.generic]:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except Exception as error:  # numpy raises whatever damaged bytes lead it to, SyntaxError and SystemError among it
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path} cannot be read ({reason}); unpack it again") from None
