"""The trees of HDF5's old format (version 1 B-trees), which hold a group's members and a dataset's chunks.

HDF5 File Format Specification, version 1.1, section III.A.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import unpack, unpack_from

from acaikit.artifacts.extents import Extents

GROUP, CHUNKS = 0, 1
_WIDTH = {GROUP: 32, CHUNKS: 64}
"""The most children of a node, by the kind of tree."""
_HIGHEST = 8
_NOWHERE = 2**64 - 1


@dataclass(slots=True)
class Branch:
    """A child of a node: its address, and the keys on both sides of it."""

    address: int
    low: bytes
    high: bytes


def read_btree(extents: Extents, address: int, kind: int, key_size: int) -> list[Branch]:
    """Return what a tree's lowest nodes lead to, in order.

    Parameters
    ----------
    extents : Extents
        The file's bytes.
    address : int
        The tree's root.
    kind : int
        `GROUP` or `CHUNKS`.
    key_size : int
        The size of a key in bytes.

    Raises
    ------
    ValueError
        It isn't a tree of this kind.
    """
    width = _WIDTH[kind]
    size = 24 + width * 8 + (width + 1) * key_size
    branches = [Branch(address, b"", b"")]
    above = None
    while above != 0:
        level = above
        nodes, branches = branches, []
        for index, node in enumerate(nodes):
            block = extents.block(node.address, size)
            magic, found, above, count, left, right = unpack_from("<4sBBHQQ", block)
            neighbours = (
                nodes[index - 1].address if index else _NOWHERE,
                nodes[index + 1].address if index + 1 < len(nodes) else _NOWHERE,
            )
            if magic != b"TREE" or found != kind or (left, right) != neighbours or count > width:
                raise ValueError("a tree isn't what it says")
            if above > _HIGHEST if level is None else above != level - 1 or not count:
                raise ValueError("a tree has a wrong height")
            step = key_size + 8
            first = len(branches)
            for at in range(24, 24 + count * step, step):
                child = unpack("<Q", block[at + key_size : at + step])[0]
                branches.append(Branch(child, block[at : at + key_size], block[at + step : at + step + key_size]))
            if level is not None and (branches[first].low, branches[-1].high) != (node.low, node.high):
                raise ValueError("the keys of a tree contradict one another")
    return branches
