"""The 512 bytes in front of every HDF5 file: how long the rest is, and its hash.

HDF5 calls them a user block and skips them, so h5py and h5dump open the file as it is. They hold three ASCII lines
(magic with the header's own version, length, sha256) padded with spaces. This form never changes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from acaikit.artifacts.faults import BrokenFile

HEADER_SIZE = 512
_MAGIC = b"acaikit-h5 1\n"


def make_header(payload: bytes | memoryview) -> bytes:
    """Give the 512 bytes that belong in front of a payload."""
    text = _MAGIC + f"length {len(payload)}\nsha256 {hashlib.sha256(payload).hexdigest()}\n".encode()
    return text.ljust(HEADER_SIZE - 1) + b"\n"


def verify(path: Path, data: bytes) -> None:
    """Check a file's bytes against its header; every byte counts, the padding too.

    Parameters
    ----------
    path : Path
        The file's name, for the message.
    data : bytes
        The whole file.

    Raises
    ------
    BrokenFile
        It has no header, is cut short, or was altered.
    """
    if not data.startswith(_MAGIC):
        raise BrokenFile(f"{path} is broken: it doesn't start as acaikit's HDF5 files do")
    payload = memoryview(data)[HEADER_SIZE:]
    header = make_header(payload)
    if data[:HEADER_SIZE] == header:
        return
    if data[:HEADER_SIZE].splitlines()[1:2] != header.splitlines()[1:2]:
        raise BrokenFile(f"{path} is broken: {len(payload)} bytes follow its header, which names another length")
    raise BrokenFile(f"{path} is broken: its content doesn't match the sha256 in its header")
