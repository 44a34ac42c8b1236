"""RAF-DB, the `basic` set in its official layout: seven expressions, a face box, five points, gender, race and age."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from au_guidance.expressions import Expression
from pipeline.errors import UserError
from pipeline.sources._folders import named, pictures, subfolders
from pipeline.types import Sample

LAYOUT = """\
RAF-DB, basic set; free for research, request it at http://www.whdeng.cn/raf/model1.html. The root holds
  basic/EmoLabel/list_patition_label.txt                           "train_00001.jpg 5": a name and a label 1..7
  basic/Image/original/train_00001.jpg                             or Image/aligned/train_00001_aligned.jpg
  basic/Annotation/boundingbox/train_00001_boundingbox.txt         x0 y0 x1 y1
  basic/Annotation/manual/train_00001_manu_attri.txt               five points, gender, race, age
A copy with only the crops serves, without box and points: train/1/train_00001_aligned.jpg, ..., test/7/..."""

_NAMES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
EXPRESSIONS = {label: Expression.parse(name) for label, name in enumerate(_NAMES, start=1)}
_TRAIN = (1290, 281, 717, 4772, 1982, 705, 2524)  # labels 1..7
_TEST = (329, 74, 160, 1185, 478, 162, 680)
EXPECTED = {
    (split, EXPRESSIONS[label]): count
    for split, counts in (("train", _TRAIN), ("test", _TEST))
    for label, count in enumerate(counts, start=1)
}

LABEL_LIST = Path("EmoLabel", "list_patition_label.txt")  # sic
ATTRIBUTES = (
    ("gender", ("male", "female", "unsure")),
    ("race", ("caucasian", "african-american", "asian")),
    ("age", ("0-3", "4-19", "20-39", "40-69", "70+")),
)

Floats = NDArray[np.float64]
Face = tuple[Floats, dict[str, str]]  # five points and attributes
log = logging.getLogger(__name__)


def read(root: Path) -> Iterator[Sample]:
    """Yield the images in the order of the label list.

    `root` holds `basic/`, or is that folder. A copy with the official crops in folders by label, `train/1` to `test/7`,
    is read too, see `_copy`. Without `Image/original` the official 100-px crops are used; the box and
    the points, which belong to the originals, are then left out. A missing annotation folder, and single missing or
    damaged files in it, are logged by name. Raises UserError on another layout, a label outside 1..7, a damaged line of
    the list, a name that occurs twice, and a label without image.
    """
    base = _base(root)
    if base is None:
        yield from _copy(root)
        return
    labels = _labels(base / LABEL_LIST)
    images, aligned = _images(base, labels)
    boxes = _annotations(base, "boundingbox", "boxes") if not aligned else None
    faces = _annotations(base, "manual", "points, gender, race and age")
    without: dict[str, list[str]] = {"a usable box": [], "usable points and attributes": []}
    for name, expression in labels.items():
        box = _box(boxes / f"{name}_boundingbox.txt") if boxes else None
        points, attributes = (_face(faces / f"{name}_manu_attri.txt") if faces else None) or (None, {})
        if boxes and box is None:
            without["a usable box"].append(name)
        if faces and points is None:
            without["usable points and attributes"].append(name)
        yield Sample(
            id=name,
            path=images[name].relative_to(root).as_posix(),
            expression=expression,
            split=name.partition("_")[0],
            box=box,
            points5=None if aligned else points,
            attributes=attributes | ({"image": "aligned"} if aligned else {}),
        )
    for what, names in without.items():
        if names:
            log.warning("%d images without %s, kept without: %s", len(names), what, named(names))


def _copy(root: Path) -> Iterator[Sample]:
    """Yield the images of the common copy (Kaggle), whose folders have RAF-DB's own numbers, without box and points.

    Raises UserError if there are none, if a folder is no label and if an image is not named as in the official release:
    other datasets in numbered folders have other labels.
    """
    base = next((base for base in (root, *subfolders(root)) if (base / "train" / "1").is_dir()), None)
    if base is None:
        raise _unknown(root)
    log.warning("%s is a copy in folders by label: official 100-px crops, without box, points and attributes", base)
    for split in ("train", "test"):
        for folder in subfolders(base / split) if (base / split).is_dir() else []:
            if not folder.name.isdecimal() or int(folder.name) not in EXPRESSIONS:
                raise UserError(f"{folder}: the folders of this copy are RAF-DB's labels 1..7")
            for stem, file in pictures(folder).items():
                name = stem.removesuffix("_aligned")
                if not re.fullmatch(rf"{split}_\d+", name):
                    raise UserError(
                        f"{folder / file} is not named as RAF-DB names its images, {split}_00001_aligned.jpg: its "
                        "label may be another dataset's; rename the folders to expressions and write `source: folder`"
                    )
                path = (folder / file).relative_to(root).as_posix()
                yield Sample(name, path, EXPRESSIONS[int(folder.name)], split, attributes={"image": "aligned"})


def _base(root: Path) -> Path | None:
    return next((base for base in (root, root / "basic") if (base / LABEL_LIST).is_file()), None)


def _unknown(root: Path) -> UserError:
    if (root / "compound" / LABEL_LIST).is_file():
        return UserError(
            f"{root} holds only the compound set of RAF-DB, which has other classes; the basic set is needed"
        )
    return UserError(
        f"{root} is not RAF-DB: there is no {LABEL_LIST} in it or in its folder basic/, nor folders train/1 to test/7"
    )


def _labels(path: Path) -> dict[str, Expression]:
    """Read name -> expression, in the list's order; names are without `.jpg`."""
    labels: dict[str, Expression] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        name, label = _label(line, f"{path}, line {number}")
        if name in labels:
            raise UserError(f"{path}, line {number}: {name} was listed before; each image has one label")
        labels[name] = label
    if not labels:
        raise UserError(f"{path} lists no images; unpack the official list again")
    return labels


def _label(line: str, where: str) -> tuple[str, Expression]:
    match line.split():
        case [file, label] if file.startswith(("train_", "test_")) and label.isdecimal():
            if int(label) in EXPRESSIONS:
                return file.removesuffix(".jpg"), EXPRESSIONS[int(label)]
            compound = int(label) > len(EXPRESSIONS)
            hint = "; this looks like the compound set, the basic one is needed" if compound else ""
            raise UserError(f"{where}: label {label} is not one of 1..7{hint}")
    raise UserError(
        f"{where}: expected 'train_<number>.jpg <label>' or 'test_<number>.jpg <label>', found {line[:80]!r}"
    )


def _images(base: Path, labels: Mapping[str, Expression]) -> tuple[dict[str, Path], bool]:
    """Find the image of every label; tell whether they are the official aligned crops."""
    original, crops = base / "Image" / "original", base / "Image" / "aligned"
    aligned = not original.is_dir()
    folder = crops if aligned else original
    if not folder.is_dir():
        raise UserError(f"{base} holds neither Image/original nor Image/aligned; unpack the images there")
    files = {
        stem.removesuffix("_aligned") if aligned else stem: folder / name for stem, name in pictures(folder).items()
    }
    missing = [name for name in labels if name not in files]
    if missing:
        raise UserError(f"{folder}: {len(missing)} of {len(labels)} labelled images are missing: {named(missing)}")
    if aligned:
        log.warning("no Image/original: the 100-px crops of Image/aligned are used, without box and points")
    extra = sorted(files.keys() - labels.keys())
    if extra:
        log.warning("%d images without a label are left out: %s", len(extra), named(extra))
    return files, aligned


def _annotations(base: Path, folder: str, what: str) -> Path | None:
    path = base / "Annotation" / folder
    if path.is_dir():
        return path
    log.warning("no Annotation/%s: %s are unknown", folder, what)
    return None


def _box(path: Path) -> Floats | None:
    """Read the box x0, y0, x1, y1; None if the file is missing or damaged or the box is empty."""
    box = _numbers("".join(_lines(path)[:1]), 4)
    return box if box is not None and (box[2:] > box[:2]).all() else None


def _face(path: Path) -> Face | None:
    """Read five points and the attributes; None if the file is missing or damaged."""
    lines = _lines(path)
    points = [point for line in lines[:5] if (point := _numbers(line, 2)) is not None]
    words = [_word(line.strip(), known) for line, (_, known) in zip(lines[5:], ATTRIBUTES, strict=False)]
    if len(lines) != 5 + len(ATTRIBUTES) or len(points) < 5 or "" in words:
        return None
    return np.stack(points), dict(zip((name for name, _ in ATTRIBUTES), words, strict=True))


def _word(code: str, words: Sequence[str]) -> str:
    """Return the word of a code, "" if it has none."""
    return words[int(code)] if code.isdecimal() and int(code) < len(words) else ""


def _lines(path: Path) -> list[str]:
    """Read the lines of a file, none if it does not exist."""
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace").rstrip().splitlines()
    except FileNotFoundError:
        return []


def _numbers(line: str, count: int) -> Floats | None:
    """Read the numbers of a line; None if it holds another count of them, or anything else."""
    try:
        numbers = np.array([float(word) for word in line.split()])
    except ValueError:
        return None
    return numbers if numbers.shape == (count,) and np.isfinite(numbers).all() else None
