"""The images and videos that the command line names, and the name of each one's results."""

from collections.abc import Iterable
from glob import glob
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import UserError
from pipeline.storage import formats

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
SUFFIXES = (*formats.SUFFIXES, *VIDEO_SUFFIXES)


class Input(NamedTuple):
    """A file to explain, and the name of its results below their folder, without suffix."""

    path: Path
    name: str

    @property
    def is_video(self) -> bool:
        """Whether its suffix is that of a video."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES


def list_inputs(paths: Iterable[str]) -> list[Input]:
    """List the files that paths, folders and patterns name, in order, each with a name of its own.

    Raises UserError with the path that names no file.
    """
    names: dict[Path, Path] = {}
    for text in paths:
        path = Path(text)
        if path.is_dir():
            found = {file: file.relative_to(path) for file in sorted(path.rglob("*")) if _is_input(file, path)}
            missing = f"{path} holds no images or videos; their names end in {', '.join(SUFFIXES)}"
        else:
            matches = [path] if path.is_file() else map(Path, sorted(glob(text, recursive=True)))  # noqa: PTH207
            found = {file: Path(file.name) for file in matches if file.is_file()}
            missing = f"{text} is not an image, a folder, a video or a pattern that matches any of them"
        if not found:
            raise UserError(missing)
        names |= found
    return _with_unique_names(names)


def _is_input(file: Path, folder: Path) -> bool:
    """Return whether a file below a folder is a visible image or video; `._a.jpg`, which macOS leaves, is hidden."""
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return not hidden and file.suffix.lower() in SUFFIXES and file.is_file()


def _with_unique_names(names: dict[Path, Path]) -> list[Input]:
    """Name results after their files; the second of two files with one name keeps its suffix or gets a number."""
    taken: set[str] = set()
    inputs = []
    for path, file in names.items():
        choices = [file.with_suffix("").as_posix(), file.as_posix()]
        choices += [f"{choices[0]}-{number}" for number in range(2, len(names) + 2)]
        name = next(choice for choice in choices if choice not in taken)
        taken.add(name)
        inputs.append(Input(path, name))
    return inputs
