"""The files of a metrics table: ``part-000000.h5``, ``part-000001.h5``, ... each a piece of the table's rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from acaikit.artifacts.arrays import read_numpy
from acaikit.artifacts.faults import BrokenFile
from acaikit.artifacts.h5file import read_h5, write_h5
from acaikit.artifacts.text import to_name, to_title

_NAME = re.compile(r"part-(\d{6,})\.h5")


def part_path(folder: Path, part: int) -> Path:
    """Give the file of a part."""
    return folder / f"part-{part:06d}.h5"


def part_numbers(folder: Path) -> list[int]:
    """List the numbers of the parts that are there, rising; none where there is no folder."""
    if not folder.is_dir():
        return []
    names = {path.name for path in folder.iterdir()}
    numbers = {int(match[1]) for name in names if (match := _NAME.fullmatch(name))}
    return sorted(number for number in numbers if part_path(folder, number).name in names)


def list_parts(folder: Path) -> list[Path]:
    """List the parts in order; none where there is no folder.

    Raises
    ------
    BrokenFile
        One is missing between others.
    """
    found = part_numbers(folder)
    for part, number in enumerate(found):
        if part != number:
            raise BrokenFile(f"{part_path(folder, part)} is missing, but later parts exist")
    return [part_path(folder, part) for part in found]


def write_part(path: Path, steps: np.ndarray, columns: Mapping[str, np.ndarray], *, run_id: str) -> None:
    """Publish a part: the dataset ``step`` and, in the group ``columns``, one dataset per metric, named by `to_name`.

    Parameters
    ----------
    path : Path
        The part's file.
    steps : numpy.ndarray
        int64, ``(rows,)``, never falling; at least one row.
    columns : mapping of str to numpy.ndarray
        float64, ``(rows,)`` each.
    run_id : str
        The run that the table belongs to.

    Raises
    ------
    OSError
        The file can't be written; the previous one is intact.
    """
    chunks = (min(max(len(steps), 64), 1024),)

    def fill(file: h5py.Group) -> None:
        file.create_dataset("step", data=steps, chunks=chunks, maxshape=(None,))
        group = file.create_group("columns")
        for title, column in sorted(columns.items()):
            group.create_dataset(to_name(title), data=column, chunks=chunks, maxshape=(None,))

    write_h5(path, fill, format="metrics", run_id=run_id, step=int(steps[-1]))


def read_part(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Read a part.

    Returns
    -------
    tuple of numpy.ndarray and dict
        The steps, int64 ``(rows,)``, and the columns, float64 ``(rows,)`` each.

    Raises
    ------
    RunError
        The file is missing, broken or too new; see `read_h5`.
    """
    with read_h5(path, format="metrics") as file:
        return rows_in(file)


def rows_in(file: h5py.Group) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Read the rows of an open part, as `read_part` does.

    Raises
    ------
    KeyError, ValueError
        It holds no rows. `read_h5` turns these into `BrokenFile`.
    """
    steps = read_numpy(file["step"])
    columns = {to_title(name): read_numpy(column) for name, column in file["columns"].items()}
    if steps.dtype != np.int64 or steps.ndim != 1 or not len(steps) or (np.diff(steps) < 0).any():
        raise ValueError("its steps aren't rising integers")
    if any(column.dtype != np.float64 or column.shape != steps.shape for column in columns.values()):
        raise ValueError("its columns aren't floats of one length")
    return steps, columns
