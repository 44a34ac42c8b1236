"""HDF5 shards: rows keyed by id, written atomically, with a checksum that every reader verifies.

The SHA-256 of the file follows its last HDF5 byte, where HDF5 does not read. It is verified before HDF5 opens the file,
because broken metadata can make HDF5 hang.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.storage.files import append_checksum, atomic_write, reserve, set_aside, verify_checksum

Columns = dict[str, NDArray[Any]]
HEADERS = 1 << 16  # bytes that HDF5 adds, at the most
N_SHARDS = "of"  # the attribute that says how many shards belong together
PARENT = "_sha256"  # ends the attributes that name the shards it was made from, such as faces_sha256


def write(
    path: Path,
    columns: Mapping[str, Any],
    *,
    blocks: Iterable[Mapping[str, NDArray[Any]]] = (),
    of: int | None = None,
    **attributes: str | float,
) -> None:
    """Write the columns as contiguous datasets and the attributes beside them, atomically.

    Words are compressed, because they repeat; numbers and pictures are not, so that single rows can be read. `blocks`
    yields further columns, some rows of all of them at a time, if they do not fit into memory; the column `id` gives
    the total number of rows. `of` is the number of shards that belong together; a file that stands alone has none.
    """
    stored = {name: _stored(values) for name, values in columns.items()}
    with atomic_write(path) as temporary:
        rest = iter(blocks)
        first = next(rest, {})
        reserve(temporary, _size(stored, first))
        with h5py.File(temporary, "w") as file:
            for name, values in stored.items():
                _create(file, name, values)
            start = 0
            for block in chain([first] if first else [], rest):
                rows = len(next(iter(block.values())))
                for name, values in block.items():
                    shape = (len(columns["id"]), *values.shape[1:])
                    file.require_dataset(name, shape, values.dtype, exact=True)[start : start + rows] = values
                start += rows
            file.attrs.update(attributes if of is None else {**attributes, N_SHARDS: of})
        append_checksum(temporary)


class Shard:
    """A shard on disk, verified once, when the object is made; no file stays open, so that a process may fork.

    `path`; `sha256` of its content, hex; `names` of its columns; `attributes`, which were written beside the columns;
    `parents`, the SHA-256 of the shards that it was made from by stage, empty if it was made by an earlier version;
    `count`, the number of shards that belong together, None for a file that stands alone. Raises UserError if the file
    is missing, cut short or damaged. A damaged `.h5` file is moved aside, so that the next run of the workflow rebuilds
    that shard and no other. A file of another name cannot be a shard: it is refused and left alone.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.sha256 = path, _verify(path)
        with h5py.File(path, "r") as file:
            self.names = tuple(file)
            stored = {
                name: value.item() if isinstance(value, np.generic) else value for name, value in file.attrs.items()
            }
        self.count: int | None = stored.pop(N_SHARDS, None)
        named = [name for name in stored if name.endswith(PARENT)]
        self.parents: dict[str, str] = {name.removesuffix(PARENT): stored.pop(name) for name in named}
        self.attributes: dict[str, Any] = stored

    def check_parent(self, parent: "Shard") -> None:
        """Raise UserError if this shard was made from another shard of the parent's stage, the name of its folder."""
        if self.parents.get(parent.path.parent.name, parent.sha256) != parent.sha256:
            raise UserError(f"{self.path} was made from another {parent.path}; delete it and run the workflow again")

    def columns(self, *names: str) -> Columns:
        """Read the named columns, or all; numbers are mapped from the disk. Raises UserError on an unknown name."""
        absent = [name for name in names if name not in self.names]
        if absent:
            raise UserError(
                f"{self.path} has no column {absent[0]}, only {', '.join(self.names)}; is it the file of another stage?"
            )
        with h5py.File(self.path, "r") as file:
            return {name: _loaded(self.path, file[name]) for name in names or self.names}

    def stored_files(self, prefix: str = "") -> list[NDArray[np.uint8]]:
        """List the files that the columns `jpeg` and `offset`, or those with a prefix, hold, mapped from the disk.

        HDF5 stores a contiguous dataset as it is, so its bytes can be read by any number of threads without HDF5.
        """
        with h5py.File(self.path, "r") as file:
            start, offset = file[f"{prefix}jpeg"].id.get_offset(), file[f"{prefix}offset"][()]
        if start is None:  # an empty dataset has no place
            return [np.zeros(0, np.uint8) for _ in offset[1:]]
        content = np.memmap(self.path, np.uint8, "r", offset=start, shape=(int(offset[-1]),))
        return [content[first:last] for first, last in pairwise(offset.tolist())]


class ShardFolder:
    """The shards of a folder that belong together, `0.h5`, `1.h5` and on, as many as the first one says.

    Each is verified once, when the object is made. Others are left over from an earlier division into more shards.
    Raises UserError as `Shard` does, and if one is missing.
    """

    def __init__(self, folder: Path) -> None:
        if not any(folder.glob("[0-9]*.h5")):
            raise UserError(f"{folder} holds no shards; build them with the workflow first")
        first = Shard(folder / "0.h5")
        if first.count is None:
            raise UserError(f"{folder}/0.h5 does not say how many shards belong to it; run the workflow again")
        self.folder = folder
        self.shards = [first, *(Shard(folder / f"{number}.h5") for number in range(1, first.count))]

    @property
    def checksums(self) -> str:
        """The checksums of all shards in order, joined: another text if any shard changes."""
        return "".join(shard.sha256 for shard in self.shards)

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """What all shards say about themselves; UserError names the first that says something else than the others."""
        first = self.shards[0].attributes
        for shard in self.shards:
            if shard.attributes != first:
                raise UserError(
                    f"{shard.path} says {shard.attributes}, the shards before it {first}; "
                    "delete it and run the workflow again"
                )
        return first

    def check_parents(self, parents: "ShardFolder") -> None:
        """Raise UserError that names the first shard that was made from another one than that of `parents`."""
        for shard, parent in zip(self.shards, parents.shards, strict=False):  # a folder of another length has other ids
            shard.check_parent(parent)

    def columns(self, *names: str) -> Columns:
        """Join columns of the shards in order; byte columns and their offsets are joined as one.

        Raises UserError as `Shard.columns` does, and if an id occurs twice.
        """
        joined = concatenate([shard.columns(*names) for shard in self.shards])
        ids, times = np.unique(joined.get("id", []), return_counts=True)
        if (times > 1).any():
            raise UserError(
                f"{self.folder}: {ids[times > 1][0]} occurs twice; delete this folder and run the workflow again"
            )
        return joined

    def stored_files(self) -> list[NDArray[np.uint8]]:
        """List the files that the shards hold, in order, see `Shard.stored_files`."""
        return [file for shard in self.shards for file in shard.stored_files()]


def read(path: Path, *names: str) -> Columns:
    """Read columns of one shard and nothing else of it, see `Shard.columns`."""
    return Shard(path).columns(*names)


def read_all(folder: Path, *names: str) -> Columns:
    """Read columns of all shards of a folder and nothing else of them, see `ShardFolder.columns`."""
    return ShardFolder(folder).columns(*names)


def concatenate(parts: Sequence[Columns]) -> Columns:
    """Join the rows of several shards; `offset` columns count bytes and continue from part to part."""
    joined = {}
    for name in parts[0]:
        values = [part[name] for part in parts]
        if name.endswith("offset"):
            joined[name] = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(offset) for offset in values]))])
        else:
            joined[name] = np.concatenate(values)
    return joined


def _size(columns: Mapping[str, NDArray[Any]], block: Mapping[str, NDArray[Any]]) -> int:
    """Count the bytes of a file of these columns, with the first rows of further ones."""
    rows = max((len(values) for values in block.values()), default=1)
    each = sum(values.nbytes for values in block.values()) / rows
    return HEADERS + sum(values.nbytes for values in columns.values()) + math.ceil(each * len(columns.get("id", ())))


def _create(file: h5py.File, name: str, values: NDArray[Any]) -> None:
    if values.dtype != object or not len(values):
        file.create_dataset(name, data=values, dtype=h5py.string_dtype() if values.dtype == object else values.dtype)
        return
    words = np.array([str.encode(word) for word in values])
    fixed = words.astype(h5py.string_dtype("utf-8", max(words.itemsize, 1)))
    file.create_dataset(name, data=fixed, compression="gzip", shuffle=True)


def _stored(values: Any) -> NDArray[Any]:
    array = np.asarray(values)
    return array.astype(object) if array.dtype.kind == "U" else np.ascontiguousarray(array)


def _loaded(path: Path, dataset: h5py.Dataset) -> NDArray[Any]:
    """Read a column; one of numbers is mapped from the disk, and changing it changes no file."""
    if h5py.check_string_dtype(dataset.dtype):
        return np.asarray(dataset.asstr()[()], dtype=object)
    start = dataset.id.get_offset()
    if start is None:  # an empty column has no place
        return np.asarray(dataset[()])
    return np.asarray(np.memmap(path, dataset.dtype, "c", offset=start, shape=dataset.shape))


def _verify(path: Path) -> str:
    """Return the file's checksum; raise UserError if it has no right one, and move a damaged shard aside."""
    try:
        checksum = verify_checksum(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; run the workflow again, it rebuilds only this shard") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); name a shard, a .h5 file") from None
    if checksum:
        return checksum
    if path.suffix != ".h5":
        raise UserError(f"{path} is no shard; name a .h5 file that the workflow made")
    aside = set_aside(path)
    raise UserError(
        f"{path} is damaged (its checksum does not match); it was moved to {aside.name}: "
        "run the workflow again, it rebuilds only this shard"
    )
