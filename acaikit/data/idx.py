"""The IDX file format of MNIST and its relatives (http://yann.lecun.com/exdb/mnist): magic, sizes, bytes."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from hashlib import md5
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acaikit.errors import DataError

REMEDY = "delete it and get it again"


def read(
    file: Path, shape: tuple[int, ...], digest: str | None = None, foreign: Mapping[str, str] | None = None
) -> NDArray[np.uint8]:
    """Return the uint8 array ``[shape]`` in an IDX file, packed with gzip or not.

    Parameters
    ----------
    file : Path
        The file; gzip is recognised by its first bytes.
    shape : tuple of int
        What the file must hold.
    digest : str, optional
        The MD5 that the unpacked content must have.
    foreign : mapping of str to str
        MD5s of other sets' contents that it must not have, and what those sets are called.

    Raises
    ------
    DataError
        If the file is truncated, has another magic number or shape, or other content.
    """
    raw = file.read_bytes()
    # Some browsers unpack gzip as they download, and keep the name.
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, OSError, zlib.error) as error:
            raise DataError(f"{file} is not a whole gzip file ({error}): {REMEDY}") from error
    header = 4 + 4 * len(shape)
    magic = bytes([0, 0, 8, len(shape)])
    if raw[:4] != magic:
        raise DataError(
            f"{file} starts with {raw[:4].hex(' ') or 'nothing'}, not {magic.hex(' ')}: it is no IDX file of "
            f"{len(shape)} axes: {REMEDY}"
        )
    if len(raw) < header:
        raise DataError(f"{file} holds {len(raw)} bytes in all, less than its header of {header}: {REMEDY}")
    sizes = tuple(int(n) for n in np.frombuffer(raw[4:header], ">u4"))
    if sizes != shape:
        raise DataError(f"{file} says that it holds {list(sizes)}, but {list(shape)} is expected: {REMEDY}")
    if len(raw) != header + prod(shape):
        raise DataError(f"{file} holds {len(raw) - header} bytes of data, but {prod(shape)} are expected: {REMEDY}")
    found = md5(raw, usedforsecurity=False).hexdigest()
    if foreign and found in foreign:
        raise DataError(
            f"{file} is {foreign[found]}'s file of that name: put it in that set's folder, and get this set's"
        )
    if digest is not None and found != digest:
        raise DataError(f"{file} has the right size but not the published content (MD5 {digest}): {REMEDY}")
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)
