"""A run's metrics: a table that only grows, in parts that are each rewritten whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from acaikit.artifacts.parts import list_parts, part_path, read_part, write_part
from acaikit.artifacts.publish import sync_folder
from acaikit.artifacts.text import to_name

SEAL_ROWS = 65_536
SEAL_BYTES = 2**23
"""A part that holds so many rows, or 8 MiB of numbers, is sealed: each row rewrites the part that isn't."""


class Metrics:
    """The writer of a metrics table; there may be one at a time.

    Parameters
    ----------
    folder : Path
        Holds the parts; created at the first row.
    run_id : str
        The run that the table belongs to.

    Raises
    ------
    BrokenFile
        The last part is damaged.
    """

    def __init__(self, folder: Path, run_id: str) -> None:
        self.folder = folder
        self.run_id = run_id
        self._last_step = -1
        self._begin(0)
        self._load()

    def append(self, step: int, row: Mapping[str, float]) -> None:
        """Add a row; when this returns it is safe on disk.

        Parameters
        ----------
        step : int
            Not below 0 or the step of the row before.
        row : mapping of str to float
            The metrics measured. One not seen before gets a column, NaN in the earlier rows; one left out is NaN here.

        Raises
        ------
        ValueError
            The step goes back, or a metric is called 'step' or has no usable name.
        TooMuch
            The row has more metrics than a file may hold.
        OSError
            The row can't be written. The rows before it are intact and this one isn't in the table.
        """
        if step < max(self._last_step, 0):
            raise ValueError(f"a row of step {step} can't follow one of step {self._last_step}: truncate first")
        if "step" in row:
            raise ValueError("a metric can't be called 'step'")
        values = {title: float(value) for title, value in row.items() if to_name(title)}
        if self._rows >= SEAL_ROWS or self._rows * 8 * (1 + len(self._columns)) >= SEAL_BYTES:
            self._begin(self._part + 1)
        if self._rows == len(self._steps):
            self._grow()
        for title in values.keys() - self._columns.keys():
            self._columns[title] = np.full(len(self._steps), np.nan)
        for title, column in self._columns.items():
            column[self._rows] = values.get(title, np.nan)
        self._steps[self._rows] = step
        self._publish(self._rows + 1)
        self._rows += 1
        self._last_step = step

    def read(self) -> dict[str, np.ndarray]:
        """Read the whole table; see `read_metrics`."""
        return read_metrics(self.folder)

    def truncate(self, after_step: int) -> None:
        """Drop the rows of later steps, as a resume from `after_step` needs.

        Raises
        ------
        BrokenFile
            A part is damaged.
        OSError
            A part can't be rewritten or removed.
        """
        self._load()
        while self._last_step > after_step:
            kept = int(np.searchsorted(self._steps[: self._rows], after_step, side="right"))
            if kept:
                self._publish(kept)
            else:
                # The newest first, so that a crash in between leaves no gap.
                part_path(self.folder, self._part).unlink()
                sync_folder(self.folder)
            self._load()

    def _begin(self, part: int) -> None:
        self._part = part
        self._rows = 0
        self._steps = np.empty(0, np.int64)
        self._columns: dict[str, np.ndarray] = {}

    def _grow(self) -> None:
        room = (0, max(len(self._steps), 64))
        self._steps = np.pad(self._steps, room)
        self._columns = {title: np.pad(c, room, constant_values=np.nan) for title, c in self._columns.items()}

    def _load(self) -> None:
        parts = list_parts(self.folder)
        self._begin(max(len(parts) - 1, 0))
        self._last_step = -1
        if not parts:
            return
        self._steps, self._columns = read_part(parts[-1])
        self._rows = len(self._steps)
        self._last_step = int(self._steps[-1])

    def _publish(self, rows: int) -> None:
        columns = {title: column[:rows] for title, column in self._columns.items()}
        write_part(part_path(self.folder, self._part), self._steps[:rows], columns, run_id=self.run_id)


def read_metrics(folder: Path) -> dict[str, np.ndarray]:
    """Read a metrics table; safe while another process appends to it.

    Returns
    -------
    dict of str to numpy.ndarray
        ``step``, int64 ``(rows,)``, first; then the metrics by name, float64 ``(rows,)``, NaN where not measured.

    Raises
    ------
    RunError
        A part is missing, broken or too new; see `read_h5`.
    """
    parts = [read_part(path) for path in list_parts(folder)]
    table = {"step": np.concatenate([np.empty(0, np.int64), *(steps for steps, _ in parts)])}
    for title in sorted({title for _, columns in parts for title in columns}):
        table[title] = np.concatenate([columns.get(title, np.full(len(steps), np.nan)) for steps, columns in parts])
    return table
