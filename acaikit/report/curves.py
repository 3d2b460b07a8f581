"""Training curves: losses and scores against training examples, a panel each, several runs in one panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from acaikit.errors import UserError
from acaikit.report.charts import chart, log_or_linear, look, name_ends
from acaikit.report.tables import HEALTH

Table = Mapping[str, NDArray[np.float64]]

ACROSS = 3

NONE: Mapping[str, str] = {}


def curves(
    tables: Mapping[str, Table],
    file: Path,
    *,
    title: str,
    notes: Sequence[str] = (),
    scores: Sequence[str] = (),
    remarks: Mapping[str, str] = NONE,
) -> None:
    """Draw a panel for each column. What was not measured is a gap.

    Parameters
    ----------
    tables : mapping of str to mapping of str to ndarray
        By run: ``samples`` (training examples shown, rising) and the columns, all of one length; NaN where nothing was
        measured.
    file : Path
        The PNG, PDF or SVG file to write, replaced if it is there.
    title, notes : str, sequence of str
        The heading, and paragraphs below the figure.
    scores : sequence of str
        Which columns, by name or with a wildcard: ``loss/*``; if empty, all that were ever measured but ``health/*``.
    remarks : mapping of str to str
        By column: a paragraph ahead of the notes where the column is drawn.

    Raises
    ------
    UserError
        If a run has no rows, or no run has such a column, or the file has another ending.
    OSError
        If the file can't be written.
    """
    for name, table in tables.items():
        if not len(table["samples"]):
            raise UserError(f"{name} has no rows of metrics yet: the first is written at Experiment.evaluate_every")
    known = dict.fromkeys(column for table in tables.values() for column in table if column not in ("step", "samples"))
    measured = [c for c in known if any(np.isfinite(table[c]).any() for table in tables.values() if c in table)]
    unasked = [column for column in measured if not column.startswith(HEALTH)]
    columns = [c for c in measured if any(fnmatchcase(c, wanted) for wanted in scores)] if scores else unasked
    if missing := [w for w in scores if not any(fnmatchcase(c, w) for c in measured)]:
        raise UserError(f"no run has measured {' or '.join(missing)}; there are: {', '.join(measured) or 'none'}")
    if not columns:
        raise UserError(f"nothing that was measured in {', '.join(tables)} is finite: there is nothing to draw")
    across = min(ACROSS, len(columns))
    down = ceil(len(columns) / across)
    starred = [f"* {remark}" for column, remark in remarks.items() if column in columns]
    with chart(1.45 * down if across > 1 else 3, file, title, *starred, *notes) as figure:
        panels = figure.subplots(down, across, squeeze=False, sharex=True).flatten()
        for panel in panels[len(columns) :]:
            panel.remove()
        for panel, column in zip(panels, columns, strict=False):
            _draw(panel, column, tables)
            panel.set_title(f"{column} *" if column in remarks else column)
        for panel in panels[max(0, len(columns) - across) : len(columns)]:
            panel.tick_params(labelbottom=True)
            panel.set_xlabel("training examples")
        if len(tables) > 1:
            for panel, column in zip(panels, columns, strict=False):
                name_ends(figure, panel, _ends(column, tables))


def _draw(panel: Axes, column: str, tables: Mapping[str, Table]) -> None:
    for run, table in enumerate(tables.values()):
        if column not in table:
            continue
        x, y = table["samples"], np.where(np.isfinite(table[column]), table[column], np.nan)
        style = look(run)
        panel.plot(x, y, color=style["color"], linestyle=style["linestyle"])
        there = np.pad(np.isfinite(y), 1)
        alone = there[1:-1] & ~there[:-2] & ~there[2:]
        panel.plot(x[alone], y[alone], color=style["color"], linestyle="none", marker=style["marker"], markersize=3)
    log_or_linear(panel, "y", np.concatenate([table[column] for table in tables.values() if column in table]))
    panel.xaxis.set_major_locator(MaxNLocator(4))
    panel.xaxis.set_major_formatter(EngFormatter(sep=""))


def _ends(column: str, tables: Mapping[str, Table]) -> list[tuple[float, str, str]]:
    """Return the last value of each run that has one, with the run's name and colour."""
    found = []
    for run, (name, table) in enumerate(tables.items()):
        values = table.get(column, np.empty(0))
        values = values[np.isfinite(values)]
        if len(values):
            found.append((float(values[-1]), name, look(run)["color"]))
    return found
