"""Want of memory, told as what it is: a size in the recipe that is too large for the machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from acaikit.errors import UserError

_WANTING = re.compile(r"(?:unable|tried) to allocate [\d.]+ \w+|Storage size calculation overflowed", re.IGNORECASE)
"""What numpy and torch say of it; torch raises a plain RuntimeError."""


@contextmanager
def telling_of_memory(what: str, remedy: str) -> Iterator[None]:
    """Turn an allocation that fails in the block, or in the function that this decorates, into a `UserError`.

    Parameters
    ----------
    what : str
        What takes the memory; the message begins with it.
    remedy : str
        What would have worked.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        said = _WANTING.search(str(error))
        if said is None and not isinstance(error, MemoryError):
            raise
        more = f" ({said[0]})" if said else ""
        raise UserError(f"{what} takes more memory than there is{more}: {remedy}") from error


def check_memory(what: str, size: int, remedy: str) -> None:
    """Raise `UserError` where `size` bytes are more than the machine has, which would only be found out slowly."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > there:
        raise UserError(f"{what} takes {size:,} bytes, more than the {there:,} that this machine has: {remedy}")
