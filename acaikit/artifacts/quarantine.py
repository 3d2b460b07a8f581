"""Damaged files are moved aside, never deleted: somebody may still save something from them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np

from acaikit.artifacts.faults import BrokenFile
from acaikit.artifacts.parts import part_numbers, part_path, read_part
from acaikit.artifacts.publish import make_folder, sync_folder


def move_aside(path: Path, folder: Path) -> Path:
    """Move a file into a folder of the same file system, under a name that is free there; return where it is now.

    Raises
    ------
    OSError
        It can't be moved.
    """
    make_folder(folder)
    names = (folder / (path.name if number == 0 else f"{path.name}.{number}") for number in count())
    target = next(name for name in names if not name.exists())
    path.rename(target)
    sync_folder(folder)
    sync_folder(path.parent)
    return target


def move_damaged_parts(folder: Path, quarantine: Path, report: Callable[[str], None]) -> np.ndarray:
    """Leave a metrics table whole: its parts up to the first that is damaged or missing; move those from there on.

    Parameters
    ----------
    folder : Path
        Holds the parts; it needn't exist.
    quarantine : Path
        Where to; on the same file system.
    report : callable
        Takes a line about what was moved.

    Returns
    -------
    numpy.ndarray
        int64, ``(rows,)``: the steps of the rows that are left.

    Raises
    ------
    NewerFormat, RunError
        A part needs a newer acaikit or can't be read.
    OSError
        A part can't be moved.
    """
    parts = [part_path(folder, number) for number in part_numbers(folder)]
    steps = [np.empty(0, np.int64)]
    for number, path in enumerate(parts):
        try:
            if path != part_path(folder, number):
                raise BrokenFile(f"{part_path(folder, number)} is missing, but later parts exist")
            steps.append(read_part(path)[0])
        except BrokenFile as fault:
            # The newest first, so that a crash in between leaves no further gap.
            moved = [move_aside(later, quarantine) for later in reversed(parts[number:])]
            names = ", ".join(file.name for file in reversed(moved))
            before = f"{number} parts" if number > 1 else "part"
            kept = f"the rows of the {before} before it are kept" if number else "no row before it is left"
            report(f"metrics passed over: {fault}; {kept}; moved to {quarantine}: {names}")
            break
    return np.concatenate(steps)
