"""HDF5 files written and read whole: built in memory, hashed, published; read into memory, verified, opened."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from acaikit.artifacts.faults import BrokenFile, MissingFile, NewerFormat
from acaikit.artifacts.header import HEADER_SIZE, make_header, verify
from acaikit.artifacts.publish import make_folder, publish
from acaikit.artifacts.text import text_attribute
from acaikit.errors import RunError

FORMAT_VERSION = 1
MIN_READER_VERSION = "0.1.0"
"""The oldest acaikit that reads what this one writes; raised only by a change that older readers would get wrong."""


def write_h5(path: Path, fill: Callable[[h5py.Group], None], *, format: str, run_id: str, step: int) -> None:
    """Build an HDF5 file in memory and publish it whole. The same content gives the same bytes.

    Parameters
    ----------
    path : Path
        The file to create or replace; its folder is created where missing.
    fill : callable
        Writes the content into the root group that it is given.
    format : str
        What kind of file it is: ``checkpoint``, ``metrics``, ...
    run_id : str
        The run that it belongs to.
    step : int
        The training step that it describes.

    Raises
    ------
    OSError
        The file can't be written; the previous one is intact (see `publish`).
    """
    image = io.BytesIO()
    # libver is pinned because newer object headers carry time stamps, and old tools read the old ones.
    with h5py.File(image, "w", userblock_size=HEADER_SIZE, libver="earliest") as file:
        file.attrs["format"] = np.bytes_(format.encode())
        file.attrs["format_version"] = np.int64(FORMAT_VERSION)
        file.attrs["min_reader_version"] = np.bytes_(MIN_READER_VERSION.encode())
        file.attrs["run_id"] = np.bytes_(run_id.encode())
        file.attrs["step"] = np.int64(step)
        fill(file)
    data = image.getbuffer()
    data[:HEADER_SIZE] = make_header(data[HEADER_SIZE:])
    make_folder(path.parent)
    publish(path, data)


@contextlib.contextmanager
def read_h5(path: Path, *, format: str | None = None) -> Iterator[h5py.File]:
    """Verify an HDF5 file and open it in memory, read-only.

    Inside the block only read: a KeyError, ValueError or RuntimeError raised there (a missing dataset, an unexpected
    shape) is taken as the file's fault and becomes `BrokenFile`.

    Parameters
    ----------
    path : Path
        A regular file; a symbolic link is not followed.
    format : str, optional
        The kind of file that is expected.

    Yields
    ------
    h5py.File
        The open file. It is closed at the end of the block.

    Raises
    ------
    MissingFile
        There is no such file.
    BrokenFile
        It is cut short, altered, of another kind, or not one of acaikit's files.
    NewerFormat
        It needs a newer acaikit; the message says which.
    RunError
        The operating system refuses to read it.
    """
    data = _read_bytes(path)
    verify(path, data)
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            # The audit of what an untrusted file may contain belongs here, before anything in it is read.
            _check_format(path, file, format)
            yield file
    except (KeyError, ValueError, RuntimeError, OSError) as error:
        raise BrokenFile(f"{path} is broken: {error}") from error


def _check_format(path: Path, file: h5py.File, format: str | None) -> None:
    needed = text_attribute(file, "min_reader_version")
    if _release(needed) > _release(MIN_READER_VERSION):
        raise NewerFormat(f"{path} was written by a newer acaikit: install it with pip install 'acaikit>={needed}'")
    found = text_attribute(file, "format")
    if format is not None and found != format:
        raise BrokenFile(f"{path} is of kind {found!r} where {format!r} was expected")


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _read_bytes(path: Path) -> bytes:
    try:
        # O_NONBLOCK: opening a FIFO would otherwise wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise BrokenFile(f"{path} isn't a regular file")
            with os.fdopen(descriptor, "rb", closefd=False) as stream:
                return stream.read()
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise MissingFile(f"{path} does not exist") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise BrokenFile(f"{path} is a symbolic link, not a regular file") from error
        raise RunError(f"{path} can't be read: {error.strerror}") from error
