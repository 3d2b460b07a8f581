"""The 512 bytes in front of every HDF5 file: how long the rest is, and its hash.

HDF5 calls them a user block and skips them, so h5py and h5dump open the file as it is. They hold three ASCII lines
(magic with the header's own version, length, sha256) padded with spaces. This form never changes.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from acaikit.artifacts.faults import BrokenFile

HEADER_SIZE = 512
_MAGIC = b"acaikit-h5 1\n"
_FORM = re.compile(_MAGIC + rb"length (0|[1-9]\d{0,18})\nsha256 ([0-9a-f]{64})\n *\n")


@dataclass(frozen=True)
class Header:
    """What a header says of the bytes that follow it: their number, and their sha256 as hexadecimal digits."""

    length: int
    sha256: str

    def check(self, path: Path, payload: bytes | memoryview) -> None:
        """Raise `BrokenFile` unless the payload has this hash."""
        if hashlib.sha256(payload).hexdigest() != self.sha256:
            raise BrokenFile(f"{path} is broken: its content doesn't match the sha256 in its header")


def make_header(payload: bytes | memoryview) -> bytes:
    """Give the 512 bytes that belong in front of a payload."""
    text = _MAGIC + f"length {len(payload)}\nsha256 {hashlib.sha256(payload).hexdigest()}\n".encode()
    return text.ljust(HEADER_SIZE - 1) + b"\n"


def parse_header(path: Path, head: bytes, size: int) -> Header:
    """Read a header; every byte counts, the padding too.

    Parameters
    ----------
    path : Path
        The file's name, for the message.
    head : bytes
        The file's first 512 bytes.
    size : int
        The whole file's length in bytes.

    Raises
    ------
    BrokenFile
        It is no header, or names another length than the file has.
    """
    if not head.startswith(_MAGIC):
        raise BrokenFile(f"{path} is broken: it doesn't start as acaikit's HDF5 files do")
    found = _FORM.fullmatch(head)
    if found is None or len(head) != HEADER_SIZE:
        raise BrokenFile(f"{path} is broken: its header was altered or cut short")
    if int(found[1]) != size - HEADER_SIZE:
        raise BrokenFile(
            f"{path} is broken: {size - HEADER_SIZE:,} bytes follow its header, which names another length: "
            f"{int(found[1]):,}"
        )
    return Header(int(found[1]), found[2].decode())
