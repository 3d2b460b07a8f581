"""Files of named arrays, .npz and HDF5, behind one face, so that their readers see only arrays and rows."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from acaikit.errors import DataError

ENDINGS = (".npz", ".h5", ".hdf5")
CHUNK_CACHE = {"rdcc_nbytes": 2**27, "rdcc_nslots": 100_003}
"""h5py's defaults are too small for the chunks that it chooses itself: each would be unpacked again for every piece."""


@dataclass(frozen=True)
class Array:
    """One array of a file. In HDF5 it stays in the file until its rows are asked for.

    Attributes
    ----------
    label : str
        What messages call it: its name and its file.
    shape : tuple of int
        Its sizes; at least one axis.
    dtype : numpy.dtype
        Its type.
    """

    label: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    _values: Any

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        with _reading(self.label):
            found: NDArray[Any] = self._values[rows]
            return found

    def pieces(self, size: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield all rows in order, about `size` bytes at a time, each piece with the position of its first row."""
        rows = max(1, size // max(1, self.dtype.itemsize * int(np.prod(self.shape[1:]))))
        for start in range(0, len(self), rows):
            yield start, self[start : start + rows]


class ArrayFile:
    """An open file of arrays.

    Attributes
    ----------
    path : Path
        The file.
    names : sequence of str
        What it holds, in the file's order.
    """

    def __init__(self, path: Path, archive: Any) -> None:
        self.path, self._archive = path, archive
        self.names: Sequence[str] = tuple(archive)

    def array(self, name: str) -> Array:
        """Return the array called `name`, which must be there.

        An .npz file's array is read as a whole, and an HDF5 file's stays where it is.

        Raises
        ------
        DataError
            If it is damaged, no array, a single number, or made of Python objects.
        """
        label = f"{name} in {self.path}"
        with _reading(label):
            values = self._archive[name]
        if not getattr(values, "shape", None):
            raise DataError(f"{label} is no array of examples: its first axis must count them")
        return Array(label, tuple(values.shape), values.dtype, values)


@contextmanager
def open_arrays(path: Path) -> Iterator[ArrayFile]:
    """Open a file of arrays, whose kind its ending tells.

    Raises
    ------
    DataError
        If it can't be read, or is not what its ending says.
    """
    with ExitStack() as stack:
        with _reading(str(path)):
            # Opened here and not by numpy, which leaves a damaged file open.
            npz = stack.enter_context(path.open("rb")) if path.suffix.lower() == ".npz" else None
            if npz and not npz.peek(6)[:6].startswith((b"PK", b"\x93NUMPY")):
                raise zipfile.BadZipFile("it is no .npz file")  # numpy takes anything else for a pickle
            archive = np.load(npz, allow_pickle=False) if npz else h5py.File(path, "r", **CHUNK_CACHE)
        if isinstance(archive, np.ndarray):
            raise DataError(f"{path} holds a single array and no names: write it with np.savez(path, x=x)")
        yield ArrayFile(path, stack.enter_context(archive))


@contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise DataError(f"{what} doesn't fit in memory: save it as HDF5 (.h5), which is read in pieces") from error
    except _BROKEN as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"{what} is pickled, and unpickling could run any code: save arrays of numbers with np.savez(path, x=x)"
            ) from error
        raise DataError(f"{what} can't be read; it may be cut short or of another kind: {error}") from error


_BROKEN = (OSError, EOFError, KeyError, ValueError, RuntimeError, NotImplementedError, zlib.error, zipfile.BadZipFile)
"""What numpy, zipfile and h5py raise on a file that is damaged or not what it seems."""
