"""HDF5 files written and read whole: built in memory, hashed, published; read into memory, verified, opened."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np

from acaikit.artifacts.audit import audit
from acaikit.artifacts.extents import Fetch
from acaikit.artifacts.faults import BrokenFile, NewerFormat, TooMuch
from acaikit.artifacts.header import HEADER_SIZE, make_header
from acaikit.artifacts.messages import Attribute
from acaikit.artifacts.publish import make_folder, publish
from acaikit.artifacts.source import MOST_BYTES, open_source, read_bytes
from acaikit.artifacts.structure import Dataset, Group, Structure
from acaikit.errors import RunError

FORMAT_VERSION = 1
MIN_READER_VERSION = "0.1.0"
"""The oldest acaikit that reads what this one writes; raised only by a change that older readers would get wrong."""

_RELEASE = re.compile(r"\d{1,4}(\.\d{1,4}){0,2}", re.ASCII)


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
    TooMuch
        The content is what `read_h5` would refuse; nothing is written.
    """
    image = io.BytesIO()
    try:
        # libver is pinned because newer object headers carry time stamps, and old tools read the old ones.
        with h5py.File(image, "w", userblock_size=HEADER_SIZE, libver="earliest") as file:
            file.attrs["format"] = np.bytes_(format.encode())
            file.attrs["format_version"] = np.int64(FORMAT_VERSION)
            file.attrs["min_reader_version"] = np.bytes_(MIN_READER_VERSION.encode())
            file.attrs["run_id"] = np.bytes_(run_id.encode())
            file.attrs["step"] = np.int64(step)
            fill(file)
    except ValueError as error:
        if not image.closed:
            raise
        # An image that can't grow is closed, and what h5py meets then hides why.
        raise MemoryError(f"{path} can't be built: out of memory") from error
    data = image.getbuffer()
    payload = data[HEADER_SIZE:]
    if len(data) > MOST_BYTES:
        raise TooMuch(f"{path} would have {len(data):,} bytes; more than {MOST_BYTES:,} can't be read back")
    try:
        audit(Structure(_slices(payload), len(payload), HEADER_SIZE), _slices(payload), len(payload))
    except ValueError as error:
        raise TooMuch(f"{path} can't be saved, as it couldn't be read back: {error}") from error
    data[:HEADER_SIZE] = make_header(payload)
    make_folder(path.parent)
    publish(path, data)


@contextlib.contextmanager
def read_h5(path: Path, *, format: str | None = None) -> Iterator[h5py.File]:
    """Verify an HDF5 file and open it in memory, read-only.

    The file may come from anybody: libhdf5 sees it only after `audit` has let it pass. Inside the block only read:
    what goes wrong there (a missing dataset, an unexpected shape) is taken as the file's fault, see `faults_of`.

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
        It is cut short, altered, of another kind, not one of acaikit's files, or holds what none of them does.
    NewerFormat
        It needs a newer acaikit; the message says which.
    RunError
        It is too large, or the operating system refuses to read it.
    """
    data = read_bytes(path)
    with faults_of(path):
        payload = memoryview(data)[HEADER_SIZE:]
        structure = Structure(_slices(payload), len(payload), HEADER_SIZE)
        check_format(path, structure.attributes, format)
        audit(structure, _slices(payload), len(payload))
        with h5py.File(io.BytesIO(data), "r") as file:
            yield file


def peek_text(path: Path, name: str, *, format: str) -> str:
    """Read one text of a file, as ``"group/name"``, and nothing else: so the file's hash isn't checked.

    libhdf5 isn't used; the structure is audited as in `read_h5`.

    Raises
    ------
    MissingFile, BrokenFile, NewerFormat, RunError
        As `read_h5`.
    """
    with open_source(path) as source, faults_of(path):
        structure = Structure(source.fetch, source.header.length, HEADER_SIZE)
        check_format(path, structure.attributes, format)
        audit(structure, source.fetch, source.header.length)
        found: Group | Dataset = structure.root
        for part in name.split("/"):
            if not isinstance(found, Group):
                raise ValueError(f"it has no {name}")
            found = found.members[part]
        if not isinstance(found, Dataset) or found.itemsize != 1 or found.layout.chunk is not None:
            raise ValueError(f"its {name} isn't a text")
        return source.fetch(found.layout.address, found.layout.size).decode()


@contextlib.contextmanager
def faults_of(path: Path) -> Iterator[None]:
    """Take what goes wrong in the block as the file's fault: it becomes `BrokenFile`.

    A hostile file can make its readers fail in any way that its content can: by depth, size, kind or absence. Want of
    memory alone says nothing about a file, and becomes `RunError`.
    """
    try:
        yield
    except MemoryError as error:
        raise RunError(f"{path} can't be read: out of memory") from error
    except (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise BrokenFile(f"{path} is broken: {str(error) or type(error).__name__}") from error


def check_format(path: Path, attributes: Mapping[str, Attribute], format: str | None = None) -> None:
    """Check what a file's root says of the file.

    Parameters
    ----------
    path : Path
        The file's name, for the message.
    attributes : mapping of str to Attribute
        The root's.
    format : str, optional
        The kind of file that is expected.

    Raises
    ------
    NewerFormat
        It needs a newer acaikit.
    BrokenFile
        It is of another kind.
    ValueError, KeyError
        It lacks an attribute, or one is no text.
    """
    needed = _text(attributes["min_reader_version"])
    if not _RELEASE.fullmatch(needed):
        raise ValueError("it says that it needs an acaikit of no version")
    if _release(needed) > _release(MIN_READER_VERSION):
        raise NewerFormat(f"{path} was written by a newer acaikit: install it with pip install 'acaikit>={needed}'")
    found = _text(attributes["format"])
    if format is not None and found != format:
        raise BrokenFile(f"{path} is of kind {found!r} where {format!r} was expected")
    _text(attributes["run_id"])
    if any(attributes[name].text or attributes[name].shape for name in ("format_version", "step")):
        raise ValueError("its format_version or step isn't a number")


def _text(attribute: Attribute) -> str:
    if not attribute.text:
        raise ValueError("it says what it is in numbers")
    return attribute.data.rstrip(b"\0").decode("ascii")


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _slices(data: bytes | memoryview) -> Fetch:
    return lambda address, size: bytes(data[address : address + size])
