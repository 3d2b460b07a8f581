"""A prepared set: one HDF5 file whose examples are memory-mapped, and never read as a whole.

The file holds a group per split ("train", "test"), each with ``x`` ``[N, *shape]`` (uint8 pixels, or float32 in
[-1, 1]) and, where there are labels, ``y`` int64 ``[N]``. h5py reads it; so does anything that maps contiguous arrays.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import h5py
import numpy as np
import torch

from acaikit.data.base import Split
from acaikit.errors import DataError

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
    version : int
        The version of the code that made it (`Stored.version`).
    classes : int or None
        Number of classes.
    class_names : tuple of str
        Their names, where they have any.
    remarks : tuple of str
        What its user should know, such as images that were left out.
    """

    fingerprint: str
    version: int = 1
    classes: int | None = None
    class_names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """A prepared set, open.

    Attributes
    ----------
    file : Path
        The file.
    splits : mapping of str to Split
        Its splits, mapped from the file.
    notes : Notes
        What it says of itself.
    digests : mapping of str to str
        A hash of each split's examples and labels, as they were written.
    """

    file: Path
    splits: Mapping[str, Split]
    notes: Notes
    digests: Mapping[str, str] = field(default_factory=dict)


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
                notes = Notes(**(told | {name: tuple(told[name]) for name in ("class_names", "remarks")}))
                splits = {name: _split(raw, _inside(file, name, h5py.Group)) for name in file}
                digests = {name: _digest(file[name]) for name in file}
        except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise DataError(f"{path} is damaged: {error.args[0] if error.args else error}") from error
    return Prepared(path, splits, notes, digests)


def _split(raw: BinaryIO, group: h5py.Group) -> Split:
    x = _mapped(raw, _inside(group, "x", h5py.Dataset), DTYPES)
    if "y" not in group.keys():  # noqa: SIM118 (`in group` follows links)
        return Split(x)
    y = _inside(group, "y", h5py.Dataset)
    labels = _mapped(raw, y, (np.dtype(np.int64),))
    if labels.shape != x.shape[:1] or hashlib.sha256(labels.numpy().data).hexdigest().encode() != y.attrs["sha256"]:
        raise ValueError(f"{y.name} is not what was written")
    return Split(x, labels)


def _digest(group: h5py.Group) -> str:
    sums = {name: group[name].attrs.get("sha256", b"").decode() for name in group}
    return hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()


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
