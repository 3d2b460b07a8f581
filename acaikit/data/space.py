"""Room on a disk: looked for before something large is written to it, and missed in the middle."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from acaikit.errors import DataError

ELSEWHERE = "make room, or name a folder on another disk with --data-dir or ACAIKIT_DATA"


def told(size: float) -> str:
    """Return a number of bytes as people say it: ``1.3 GB``."""
    units = ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.0f} {units[0]}" if units[0] == "bytes" or size >= 100 else f"{size:.1f} {units[0]}"


def room(folder: Path, size: int, what: str) -> None:
    """Raise `DataError` unless `folder`, or its nearest parent that exists, has room for `size` more bytes."""
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < size:
        raise DataError(f"{what} needs {told(size)} in {folder}, where {told(free)} are free: {ELSEWHERE}")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an `OSError` of the block, which makes `path`, into a `DataError`.

    Raises
    ------
    DataError
        If the disk (or the user's share of it) is full, or the operating system refuses something else.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(f"the disk became full while {path} was written: {ELSEWHERE}") from error
        raise DataError(f"{path} can't be made: {error}") from error
