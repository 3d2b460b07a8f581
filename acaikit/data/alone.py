"""One process at a time: what two want to download or prepare is made once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from acaikit.progress import console


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Run the block, which makes the file `path`, while no other process is in such a block for the same file.

    Its folder must exist. The lock goes with the process that holds it, however that ends.

    Raises
    ------
    OSError
        The lock file can't be created.
    """
    # Anyone may lock what anyone may prepare: a data folder is often shared by a group.
    lock = FileLock(path.with_name(f".{path.name}.lock"), mode=0o666)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        console.print(
            f"another process is making {path}: waiting for it",
            markup=False,
            emoji=False,
            highlight=False,
            soft_wrap=True,
        )
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
