"""How figures with axes look: light grids, small words, and runs told apart by more than their colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import Any, Literal

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

from acaikit.report import output
from acaikit.report.style import STYLE, points

WIDTH = 7.2
"""Inches: the width of a printed page between its margins."""

DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (2.5, 1)))
MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", "*", ">")
COLOURS = [STYLE["curves"][name] for name in ("blue", "vermilion", "green", "pink", "orange", "sky blue", "black")]

_RC: dict[str, Any] = {
    "font.family": STYLE["font"],
    "font.size": points(STYLE["text"]),
    "figure.dpi": STYLE["dpi"],
    "figure.titlesize": points(STYLE["title"]),
    "figure.titleweight": "bold",
    "text.color": STYLE["ink"],
    "text.parse_math": False,
    "axes.titlesize": 7.8,
    "axes.titlelocation": "left",
    "axes.titlecolor": STYLE["ink"],
    "axes.titlepad": 4,
    "axes.labelsize": points(STYLE["text"]),
    "axes.labelcolor": STYLE["muted"],
    "axes.edgecolor": "#9a9a9a",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": "#e8e8e8",
    "grid.linewidth": 0.6,
    "xtick.color": "#9a9a9a",
    "ytick.color": "#9a9a9a",
    "xtick.labelcolor": STYLE["muted"],
    "ytick.labelcolor": STYLE["muted"],
    "xtick.labelsize": points(STYLE["text"]),
    "ytick.labelsize": points(STYLE["text"]),
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.visible": False,
    "ytick.minor.visible": False,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "legend.fontsize": points(STYLE["text"]),
}


@contextmanager
def chart(height: float, file: Path, title: str, *notes: str) -> Iterator[Figure]:
    """Make a figure of `height` inches below its title, to be filled in the block, and write it to `file`.

    Raises
    ------
    UserError
        If the file's ending is not .png, .pdf or .svg.
    OSError
        If the file can't be written.
    """
    output.ending(file)
    lines = wrap(" ".join(title.split()), 88, break_on_hyphens=False)
    words = [line for note in notes for line in wrap(note, 140, break_on_hyphens=False)]
    with matplotlib.style.context(["default", _RC]):
        layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06, wspace=0.02, hspace=0.04)
        figure = Figure((WIDTH, height + 0.17 * len(lines) + 0.14 * len(words) + 0.1), layout=layout)
        left = 0.08 / WIDTH
        figure.suptitle("\n".join(lines), x=left, horizontalalignment="left")
        if words:
            figure.supxlabel("\n".join(words), x=left, ha="left", size=points(STYLE["text"]), color=STYLE["muted"])
        yield figure
        output.save(figure, file)


def look(run: int) -> dict[str, Any]:
    """Return the colour, dashes and mark of the run of that number, from 0; no two of the first 35 look alike."""
    return {
        "color": COLOURS[run % len(COLOURS)],
        "linestyle": DASHES[run % len(DASHES)],
        "marker": MARKS[run % len(MARKS)],
    }


def log_or_linear(axes: Axes, axis: Literal["x", "y"], values: Sequence[float] | NDArray[np.float64]) -> None:
    """Make the "x" or "y" axis logarithmic where the finite values are positive and span two decades or more."""
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    if finite.size and finite.min() > 0 and finite.max() >= 100 * finite.min():
        axes.set(**{f"{axis}scale": "log"})
        ticks = axes.xaxis if axis == "x" else axes.yaxis
        ticks.set_major_locator(LogLocator(numticks=5))
        ticks.set_major_formatter(StrMethodFormatter("{x:g}"))
        ticks.set_minor_locator(NullLocator())
    else:
        axes.locator_params(axis=axis, nbins=5)


def apart(wanted: Sequence[float], gap: float) -> NDArray[np.float64]:
    """Return the places nearest to those `wanted`, in the sense of least squares, that are `gap` or more apart.

    They keep their order.
    """
    from sklearn.isotonic import isotonic_regression

    order = np.argsort(wanted, kind="stable")
    shifts = gap * np.arange(len(order))
    places = np.empty(len(order))
    places[order] = isotonic_regression(np.asarray(wanted, np.float64)[order] - shifts) + shifts
    return places


def name_ends(figure: Figure, axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write (height, name, colour) at the right of `axes`, each as near to its height as the others allow."""
    if not ends:
        return
    figure.draw_without_rendering()
    heights = [float(axes.transData.transform((0, height))[1]) for height, _, _ in ends]
    line = points(STYLE["text"]) * figure.dpi / 72 * 1.1
    box = axes.get_window_extent()
    for place, (_, name, colour) in zip(apart(heights, line), ends, strict=True):
        above = (place - box.y0) / box.height
        axes.text(1.02, above, name, color=colour, va="center", transform=axes.transAxes)
