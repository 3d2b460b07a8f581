"""A strict reader of an HDF5 file's structure, so that a hostile file is refused before libhdf5 sees it.

It knows the one form that `write_h5` gives a file: superblock 0, groups as symbol tables, datasets contiguous or in
chunks (HDF5 File Format Specification, version 1.1). Every address is followed, every length is compared with what is
there, and no byte may belong to two things. All else is refused, sound or not: soft and external links, external and
virtual storage, named types, references. Addresses count from the superblock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from struct import error, unpack, unpack_from

from acaikit.artifacts.btree import CHUNKS, GROUP, read_btree
from acaikit.artifacts.extents import Extents, Fetch
from acaikit.artifacts.messages import (
    UNDEFINED,
    Attribute,
    Layout,
    attribute,
    check_fill,
    dataspace,
    filters,
    layout,
    number_size,
)

MOST_OBJECTS = 2**17
MOST_GROUPS = 2**10
MOST_MESSAGES = 2**20
MOST_CHUNKS = 2**17
DEEPEST = 8
"""Groups within groups."""

_SUPERBLOCK = b"\x89HDF\r\n\x1a\n" + bytes(5) + b"\x08\x08\0" + b"\x04\0\x10\0" + bytes(4)
"""Signature, versions, 8-byte addresses and lengths, and how wide the nodes of a group's tree are."""
_SYMBOLS = 8
"""The most members in a leaf of that tree."""
_END = 1
"""Closes the list of a heap's free blocks."""
_NIL, _SPACE, _TYPE, _FILL, _LAYOUT, _FILTERS, _ATTRIBUTE, _CONTINUATION, _TABLE = 0, 1, 3, 5, 8, 11, 12, 16, 17
_ONCE = {_SPACE, _TYPE, _FILL, _LAYOUT, _FILTERS, _TABLE}


@dataclass(slots=True)
class Chunk:
    """A chunk's place and size in bytes, and a bit for each filter that it went without."""

    address: int
    size: int
    skipped: int


@dataclass(slots=True)
class Dataset:
    """An array of numbers: its attributes, shape, bytes per number, place, filters and chunks."""

    attributes: dict[str, Attribute]
    shape: tuple[int, ...]
    itemsize: int
    layout: Layout
    filters: list[int]
    chunks: list[Chunk]

    @property
    def chunk_size(self) -> int:
        """A chunk's bytes, unpacked; 0 without chunks."""
        return prod(self.layout.chunk) * self.itemsize if self.layout.chunk else 0


@dataclass(slots=True)
class Group:
    """A group: its attributes, its members, and the addresses of its tree and its names."""

    attributes: dict[str, Attribute]
    members: dict[str, Group | Dataset]
    table: tuple[int, ...]


class Structure:
    """What an HDF5 file holds, without its numbers. It is read as far as it is asked for.

    Parameters
    ----------
    fetch : callable
        Gives the bytes at an address, ``fetch(address, size)``.
    size : int
        How many bytes there are.
    base : int
        How many bytes precede them in the file.
    """

    def __init__(self, fetch: Fetch, size: int, base: int) -> None:
        self._extents, self._base = Extents(fetch, size), base
        self._objects = self._groups = self._messages = self._chunks = 0

    @cached_property
    def attributes(self) -> dict[str, Attribute]:
        """The root's attributes.

        Raises
        ------
        ValueError
            The superblock or the root isn't in the one form.
        """
        return self._root[1]

    @cached_property
    def root(self) -> Group:
        """The root, and through it everything.

        Raises
        ------
        ValueError
            The file isn't in the one form, or holds more than it may.
        """
        table, attributes, fields = self._root
        try:
            root = self._object(attributes, fields, 0)
        except (error, IndexError) as fault:
            raise ValueError(f"something in it is too short ({fault})") from fault
        if not isinstance(root, Group) or table not in (None, root.table):
            raise ValueError("its root isn't a group")
        self._extents.check_apart()
        return root

    @cached_property
    def _root(self) -> tuple[tuple[int, ...] | None, dict[str, Attribute], dict[int, bytes]]:
        block = self._extents.block(0, 96)
        base, free, end, driver = unpack_from("<QQQQ", block, 24)
        if block[:24] != _SUPERBLOCK or (base, free, driver) != (self._base, UNDEFINED, UNDEFINED):
            raise ValueError("it isn't HDF5 as acaikit writes it")
        # Whether the end counts from the superblock depends on the version of HDF5.
        if end not in (self._extents.size, self._extents.size + base):
            raise ValueError("it says that it has another length")
        _, address, table = _entry(block[56:])
        try:
            return table, *self._header(address)
        except (error, IndexError) as fault:
            raise ValueError(f"its root is too short ({fault})") from fault

    def _object(self, attributes: dict[str, Attribute], fields: dict[int, bytes], depth: int) -> Group | Dataset:
        self._objects += 1
        if self._objects > MOST_OBJECTS:
            raise ValueError(f"it holds more than {MOST_OBJECTS:,} objects")
        if fields.keys() == {_TABLE}:
            return self._group(attributes, unpack("<QQ", fields[_TABLE]), depth)
        if fields.keys() - {_FILTERS} == {_SPACE, _TYPE, _FILL, _LAYOUT}:
            return self._dataset(attributes, fields)
        raise ValueError("something in it is neither a group nor an array")

    def _header(self, address: int) -> tuple[dict[str, Attribute], dict[int, bytes]]:
        version, count, references, size = unpack("<BxHII4x", self._extents.block(address, 16))
        self._messages += count
        if version != 1 or references != 1 or self._messages > MOST_MESSAGES:
            raise ValueError("an object has several names, or too much to say of itself")
        attributes: dict[str, Attribute] = {}
        fields: dict[int, bytes] = {}
        blocks = [(address + 16, size)]
        for start, length in blocks:
            block = self._extents.block(start, length)
            at = 0
            while at < length:
                kind, size, flags = unpack_from("<HHB", block, at)
                body = block[at + 8 : at + 8 + size]
                at += 8 + size
                count -= 1
                # Flag 1 says that the message never changes; 2 would say that it lies elsewhere.
                if flags > 1 or size % 8 or at > length or count < 0:
                    raise ValueError("a header isn't what it says")
                if kind == _ATTRIBUTE:
                    name, value = attribute(body)
                    if name in attributes:
                        raise ValueError("two attributes have one name")
                    attributes[name] = value
                elif kind == _CONTINUATION:
                    blocks.append(unpack("<QQ", body))
                elif kind in _ONCE and kind not in fields:
                    fields[kind] = body
                elif kind != _NIL:
                    raise ValueError(f"a header says what no file of acaikit's says (message {kind})")
        if count:
            raise ValueError("a header is shorter than it says")
        return attributes, fields

    def _group(self, attributes: dict[str, Attribute], table: tuple[int, ...], depth: int) -> Group:
        self._groups += 1
        if self._groups > MOST_GROUPS or depth > DEEPEST:
            raise ValueError(f"it holds more than {MOST_GROUPS:,} groups, or groups more than {DEEPEST} deep")
        tree, heap = table
        names = self._names(heap)
        members: dict[str, Group | Dataset] = {}
        last = b""
        for leaf in read_btree(self._extents, tree, GROUP, 8):
            block = self._extents.block(leaf.address, 8 + 40 * _SYMBOLS)
            magic, version, count = unpack_from("<4sBxH", block)
            if magic != b"SNOD" or version != 1 or not 1 <= count <= _SYMBOLS or _name(names, leaf.low) < last:
                raise ValueError("a group's table isn't what it says")
            for at in range(8, 8 + 40 * count, 40):
                name, address, child_table = _entry(block[at : at + 40])
                text = _name(names, name)
                # libhdf5 finds a name by bisection, and so sees others where they aren't in order.
                if text <= last:
                    raise ValueError("a group's names aren't in order")
                last = text
                child = self._object(*self._header(address), depth + 1)
                if child_table is not None and not (isinstance(child, Group) and child.table == child_table):
                    raise ValueError("a group contradicts itself")
                members[text.decode("ascii")] = child
            if last > _name(names, leaf.high):
                raise ValueError("a group's names aren't in order")
        return Group(attributes, members, table)

    def _names(self, heap: int) -> bytes:
        magic, size, free, address = unpack("<4s4xQQQ", self._extents.block(heap, 32))
        names = self._extents.block(address, size)
        blocks = set()
        while free != _END:
            if free in blocks or free + 16 > size:
                raise ValueError("a group's names aren't what they say")
            blocks.add(free)
            free, length = unpack_from("<QQ", names, free)
            if length > size:
                raise ValueError("a group's names aren't what they say")
        if magic != b"HEAP":
            raise ValueError("a group has no names")
        return names

    def _dataset(self, attributes: dict[str, Attribute], fields: dict[int, bytes]) -> Dataset:
        shape, itemsize, place = dataspace(fields[_SPACE]), number_size(fields[_TYPE]), layout(fields[_LAYOUT])
        check_fill(fields[_FILL])
        if place.chunk is not None:
            used = filters(fields[_FILTERS]) if _FILTERS in fields else []
            if place.size != itemsize or len(place.chunk) != len(shape) or not shape or 0 in place.chunk:
                raise ValueError("an array's chunks don't fit it")
            return Dataset(attributes, shape, itemsize, place, used, list(self._chunks_of(shape, place, len(used))))
        if _FILTERS in fields or place.size != prod(shape) * itemsize:
            raise ValueError("an array's shape isn't that of its bytes")
        if place.size:
            self._extents.take(place.address, place.size)
        else:
            _check_nowhere(place)
        return Dataset(attributes, shape, itemsize, place, [], [])

    def _chunks_of(self, shape: tuple[int, ...], place: Layout, filters: int) -> Iterator[Chunk]:
        steps = place.chunk or ()
        expected = prod(-(-extent // step) for extent, step in zip(shape, steps, strict=True))
        self._chunks += expected
        if self._chunks > MOST_CHUNKS:
            raise ValueError(f"it holds more than {MOST_CHUNKS:,} chunks")
        if not expected:
            _check_nowhere(place)
            return
        places = product(*(range(0, extent, step) for extent, step in zip(shape, steps, strict=True)))
        branches = read_btree(self._extents, place.address, CHUNKS, 16 + 8 * len(shape))
        if len(branches) != expected:
            raise ValueError("an array lacks chunks, or has too many")
        for branch, at in zip(branches, places, strict=True):
            size, skipped, *offsets = unpack(f"<II{len(shape) + 1}Q", branch.low)
            if (*at, 0) != tuple(offsets) or skipped >> filters:
                raise ValueError("an array's chunk is out of place")
            self._extents.take(branch.address, size)
            yield Chunk(branch.address, size, skipped)


def _entry(block: bytes) -> tuple[bytes, int, tuple[int, ...] | None]:
    """Return a link's name as a place in the heap, the object's address, and a group's table where it is repeated."""
    address, kind, _, tree, heap = unpack_from("<QIIQQ", block, 8)
    if kind > 1:
        raise ValueError("a link in it leads elsewhere")
    return block[:8], address, (tree, heap) if kind else None


def _check_nowhere(place: Layout) -> None:
    if place.address != UNDEFINED:
        raise ValueError("an empty array is somewhere")


def _name(names: bytes, place: bytes) -> bytes:
    start = int.from_bytes(place, "little")
    return names[start : names.index(b"\0", start)]
