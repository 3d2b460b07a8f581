"""What one of acaikit's HDF5 files may hold, judged by its structure, before libhdf5 opens it.

`write_h5` asks the same before it publishes a file, so that whatever was saved can be read.
"""

from __future__ import annotations

import re
import zlib
from math import prod

from acaikit.artifacts.extents import Fetch
from acaikit.artifacts.messages import DEFLATE, FLETCHER32
from acaikit.artifacts.structure import Chunk, Dataset, Group, Structure

MOST_CHUNK_BYTES = 2**24
MOST_UNPACKED = 2**28
MOST_EXPANSION = 64
"""Together the chunks may unpack to 256 MiB and 64 times the file's size, in bytes."""
MOST_ATTRIBUTES = 64
_LONGEST_NAME = 2**13
_NAME = re.compile(r"(?:[\w~ ,:=@+()\[\]-]|%[0-9A-F]{2})(?:[\w.~ ,:=@+()\[\]-]|%[0-9A-F]{2})*", re.ASCII)
"""What `to_name` gives: no path, no '.' and no '..'."""
_CHECKSUM = 4


def audit(structure: Structure, fetch: Fetch, size: int) -> None:
    """Refuse a file that holds what no file of acaikit's holds, or more than it may.

    Parameters
    ----------
    structure : Structure
        What it holds.
    fetch : callable
        Gives the file's bytes at an address, ``fetch(address, size)``.
    size : int
        The file's size in bytes.

    Raises
    ------
    ValueError
        The file is refused; the message says why.
    """
    datasets = _audit_group(structure.root)
    unpacked = sum(len(dataset.chunks) * dataset.chunk_size for dataset in datasets)
    if unpacked > MOST_UNPACKED + MOST_EXPANSION * size:
        raise ValueError(f"its {size:,} bytes unpack to {unpacked:,}")
    for dataset in datasets:
        for chunk in dataset.chunks:
            _audit_chunk(dataset, chunk, fetch)


def _audit_group(group: Group) -> list[Dataset]:
    datasets = []
    _audit_attributes(group)
    for name, member in group.members.items():
        _audit_name(name)
        if isinstance(member, Group):
            datasets += _audit_group(member)
        else:
            _audit_attributes(member)
            if member.chunk_size > MOST_CHUNK_BYTES:
                raise ValueError(f"a chunk of {name!r} has {member.chunk_size:,} bytes")
            datasets.append(member)
    return datasets


def _audit_attributes(item: Group | Dataset) -> None:
    if len(item.attributes) > MOST_ATTRIBUTES:
        raise ValueError(f"something in it has more than {MOST_ATTRIBUTES} attributes")
    for name, value in item.attributes.items():
        _audit_name(name)
        if value.text and prod(value.shape) != 1:
            raise ValueError(f"its attribute {name!r} is several texts")


def _audit_name(name: str) -> None:
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise ValueError(f"it has a name that isn't safe: {name[:80]!r}")


def _audit_chunk(dataset: Dataset, chunk: Chunk, fetch: Fetch) -> None:
    """Unpack a chunk as far as its size: libhdf5 would unpack whatever is in it, and only then look how much it was."""
    size = chunk.size
    for index, kind in reversed(list(enumerate(dataset.filters))):
        if chunk.skipped >> index & 1:
            continue
        if kind == FLETCHER32:
            size -= _CHECKSUM
        if kind == DEFLATE:
            data = fetch(chunk.address, max(size, 0))
            unpacking = zlib.decompressobj()
            try:
                data = unpacking.decompress(data, dataset.chunk_size + _CHECKSUM + 1)
            except zlib.error as error:
                raise ValueError(f"a chunk can't be unpacked: {error}") from error
            if not unpacking.eof:
                raise ValueError("a chunk unpacks to something else than it holds")
            size = len(data)
    if size != dataset.chunk_size:
        raise ValueError("a chunk isn't of its size")
