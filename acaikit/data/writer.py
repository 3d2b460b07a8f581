"""Writing a prepared set, a piece at a time, so that a large one never lies in memory."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from acaikit.artifacts.publish import make_folder, publishing
from acaikit.data.prepared import ALIGNMENT, DTYPES, FORMAT, Notes
from acaikit.data.space import room
from acaikit.types import Shape

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer
    from _typeshed import WriteableBuffer


class Writer:
    """Fills a prepared file, split by split and a piece at a time.

    Attributes
    ----------
    notes : Notes
        To be completed by whoever fills the file.
    """

    def __init__(self, structure: h5py.File, examples: BinaryIO, path: Path, notes: Notes) -> None:
        self._structure, self._examples, self._path = structure, examples, path
        self._splits: dict[str, dict[str, _Column]] = {}
        self.notes = notes

    def split(self, name: str, count: int, shape: Shape, *, labels: bool, dtype: DTypeLike = np.uint8) -> None:
        """Begin the split `name` of `count` examples (at least 1) of `shape`, uint8 or float32.

        Begun a second time, it starts anew: what it held is dropped, and its room used again.

        Raises
        ------
        DataError
            If the disk has no room for it, and for what was begun before.
        """
        if count < 1 or np.dtype(dtype) not in DTYPES:
            raise ValueError(f"{name} can't have {count} examples of {np.dtype(dtype)}")
        if self._splits.pop(name, None):
            del self._structure[name]
        group = self._structure.create_group(name)
        columns = {"x": _Column(group, "x", (count, *shape), np.dtype(dtype))}
        if labels:
            columns["y"] = _Column(group, "y", (count,), np.dtype(np.int64))
        self._splits[name] = columns
        missing = sum(column.missing for columns in self._splits.values() for column in columns.values())
        room(self._path.parent, missing, f"the prepared set {self._path.name}")

    def append(self, name: str, x: NDArray[Any], y: NDArray[Any] | None = None) -> None:
        """Add examples ``[n, *shape]``, and their labels ``[n]`` where the split has labels.

        Raises
        ------
        ValueError
            If they have another shape, are too many, or are of a dtype that the split can't hold.
        """
        given = {"x": x} if y is None else {"x": x, "y": y}
        columns = self._splits[name]
        if given.keys() != columns.keys() or len({len(rows) for rows in given.values()}) != 1:
            raise ValueError(f"{name} needs {' and '.join(columns)} of one length")
        for key, rows in given.items():
            columns[key].append(rows, self._examples)

    def finish(self) -> None:
        """Write the notes; every split must have been filled."""
        for name, columns in self._splits.items():
            for key, column in columns.items():
                if column.missing:
                    raise ValueError(f"{name}/{key} was announced with {column.told}, but {column.filled} came")
                column.dataset.attrs["sha256"] = np.bytes_(column.sum.hexdigest().encode())
        self._structure.attrs["format"] = np.bytes_(FORMAT.encode())
        self._structure.attrs["notes"] = np.bytes_(json.dumps(vars(self.notes)).encode())


class _Column:
    """The examples, or the labels, of a split: where they lie in the file, and how many are written."""

    def __init__(self, group: h5py.Group, name: str, shape: Shape, dtype: np.dtype[Any]) -> None:
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        self.dataset = group.create_dataset(name, shape, dtype, dcpl=layout)
        self.dtype, self.shape, self.told, self.filled = dtype, shape[1:], shape[0], 0
        self.row = prod(self.shape) * dtype.itemsize
        self.at, self.sum = self.dataset.id.get_offset(), hashlib.sha256()

    @property
    def missing(self) -> int:
        """How many bytes are still to be written."""
        return (self.told - self.filled) * self.row

    def append(self, rows: NDArray[Any], file: BinaryIO) -> None:
        if not np.can_cast(rows.dtype, self.dtype, "safe"):
            raise ValueError(
                f"{self.dataset.name} is {self.dtype}, which can't hold all values of {rows.dtype}: convert them, with "
                f".astype(np.{self.dtype})"
            )
        rows = np.ascontiguousarray(rows, self.dtype)
        if rows.shape[1:] != self.shape or len(rows) > self.told - self.filled:
            raise ValueError(
                f"{self.dataset.name} of {[self.told, *self.shape]} can't take {list(rows.shape)} after {self.filled}"
            )
        content = rows.reshape(-1).view(np.uint8).data
        file.seek(self.at + self.filled * self.row)
        file.write(content)
        self.sum.update(content)
        self.filled += len(rows)


class _Structure(io.RawIOBase):
    """Everything of an HDF5 file but the examples, in memory.

    HDF5 brings the whole process down where it can't write, on a full disk for one. So it never writes to the disk.
    """

    def __init__(self) -> None:
        self.pieces: list[tuple[int, bytes]] = []
        self.size = self.at = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def truncate(self, size: int | None = None, /) -> int:
        self.size = self.at if size is None else size
        return self.size

    def write(self, data: Buffer, /) -> int:
        self.pieces.append((self.at, bytes(data)))
        self.at += len(self.pieces[-1][1])
        self.size = max(self.size, self.at)
        return len(self.pieces[-1][1])

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view, start = memoryview(buffer), self.at
        view[:] = bytes(len(view))
        for at, data in self.pieces:
            first, last = max(at, start), min(at + len(data), start + len(view))
            if first < last:
                view[first - start : last - start] = data[first - at : last - at]
        self.at += len(view)
        return len(view)

    def copy_to(self, file: BinaryIO) -> None:
        for at, data in self.pieces:
            file.seek(at)
            file.write(data)
        file.truncate(self.size)


def write_prepared(path: Path, fingerprint: str, fill: Callable[[Writer], None], version: int = 1) -> None:
    """Make the prepared file `path` whole, or not at all.

    Raises
    ------
    DataError
        If there is no room for it.
    OSError
        If it can't be written.
    """
    make_folder(path.parent)
    with publishing(path) as temporary, temporary.open("xb") as examples:
        structure = _Structure()
        # From v108 on HDF5 checks everything that it reads of the structure.
        with h5py.File(
            structure, "w", libver=("v108", "v108"), alignment_threshold=1, alignment_interval=ALIGNMENT
        ) as file:
            writer = Writer(file, examples, path, Notes(fingerprint, version))
            fill(writer)
            writer.finish()
        structure.copy_to(examples)
