"""What is wrong with a run directory, by a look at its ``run.h5`` alone, without which nothing in it can be used."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from acaikit.artifacts.h5file import read_h5
from acaikit.artifacts.rundir import RunDir
from acaikit.errors import RunError


def fault(run: Path) -> str:
    """Return why a run directory can't be read; nothing where it can, or where there is none."""
    file = RunDir(run).run_file
    try:
        found = file.stat()
        _check(file, found.st_ino, found.st_mtime_ns)
    except RunError as error:
        return str(error)
    except OSError:
        pass
    return ""


@lru_cache(maxsize=4096)
def _check(file: Path, inode: int, changed: int) -> None:
    """Read a ``run.h5``, known by its inode and time: it is written once, and looked at every second."""
    with read_h5(file, format="run"):
        pass
