"""A prepared set: one HDF5 file whose examples are memory-mapped, and never read as a whole.

The file holds a group per split ("train", "test"), each with ``x`` ``[N, *shape]`` (uint8 pixels, or float32 in
[-1, 1]) and, where there are labels, ``y`` int64 ``[N]``. h5py reads it; so does anything that maps contiguous arrays.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import h5py
import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from acaikit.artifacts.publish import make_folder, publishing
from acaikit.data.base import Split
from acaikit.data.space import room
from acaikit.errors import DataError
from acaikit.types import Shape

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer
    from _typeshed import WriteableBuffer

T = TypeVar("T")

FORMAT = "acaikit.prepared.1"
PIECE = 2**24
"""How many bytes are looked at together where a whole set is walked through."""
DTYPES = (np.dtype(np.uint8), np.dtype(np.float32))
"""What examples are kept as."""
ALIGNMENT = 64
"""Arrays begin at multiples of so many bytes: what is mapped can be read as it lies there."""


@dataclass
class Notes:
    """What a prepared file says of its set.

    Attributes
    ----------
    fingerprint : str
        The state of the sources that it was made from.
    classes : int or None
        Number of classes.
    class_names : tuple of str
        Their names, where they have any.
    remarks : tuple of str
        What its user should know, such as images that were left out.
    """

    fingerprint: str
    classes: int | None = None
    class_names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """A prepared set, open: its splits are mapped from `file`."""

    file: Path
    splits: Mapping[str, Split]
    notes: Notes


class Writer:
    """Fills a prepared file, split by split and a piece at a time, so that a large set never lies in memory.

    Attributes
    ----------
    notes : Notes
        To be completed by whoever fills the file.
    """

    def __init__(self, structure: h5py.File, examples: BinaryIO, path: Path, fingerprint: str) -> None:
        self._structure, self._examples, self._path = structure, examples, path
        self._splits: dict[str, dict[str, _Column]] = {}
        self.notes = Notes(fingerprint)

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
        """Add examples ``[n, *shape]``, and their labels ``[n]`` where the split has labels."""
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


def write_prepared(path: Path, fingerprint: str, fill: Callable[[Writer], None]) -> None:
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
            writer = Writer(file, examples, path, fingerprint)
            fill(writer)
            writer.finish()
        structure.copy_to(examples)


def open_prepared(path: Path) -> Prepared:
    """Map the splits of a prepared file.

    The labels are read and checked; of the examples nothing is read.

    Raises
    ------
    DataError
        If it can't be read, is no prepared file, or is damaged.
    """
    try:
        raw = path.open("rb")
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}") from error
    with raw:
        try:
            # The open file is given to HDF5 and mapped: by the name another process may just have put a new one. It is
            # not locked: it never changes, and some file systems can't lock.
            with h5py.File(raw, "r") as file:
                form = file.attrs.get("format")
                if form != FORMAT.encode():
                    raise DataError(f"{path} is no prepared set of this version of acaikit ({FORMAT})")
                told = json.loads(file.attrs["notes"])
                notes = Notes(told["fingerprint"], told["classes"], tuple(told["class_names"]), tuple(told["remarks"]))
                splits = {name: _split(raw, _inside(file, name, h5py.Group)) for name in file}
        except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise DataError(f"{path} is damaged: {error.args[0] if error.args else error}") from error
    return Prepared(path, splits, notes)


def _split(raw: BinaryIO, group: h5py.Group) -> Split:
    x = _mapped(raw, _inside(group, "x", h5py.Dataset), DTYPES)
    if "y" not in group.keys():  # noqa: SIM118 (`in group` follows links)
        return Split(x)
    y = _inside(group, "y", h5py.Dataset)
    labels = _mapped(raw, y, (np.dtype(np.int64),))
    if labels.shape != x.shape[:1] or hashlib.sha256(labels.numpy().data).hexdigest().encode() != y.attrs["sha256"]:
        raise ValueError(f"{y.name} is not what was written")
    return Split(x, labels)


def _inside(group: h5py.Group, name: str, kind: type[T]) -> T:
    """Return a member of the file itself: what a link leads to may be any file."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{group.name} has no {name!r} of its own")
    member = group[name]
    if not isinstance(member, kind):
        raise ValueError(f"{member.name} is a {type(member).__name__}")
    return member


def _mapped(raw: BinaryIO, dataset: h5py.Dataset, dtypes: Sequence[np.dtype[Any]]) -> torch.Tensor:
    if dataset.dtype not in dtypes or not dataset.shape or 0 in dataset.shape:
        raise ValueError(f"{dataset.name} has {dataset.dtype} of {dataset.shape}")
    # No offset has what is packed, or lies in another file.
    offset = dataset.id.get_offset()
    if offset is None or offset % ALIGNMENT or offset + dataset.nbytes > os.fstat(raw.fileno()).st_size:
        raise ValueError(f"{dataset.name} doesn't lie in the file as one piece")
    # Copy on write: torch knows no read-only memory, and nothing written to it would reach the file.
    return torch.from_numpy(np.memmap(raw, dataset.dtype, "c", offset, dataset.shape))


def changed_splits(path: Path) -> Sequence[str]:
    """Return the splits of a prepared file whose examples are not those that were written (SHA-256).

    Raises
    ------
    DataError
        As `open_prepared`; changed labels it finds already.
    """
    splits = open_prepared(path).splits
    with path.open("rb") as raw, h5py.File(raw, "r") as file:
        return [name for name, split in splits.items() if _sum(split.data) != file[name]["x"].attrs["sha256"]]


def _sum(data: torch.Tensor) -> bytes:
    found, rows = hashlib.sha256(), max(1, PIECE // data[0].nbytes)
    for start in range(0, len(data), rows):
        found.update(data[start : start + rows].numpy().data)
    return found.hexdigest().encode()
