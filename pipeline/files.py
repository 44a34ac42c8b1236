"""Files appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import UserError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, with the same suffix; flush it to disk and rename it when the block ends.

    If the block raises, `path` stays as it was and the temporary file goes. Raises UserError if `path` is a folder, or
    one of the folders above it is a file.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; name the file to write")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{error.filename} is a file, so that {path} cannot be written below it") from None
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, in UTF-8, with the line ends of `text`."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
