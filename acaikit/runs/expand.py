"""What names several runs: a quoted glob, or the prefix of several seeds."""

from __future__ import annotations

import re
from glob import glob, has_magic
from pathlib import Path

from acaikit.artifacts.rundir import RunDir
from acaikit.errors import RunError


def expand(text: str) -> list[Path]:
    """Return the run directories that `text` names: one itself, those of a glob, or the seeds of a prefix.

    ``runs/lines_acai_64`` is the prefix of ``runs/lines_acai_64-s0``, ``runs/lines_acai_64-s1``, ...

    Raises
    ------
    RunError
        If there is none.
    """
    path = Path(text)
    if path.is_dir():
        return [path]
    if has_magic(text):
        fitting = map(Path, sorted(glob(text, recursive=True)))  # noqa: PTH207 (Path.glob refuses "**x")
        found, wanted = [other for other in fitting if RunDir(other).exists()], "fits"
    else:
        seeds = re.compile(re.escape(path.name) + r"-s(\d+)")
        folder = path.parent if path.parent.is_dir() else None
        numbered = [(int(m[1]), f) for f in (folder.iterdir() if folder else ()) if (m := seeds.fullmatch(f.name))]
        found, wanted = [f for _, f in sorted(numbered) if RunDir(f).exists()], f"is called {text} or {text}-s0, ..."
    if not found:
        raise RunError(f"{text} is no run: no run directory {wanted}")
    return found
