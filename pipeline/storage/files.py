"""Atomic writes that never replace an input, and checksums at the end of files."""

import csv
import errno
import hashlib
import mmap
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR
from typing import Any

from pipeline.errors import UserError, refusal

UMASK = os.umask(0o022)  # it can only be read by setting it
os.umask(UMASK)
DIGEST = hashlib.sha256().digest_size


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with the same suffix; flush it to disk and rename it when the block ends.

    If the block raises, `path` is kept and the temporary file is removed. Raises UserError if `path` is a folder, or
    one of the folders above it is a file, and if the disk is full or refuses the write.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; name the file to write")
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        _make_folder(path.parent, path)
        yield temporary
        temporary.chmod(0o666 & ~UMASK)  # some libraries make files that only their owner can read
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)
    except UserError:
        raise
    except Exception as error:
        reason = refusal(error)
        if reason is None:
            raise
        raise UserError(f"{path} cannot be written ({reason}); existing files are kept") from None
    finally:
        # A folder without permission to write refuses the removal too.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def refuse_overwriting(inputs: Iterable[Path], outputs: Iterable[Path]) -> None:
    """Raise UserError if one of the files to write is one of the files to read, whatever their paths are.

    A folder among the inputs stands for all files in it.
    The files themselves are compared, so symbolic links, hard links, `..` and names that a file system takes for equal
    (`A.png`, `a.png`) are found. A command calls this before it writes anything.
    """
    existing = {identity: path for path in outputs if (identity := _identity(path)) is not None}
    for read in inputs if existing else ():
        identity = _identity(read)
        replaced = existing.get(identity) if identity else None
        if replaced is None and identity and S_ISDIR(identity[2]):
            folder = read.resolve()
            replaced = next((path for path in existing.values() if folder in path.resolve().parents), None)
        if replaced is not None:
            raise UserError(f"{replaced} would replace a file that is read; choose another place for the output")


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Return device, number and mode of a file, None for a file that is not there."""
    try:
        status = os.stat(path)  # noqa: PTH116 (half the time of `Path.stat`)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_mode


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8, with the line ends of `text`."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], line_end: str = "\n") -> None:
    """Write rows as a CSV file atomically, in UTF-8; a cell is empty where a row lacks the column."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator=line_end)
        writer.writeheader()
        writer.writerows(rows)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reserve(path: Path, size: int) -> None:
    """Raise OSError if the disk has no room for `size` bytes beside `path`: HDF5 can crash on a full disk."""
    if not size or not hasattr(os, "posix_fallocate"):
        return
    room = path.with_name(f"{path.name}.room")
    descriptor = os.open(room, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)
        room.unlink()


def append_checksum(path: Path) -> None:
    """Append the SHA-256 of a file to it, where HDF5 and torch do not read."""
    with path.open("rb+") as file:
        file.write(hashlib.file_digest(file, "sha256").digest())


def verify_checksum(path: Path) -> str | None:
    """Return the checksum (hex) at the end of a file (see `append_checksum`); None if the content does not match it."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size < DIGEST:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content, memoryview(content) as view:
            stored, actual = bytes(view[-DIGEST:]), hashlib.sha256(view[:-DIGEST]).digest()
    return actual.hex() if actual == stored else None


def set_aside(path: Path) -> Path:
    """Rename a damaged file to `<name>.damaged`; return its new path."""
    aside = path.with_name(path.name + ".damaged")
    path.replace(aside)
    return aside


def _make_folder(folder: Path, path: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{error.filename} is a file; {path} cannot be written below it") from None
    except FileNotFoundError as error:  # below /proc and the like
        raise UserError(f"{error.filename} cannot be created; choose another folder for {path}") from None


def _flush_folder(folder: Path) -> None:
    """Flush the folder too, so that the new name survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some network file systems cannot
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def beside(path: Path, suffix: str) -> Path:
    """Return the path of a result's other form: `tables/table1` and ".csv" give `tables/table1.csv`."""
    return path.with_name(path.name + suffix)
