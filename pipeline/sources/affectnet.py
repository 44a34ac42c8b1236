"""AffectNet in either generation: cropped faces with `.npy` annotations, or whole pictures with annotation CSVs."""

import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import UserError
from pipeline.sources import _affectnet_cropped as cropped
from pipeline.sources import _affectnet_csv as manual
from pipeline.sources._affectnet_labels import EXPRESSIONS
from pipeline.sources._folders import CONTEMPT, expression_of, named, subfolders
from pipeline.types import Sample

LAYOUT = """\
AffectNet; for research, requested by the head of a lab at http://mohammadmahoor.com. The root holds the cropped release
  train_set/images/0.jpg, train_set/annotations/0_exp.npy and 0_lnd.npy       the same in val_set/
or the manually annotated one
  training.csv, validation.csv                                                or in Manually_Annotated_file_lists/
  Manually_Annotated_Images/<number>/<name>.jpg"""

NUMBERED = re.compile(r"(class)?_?0*(\d|10)")  # class folders of copies: 3, class003

_TRAIN = (74874, 134415, 25459, 14090, 6378, 3803, 24882)  # AffectNet's ids 0..6; 500 each in the test split
EXPECTED = {("train", EXPRESSIONS[label]): count for label, count in enumerate(_TRAIN)} | {
    ("test", expression): 500 for expression in EXPRESSIONS.values()
}


def read(root: Path) -> Iterator[Sample]:
    """Yield the images of the seven expressions; the official validation set is the test split.

    Contempt, None, Uncertain and No-Face (ids 7..10) are left out and counted in the log. Ids are the paths of the
    release, `train_set/images/0.jpg` or `<number>/<name>.jpg`. Raises UserError on another layout, on both
    generations in one folder, on copies with class folders, on damaged annotations and on missing images.
    """
    if not root.is_dir():
        raise UserError(f"{root} does not exist")
    splits, lists = cropped.find(root), manual.find(root)
    if splits and lists:
        raise UserError(f"{root} holds both generations of AffectNet; their files do not match, keep one of them there")
    if splits:
        yield from cropped.read(root, splits)
    elif lists:
        yield from manual.read(root, lists)
    else:
        raise _unknown(root)


def _unknown(root: Path) -> UserError:
    first = subfolders(root)
    for folder in (root, *first, *(inner for outer in first for inner in subfolders(outer))):
        names = [path.name for path in subfolders(folder)]
        if names and all(NUMBERED.fullmatch(name) for name in names):
            return UserError(
                f"{folder} holds numbered class folders, not AffectNet's own layout: most such copies number the "
                "classes by alphabet (0 anger ... 7 surprise), AffectNet itself does not (0 neutral ... 7 contempt); "
                "find out which, rename the folders to the expressions, sort them as train/<class>/ and test/<class>/, "
                "and write `source: folder` for this dataset in the config"
            )
        if sum(expression_of(name) is not None or name.lower() in CONTEMPT for name in names) >= 3:
            return UserError(
                f"{folder} holds class folders ({named(names, 3)}), not AffectNet's own layout: a copy, often smaller "
                "and resized; to use it, write `source: folder` for this dataset in the config and sort it as "
                "train/<class>/ and test/<class>/"
            )
    files = named(path.name for path in sorted(root.iterdir())) or "nothing"
    return UserError(
        f"{root} is not AffectNet: expected train_set/ and val_set/, or training.csv and validation.csv; found: {files}"
    )
