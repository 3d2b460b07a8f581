"""The bytes of a file that somebody else may have made: a regular file, of the length that it claims, not too large."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from acaikit.artifacts.faults import BrokenFile, MissingFile
from acaikit.artifacts.header import HEADER_SIZE, Header, parse_header
from acaikit.errors import RunError

MOST_BYTES = 2**33
"""The largest file that is read: 8 GiB."""


class Source:
    """An open file whose header fits its length. Nothing but the header has been read.

    Attributes
    ----------
    header : Header
        The length and the hash of what follows the header.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BrokenFile(f"{path} isn't a regular file")
        if status.st_size > MOST_BYTES:
            raise RunError(f"{path} has {status.st_size:,} bytes; more than {MOST_BYTES:,} aren't read")
        self._path, self._descriptor = path, descriptor
        self.header: Header = parse_header(path, os.pread(descriptor, HEADER_SIZE, 0), status.st_size)

    def fetch(self, address: int, size: int) -> bytes:
        """Return bytes that follow the header, the first at address 0.

        Raises
        ------
        BrokenFile
            The file has become shorter.
        """
        pieces = []
        while size:
            # One call gives 2 GiB at most.
            pieces.append(os.pread(self._descriptor, size, HEADER_SIZE + address))
            if not pieces[-1]:
                raise BrokenFile(f"{self._path} became shorter while it was read")
            address += len(pieces[-1])
            size -= len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


@contextlib.contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open one of acaikit's HDF5 files for reading its bytes.

    Raises
    ------
    MissingFile
        There is no such file.
    BrokenFile
        It is no regular file (a symbolic link isn't followed), not one of acaikit's, or cut short.
    RunError
        It is too large, which says nothing about its content, or the operating system refuses to read it.
    """
    try:
        # O_NONBLOCK: opening a FIFO would otherwise wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            yield Source(path, descriptor)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise MissingFile(f"{path} does not exist") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise BrokenFile(f"{path} is a symbolic link, not a regular file") from error
        raise RunError(f"{path} can't be read: {error.strerror}") from error


def read_bytes(path: Path) -> bytes:
    """Read a whole file, header included, and check what follows the header against its hash.

    Raises
    ------
    MissingFile, BrokenFile, RunError
        As `open_source`; and BrokenFile where the hash is another one.
    """
    with open_source(path) as source:
        data = source.fetch(-HEADER_SIZE, HEADER_SIZE + source.header.length)
    source.header.check(path, memoryview(data)[HEADER_SIZE:])
    return data
