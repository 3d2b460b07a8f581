"""Tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.table import Table

from acaikit.report.progress import number
from acaikit.types import Scores

LAST = 20
"""A run's score is the median of its last 20 values (paper, section 4)."""


def reported(metrics: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, Scores]:
    """Return each score's last value and the median of its last 20, from a metrics table.

    ``n`` is the number of values behind the median: a score can be undefined (NaN) for a while, or always.
    """
    result: dict[str, Scores] = {}
    for name, column in metrics.items():
        if "/" in name and not name.startswith("loss/") and len(column):
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
        median = number(row["median"]) + (f" (of {row['n']:.0f})" if row["n"] < LAST else "")
        table.add_row(name, number(row["last"]), median)
    return table


def evaluation_table(scores: Mapping[str, Scores]) -> Table:
    """Return a table of freshly measured scores, by evaluator."""
    table = Table("evaluator", "score")
    table.add_column("value", justify="right")
    for evaluator, found in scores.items():
        for name, value in found.items():
            table.add_row(evaluator, name, number(value))
    return table
