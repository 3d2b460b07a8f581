"""What an HDF5 object header says, message by message, in the one form that acaikit's files have.

Everything is as the HDF5 File Format Specification, version 1.1, lays it out (section IV.A.2), little-endian. A message
in another form, sound or not, is refused with a ValueError; a message that is too short gives a `struct.error`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from struct import pack, unpack, unpack_from

UNDEFINED = 2**64 - 1
"""The address of what isn't there, and the largest extent of an axis that may grow."""

SHUFFLE, DEFLATE, FLETCHER32 = 2, 1, 3
_VALUES = {SHUFFLE: 1, DEFLATE: 1, FLETCHER32: 0}
"""The filters, and how many numbers each is given."""


def _padded(data: bytes) -> bytes:
    return data.ljust(-len(data) % 8 + len(data), b"\0")


def _integer(order: int, size: int, signed: int) -> bytes:
    return pack("<BBBBIHH", 0x10, order | signed << 3, 0, 0, size, 0, 8 * size)


def _float(order: int, size: int, exponent: int, mantissa: int) -> bytes:
    bits = (0, 8 * size, mantissa, exponent, 0, mantissa, 2 ** (exponent - 1) - 1)
    return pack("<BBBBIHHBBBBI", 0x11, 0x20 | order, 8 * size - 1, 0, size, *bits)


_BOOL = pack("<BBBBI", 0x18, 2, 0, 0, 1) + _integer(0, 1, 1) + b"FALSE\0\0\0TRUE\0\0\0\0\0\1"

_NUMBERS = {
    **{_padded(_integer(order, size, sign)): size for order in (0, 1) for size in (1, 2, 4, 8) for sign in (0, 1)},
    **{_padded(_float(order, *f)): f[0] for order in (0, 1) for f in ((2, 5, 10), (4, 8, 23), (8, 11, 52))},
    _padded(_BOOL): 1,
}
"""The size in bytes of each type of number, by its whole encoding: every other type is refused."""

_TEXT = pack("<BBBB", 0x13, 1, 0, 0)
"""Fixed-length ASCII, padded with NULs."""


@dataclass(slots=True)
class Attribute:
    """An attribute: whether it is a text, its shape, and its bytes."""

    text: bool
    shape: tuple[int, ...]
    data: bytes


@dataclass(slots=True)
class Layout:
    """Where a dataset's bytes are: at `address` itself, or in chunks that the tree at `address` leads to.

    `size` is that of what lies at `address`, in bytes; `chunk` is a chunk's shape, None where there are no chunks.
    """

    address: int
    size: int
    chunk: tuple[int, ...] | None


def number_size(body: bytes) -> int:
    """Return the size in bytes of a dataset's type, which must be one of numbers."""
    size = _NUMBERS.get(body)
    if size is None:
        raise ValueError("a dataset isn't of plain numbers")
    return size


def dataspace(body: bytes) -> tuple[int, ...]:
    """Return a shape."""
    version, rank, growing = unpack_from("<BBB", body)
    if version != 1 or rank > 32 or growing > 1 or len(body) != 8 + 8 * rank * (1 + growing):
        raise ValueError("a dataspace isn't a plain shape")
    sizes = unpack_from(f"<{rank * (1 + growing)}Q", body, 8)
    shape = sizes[:rank]
    if any(size > most for size, most in zip(shape, sizes[rank:], strict=False)):
        raise ValueError("a shape is larger than its largest")
    return shape


def check_fill(body: bytes) -> None:
    """Refuse a fill value other than the usual 0."""
    version, allocated, written, defined, size = unpack("<BBBBI", body)
    if (version, defined, size) != (2, 1, 0) or allocated not in (1, 2, 3) or written > 2:
        raise ValueError("a dataset has a fill value of its own")


def layout(body: bytes) -> Layout:
    """Return where a dataset's bytes are: contiguous or in chunks, in this file."""
    version, kind = unpack_from("<BB", body)
    if (version, kind) == (3, 1):
        address, size = unpack_from("<QQ", body, 2)
        return Layout(address, size, None)
    if (version, kind) == (3, 2):
        rank, address = unpack_from("<BQ", body, 2)
        *chunk, size = unpack_from(f"<{rank}I", body, 11)
        return Layout(address, size, tuple(chunk))
    raise ValueError("a dataset is neither contiguous nor in chunks")


def filters(body: bytes) -> list[int]:
    """Return the filters that chunks go through, in the order in which they were applied."""
    version, count = unpack_from("<BB", body)
    found: list[int] = []
    at = 8
    for _ in range(count):
        kind, name, flags, values = unpack_from("<HHHH", body, at)
        if kind not in _VALUES or kind in found or values != _VALUES[kind] or name not in (0, 8, 16) or flags > 1:
            raise ValueError(f"filter {kind} isn't one of deflate, shuffle and fletcher32, each once")
        found.append(kind)
        at += 8 + name + 8 * values
    if version != 1 or at > len(body):
        raise ValueError("a list of filters isn't what it says")
    return found


def attribute(body: bytes) -> tuple[str, Attribute]:
    """Return an attribute and its name."""
    version, *sizes = unpack_from("<BxHHH", body)
    parts = []
    at = 8
    for size in sizes:
        parts.append(body[at : at + -(-size // 8) * 8])
        at += len(parts[-1])
    name, kind, space = parts
    if version != 1 or not name.endswith(b"\0") or b"\0" in name[: sizes[0] - 1] or name[sizes[0] - 1 :].strip(b"\0"):
        raise ValueError("an attribute isn't what it says")
    text = kind[:4] == _TEXT and len(kind) == 8
    width = unpack("<I", kind[4:])[0] if text else _NUMBERS.get(kind)
    if not width:
        raise ValueError("an attribute is neither a number nor a short text")
    shape = dataspace(space)
    size = prod(shape) * width
    if len(body) != at + size + -size % 8:
        raise ValueError("an attribute's value isn't as long as it says")
    return name[: sizes[0] - 1].decode("ascii"), Attribute(text, shape, body[at : at + size])
