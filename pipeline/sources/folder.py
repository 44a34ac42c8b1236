"""Your own pictures, sorted into `split/class-name/`."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from au_guidance.expressions import Expression
from pipeline.errors import UserError
from pipeline.sources._folders import ALIASES, CONTEMPT, expression_of, is_picture, named, subfolders
from pipeline.storage.formats import ENDINGS
from pipeline.types import Sample

LAYOUT = f"""\
Your own pictures; nothing to request. The root holds
  train/<class>/<any name>.jpg      also in sub-folders; names end in
                                    {ENDINGS}
  test/<class>/<any name>.jpg
  val/<class>/<any name>.jpg        or validation/; optional; without test/ these are the test split
<class> is neutral, happiness, surprise, fear, anger, disgust or sadness, or happy, angry, sad ..."""

EXPECTED: Mapping[tuple[str, Expression], int] = {}

VALIDATION = ("val", "valid", "validation")

log = logging.getLogger(__name__)


def read(root: Path) -> Iterator[Sample]:
    """Yield the images split by split, class by class; the id is the path from the root, which is unique and stable.

    Contempt, which is not among the seven expressions, and files that are no images are left out and logged. Hidden
    files are ignored. A validation folder beside `test/` is the validation split, without `test/` the test split.
    Raises UserError if a split is missing or there twice, and if a class folder's name is unknown.
    """
    for split, folder in _splits(root).items():
        for class_folder in _class_folders(folder):
            expression = expression_of(class_folder.name)
            files = _files(class_folder)
            if expression is None:
                log.warning("left out: %d images of %s in %s/", len(files), class_folder.name, folder.name)
                continue
            for file in files:
                name = file.relative_to(root).as_posix()
                yield Sample(id=name, path=name, expression=expression, split=split)


def _splits(root: Path) -> dict[str, Path]:
    folders = {path.name.lower(): path for path in subfolders(root)}
    validation = [folders[name] for name in VALIDATION if name in folders]
    if len(validation) > 1:
        raise UserError(f"{root} holds both {validation[0].name}/ and {validation[1].name}/; keep one of them")
    if "train" not in folders or not ("test" in folders or validation):
        found = named(path.name for path in sorted(root.iterdir())) or "nothing"
        raise UserError(f"{root} needs the folders train/ and test/ with a folder per class; found: {found}")
    splits = {"train": folders["train"]}
    if "test" in folders:
        splits |= {"validation": validation[0]} if validation else {}
        splits["test"] = folders["test"]
    else:
        splits["test"] = validation[0]
        log.warning("%s/ is used as the test split, as there is no test/", validation[0].name)
    others = [path for path in sorted(root.iterdir()) if path not in splits.values() and not path.name.startswith(".")]
    if others:
        log.warning("not part of the dataset: %s", named(path.name for path in others))
    return splits


def _class_folders(folder: Path) -> list[Path]:
    classes = subfolders(folder)
    unknown = [path for path in classes if expression_of(path.name) is None and path.name.lower() not in CONTEMPT]
    if unknown:
        known = ", ".join([*(expression.label for expression in Expression), *ALIASES])
        hint = " (a number means another expression in every dataset and copy; look it up where you got the pictures)"
        number = hint if any(path.name.isdecimal() for path in unknown) else ""
        raise UserError(f"{unknown[0]} is no expression; rename the folder to one of: {known}{number}")
    if not classes:
        raise UserError(f"{folder} holds no class folders; expected {folder.name}/happiness, {folder.name}/anger ...")
    loose = [path.name for path in sorted(folder.iterdir()) if not (path.is_dir() or path.name.startswith("."))]
    if loose:
        log.warning("left out: %d files in %s/ that are in no class folder: %s", len(loose), folder.name, named(loose))
    return classes


def _files(folder: Path) -> list[Path]:
    """List the images below a class folder, links that lead nowhere too: a later stage reports those as unreadable.

    Linked folders are not followed, which the log says.
    """
    paths = [path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir()]
    visible = [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    others = [path.name for path in visible if not is_picture(path)]
    if others:
        where = f"{folder.parent.name}/{folder.name}"
        log.warning("left out: %d files in %s/ that are no images: %s", len(others), where, named(others))
    return [path for path in visible if is_picture(path)]
