"""Tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from acaikit.artifacts.evaluations import SHORT
from acaikit.report.progress import number
from acaikit.types import Scores

LAST = 20
"""A run's score is the median of its last 20 values (paper, section 4)."""
LOSSES, HEALTH = "loss/", "health/"
"""How columns of a metrics table begin that are no scores: what is minimised, and signs of how well training goes."""
ACROSS = 5
"""Columns of a table at most: a terminal of 80 characters has no room for more."""


def reported(
    metrics: Mapping[str, np.ndarray[Any, Any]], aside: tuple[str, ...] = (LOSSES, HEALTH)
) -> dict[str, Scores]:
    """Return each score's last value and the median of its last 20, from a metrics table.

    ``n`` is the number of values behind the median: a score can be undefined (NaN) for a while, or always. Columns that
    begin with one of `aside` are left out.
    """
    result: dict[str, Scores] = {}
    for name, column in metrics.items():
        if "/" in name and not name.startswith(aside) and len(column):
            defined = column[-LAST:][~np.isnan(column[-LAST:])]
            median = float(np.median(defined)) if len(defined) else math.nan
            result[name] = {"last": float(column[-1]), "median": median, "n": len(defined)}
    return result


def scores_table(metrics: Mapping[str, np.ndarray[Any, Any]]) -> Table:
    """Return the table that a run ends with."""
    table = Table("score", title="Scores", title_justify="left", title_style="bold")
    table.add_column("last", justify="right")
    table.add_column(f"median of last {LAST}", justify="right")
    for name, row in reported(metrics).items():
        table.add_row(name, number(row["last"]), _median(row))
    return table


def evaluation_tables(
    key: str, scores: Scores, protocol: str, in_training: Mapping[str, Scores] | None = None
) -> list[Table]:
    """Return tables of what an evaluator has just measured.

    Parameters
    ----------
    key : str
        The evaluator's.
    scores : dict of str to float
        Names with a slash, "ROW/COLUMN", are laid out as rows and columns; the others are a list.
    protocol : str
        The protocol's sha256.
    in_training : mapping, optional
        What `reported` returns: where it has a score too, its median stands beside.
    """
    title = Text(f"{key} · protocol {protocol[:SHORT]}")
    flat = {name: value for name, value in scores.items() if "/" not in name}
    tables = [_list(key, flat, title, in_training or {})] if flat else []
    cells = {tuple(name.split("/", 1)): value for name, value in scores.items() if "/" in name}
    rows, columns = (list(dict.fromkeys(cell[axis] for cell in cells)) for axis in (0, 1))
    for first in range(0, len(columns), ACROSS):
        shown = columns[first : first + ACROSS]
        table = _table(title)
        for column in shown:
            table.add_column(column.replace("_", " "), justify="right")
        for row in rows:
            values = [cells.get((row, column)) for column in shown]
            if any(value is not None for value in values):
                table.add_row(row, *("" if value is None else number(value) for value in values))
        tables.append(table)
    return tables


def _list(key: str, scores: Scores, title: Text, in_training: Mapping[str, Scores]) -> Table:
    medians = {name: in_training[f"{key}/{name}"] for name in scores if f"{key}/{name}" in in_training}
    table = _table(title)
    table.add_column("value", justify="right")
    if medians:
        table.add_column(f"in training, median of last {LAST}", justify="right")
    for name, value in scores.items():
        table.add_row(name, number(value), *([_median(medians[name]) if name in medians else ""] if medians else []))
    return table


def _table(title: Text) -> Table:
    return Table("score", title=title, title_justify="left", title_style="bold", min_width=title.cell_len)


def _median(row: Scores) -> str:
    return number(row["median"]) + (f" (of {row['n']:.0f})" if row["n"] < LAST else "")
