"""The pictures and films that the command line names, and where the results of each one go."""

import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from glob import glob
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import UserError
from pipeline.storage import formats, images

# Files of a folder are chosen by these endings; a file that is given by its name may have any other one.
FILM_ENDINGS = (
    "mp4 m4v mov qt avi mkv webm mpg mpeg mpe m1v m2v mpv vob wmv asf flv f4v 3gp 3g2 mts m2ts ts mxf ogv dv divx"
)
FILM_SUFFIXES = tuple(f".{ending}" for ending in FILM_ENDINGS.split())
OWN = ".explained"  # in the name of every result, which tells it from a picture to explain
RESULTS = (".json", ".png", ".npz", ".csv", ".mp4")
LONGEST_NAME = 200  # bytes, before the suffixes
N_NAMED = 6  # endings of skipped files, at most


class Input(NamedTuple):
    """A file to explain; its results are `name` below their folder, with a suffix each."""

    path: Path
    name: str

    def results(self, out: Path) -> list[Path]:
        """Return the files that the results may be written to."""
        return [out / (self.name + suffix) for suffix in RESULTS]

    @property
    def is_film(self) -> bool:
        """Whether it is a film: by its content, where that of a picture does not fit."""
        if _starts_as_film(self.path):
            return True
        return self.path.suffix.lower() not in formats.SUFFIXES and not images.is_picture(self.path)


class Folder(NamedTuple):
    """The files of a folder that are explained, and how many are not, by reason."""

    files: list[Path]
    skipped: Counter[str]


def list_inputs(paths: Iterable[str]) -> list[Input]:
    """List the files that paths, folders and patterns name, in order, each with a name of its own.

    What is skipped in a folder is counted on stderr. Raises UserError with the path that names no file.
    """
    names: dict[Path, Path] = {}
    for text in paths:
        path = Path(text)
        if path.is_dir():
            folder = _list_folder(path)
            if folder.skipped:
                print(f"{path}: skipped files: {_in_words(folder.skipped)}", file=sys.stderr)
            named = {file: file.relative_to(path) for file in folder.files}
            missing = f"{path} holds no images or films; their names end in {', '.join(formats.SUFFIXES)} or .mp4, ..."
        else:
            matches = [path] if path.is_file() else map(Path, sorted(glob(text, recursive=True)))  # noqa: PTH207
            named = {file: Path(file.name) for file in matches if file.is_file()}
            missing = f"{text} is not an image, a folder, a film or a pattern that matches any of them"
        if not named:
            raise UserError(missing)
        for file, name in named.items():
            names.setdefault(file, name)
    return list(_with_unique_names(names))


def _list_folder(folder: Path) -> Folder:
    """List the pictures and films below a folder, not hidden ones (`._a.jpg` of macOS) nor results of this command."""
    suffixes = {*formats.SUFFIXES, *FILM_SUFFIXES}
    files: list[Path] = []
    skipped: Counter[str] = Counter()
    for parent, folders, names in os.walk(folder):
        skipped["hidden"] += sum(name.startswith(".") for name in folders)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 (a Path for each of thousands takes a second)
            path = os.path.join(parent, name)  # noqa: PTH118
            if name.startswith("."):
                skipped["hidden"] += 1
            elif f"{OWN}." in name:
                skipped["results of this command"] += 1
            elif suffix not in suffixes:
                skipped[suffix or "no ending"] += 1
            elif not os.path.isfile(path):  # noqa: PTH113
                skipped["not regular files"] += 1
            else:
                files.append(Path(path))
    return Folder(sorted(files), +skipped)


def _in_words(skipped: Counter[str]) -> str:
    """Say how many files are skipped and why."""
    endings = Counter({reason: count for reason, count in skipped.items() if reason.startswith((".", "no ending"))})
    said = [f"{count} {reason}" for reason, count in sorted(skipped.items()) if reason not in endings]
    if endings:
        named = [ending for ending, _ in endings.most_common(N_NAMED)]
        more = ", ..." if len(endings) > N_NAMED else ""
        said.append(f"{endings.total()} with other endings ({', '.join(named)}{more})")
    return ", ".join(said)


def _with_unique_names(names: dict[Path, Path]) -> Iterator[Input]:
    """Name results after their files; the second of two files with one name keeps its suffix or gets a number.

    Names that a file system may take for one (`A`, `a`, and letters with composed or separate accents) count as equal.
    """
    taken: set[str] = set()
    numbers: Counter[str] = Counter()
    for path, file in names.items():
        stem = name = _shortened(file.with_suffix(""))
        if _folded(name) in taken:
            name = _shortened(file)
        while _folded(name) in taken:
            numbers[_folded(stem)] += 1
            name = f"{stem}-{numbers[_folded(stem)] + 1}"
        taken.add(_folded(name))
        yield Input(path, name + OWN)


def _shortened(file: Path) -> str:
    """Cut the last part of a path so that suffixes and temporary names fit into what file systems take."""
    name = file.name.encode("utf-8", "surrogateescape")
    if len(name) <= LONGEST_NAME:
        return file.as_posix()
    return file.with_name(name[:LONGEST_NAME].decode("utf-8", "ignore")).as_posix()


def _folded(name: str) -> str:
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def _starts_as_film(path: Path) -> bool:
    """Return whether a file begins as MP4 or QuickTime (no HEIF or AVIF picture), Matroska or AVI."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError:
        return False
    if head[4:8] == b"ftyp":
        return head[8:12] not in (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis", b"hevc")
    return head[:4] == b"\x1aE\xdf\xa3" or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
