"""The bytes of a file's structure, each of which may belong to one thing only."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

Fetch = Callable[[int, int], bytes]
"""Gives the bytes at an address: ``fetch(address, size)``."""


class Extents:
    """Hands out the bytes of a file and remembers which.

    As nothing may be handed out twice, there are no cycles and no two links to one object, and reading a structure
    costs no more than its file is long.

    Parameters
    ----------
    fetch : callable
        Gives the bytes at an address, ``fetch(address, size)``.
    size : int
        How many bytes there are.
    """

    def __init__(self, fetch: Fetch, size: int) -> None:
        self.size = size
        self._fetch = fetch
        self._taken: list[tuple[int, int]] = []
        self._sum = 0

    def take(self, address: int, size: int) -> None:
        """Note that bytes belong to something.

        Raises
        ------
        ValueError
            They aren't there, or more bytes have been taken than there are.
        """
        self._sum += size
        if size <= 0 or address + size > self.size or self._sum > self.size:
            raise ValueError("something in it is beyond its end, or in two places")
        self._taken.append((address, size))

    def block(self, address: int, size: int) -> bytes:
        """Take bytes, and return them; raise ValueError as `take` does."""
        self.take(address, size)
        return self._fetch(address, size)

    def check_apart(self) -> None:
        """Raise ValueError where a byte was taken twice."""
        self._taken.sort()
        if any(start + size > following for (start, size), (following, _) in pairwise(self._taken)):
            raise ValueError("two things in it share bytes")
