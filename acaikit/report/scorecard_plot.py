"""The scorecard as a picture: how each path fares between its floor, the counterfeits, and its ceiling."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from acaikit.errors import UserError
from acaikit.evaluators.rows import ROWS, Row, about
from acaikit.report.charts import chart, log_or_linear, look
from acaikit.report.style import STYLE

Scores = Mapping[str, float]
Floats = NDArray[np.float64]

FLOOR = ("cross_dissolve", "abrupt_switch", "collapsed")
CEILING = "perfect"
REFERENCE: dict[str, Any] = {
    "linestyle": "none",
    "color": STYLE["muted"],
    "markerfacecolor": "white",
    "markeredgewidth": 0.9,
}
BETTER = {"higher": " ↑", "lower": " ↓", "one": " → 1", "neither": ""}
ACROSS = 3
FAR = 3
"""A counterfeit is marked at the edge if it lies farther than this many times the others' range from them."""


def scorecard(
    cards: Mapping[str, Scores], file: Path, *, title: str, notes: Sequence[str] = (), paths: Sequence[str] = ()
) -> None:
    """Draw the headline large and every other score small, a line for each path.

    Parameters
    ----------
    cards : mapping of str to mapping of str to float
        By run: scores named ``row/column``, where a column is a path, one of the counterfeits `FLOOR` or the `CEILING`.
        NaN stands for a score that is not defined.
    file : Path
        The PNG, PDF or SVG file to write, replaced if it is there.
    title, notes : str, sequence of str
        The heading, and paragraphs below the figure.
    paths : sequence of str
        The order of the paths; others follow.

    Raises
    ------
    UserError
        If there are no such scores, or the file has another ending.
    OSError
        If it can't be written.
    """
    found = [name.rsplit("/", 1) for card in cards.values() for name in card if "/" in name]
    if not found:
        raise UserError(f"the scorecards of {', '.join(cards)} hold no scores: measure again with acaikit eval")
    rows = sorted({row for row, _ in found}, key=_meaning)
    columns = sorted({column for _, column in found}, key=lambda column: _order(column, paths))
    large, *small = rows
    across = min(ACROSS, max(1, len(small)))
    down = ceil(len(small) / across)
    crowd = np.clip(len(cards) / 2, 1, 2)  # four runs side by side have room; more overlap
    heights = [0.2 * crowd * len(columns) + 0.25, *[0.135 * crowd * len(columns) + 0.35] * down]
    best = "Grey: no better than the best counterfeit. " if large == "headline" else ""
    note = (
        f"{best}Hollow: counterfeits, which no model made, and the perfect path. Arrow: far beyond the edge, at the "
        f"value beside it. No mark: not defined. ↑ higher is better, ↓ lower, → 1 nearer to 1."
    )
    with chart(sum(heights), file, title, note, *notes) as figure:
        grid = figure.add_gridspec(1 + down, across, height_ratios=heights)
        panel = figure.add_subplot(grid[0, :])
        _draw(panel, large, columns, cards, size=5.5)
        panel.set_title(_heading(large), size=9, weight="bold")
        if large == "headline":
            _floor(panel, large, cards)
        if len(cards) > 1:
            marks = [Line2D([], [], markersize=5.5, **_look(run)) for run in range(len(cards))]
            place: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1, 0.98), "borderaxespad": 0}
            panel.legend(marks, [*cards], **place, ncols=6, handletextpad=0.2)
        else:
            _say(panel, large, columns, *cards.values())
        for i, row in enumerate(small):
            panel = figure.add_subplot(grid[1 + i // across, i % across])
            _draw(panel, row, columns, cards, size=3.2)
            panel.set_title(_heading(row))
            panel.tick_params(labelleft=i % across == 0)


def _row(name: str) -> Row | None:
    """Return what a row is, where it is one of ours."""
    try:
        return about(name)
    except KeyError:
        return None


def _meaning(name: str) -> tuple[int, str]:
    """Sort rows as `ROWS` has them, others behind."""
    row = _row(name)
    return len(ROWS) if row is None else [*ROWS.values()].index(row), name


def _heading(name: str) -> str:
    row = _row(name)
    return name.replace("_", " ") + (BETTER[row.better] if row is not None else "")


def _group(column: str) -> int:
    """Return 0 for a path, 1 for a counterfeit, 2 for the perfect path."""
    return 1 if column in FLOOR else 2 * (column == CEILING)


def _order(column: str, paths: Sequence[str]) -> tuple[int, int, str]:
    """Sort by group; paths as in `paths`, and counterfeits as in `FLOOR`."""
    known = [*paths, *FLOOR]
    first = column if column in known else re.sub(r"_\d+$", "", column)  # the second of a name is called NAME_2
    return _group(column), known.index(first) if first in known else len(known), column.lower()


def _draw(panel: Axes, row: str, columns: list[str], cards: Mapping[str, Scores], size: float) -> None:
    values = np.array([[card.get(f"{row}/{column}", np.nan) for column in columns] for card in cards.values()], float)
    values[~np.isfinite(values)] = np.nan
    bounded = _scale(panel, row, values)
    for line, column in enumerate(columns):
        scores, rest = values[:, line], np.delete(values, line, 1)
        if not bounded and _group(column) == 1 and _far(scores, rest):
            _at_edge(panel, line, scores, size, left=np.nanmax(scores) < np.nanmin(rest))
            continue
        for score, beside, style in _marks(scores, made=_group(column) == 0):
            panel.plot(score, line + beside, markersize=size, clip_on=False, zorder=3, **style)
    for cut in np.flatnonzero(np.diff([_group(column) for column in columns])):
        panel.axhline(cut + 0.5, color="#9a9a9a", linewidth=0.6)
    panel.set_yticks(np.arange(len(columns)), [column.replace("_", " ") for column in columns])
    panel.set_ylim(len(columns) - 0.4, -0.6)
    panel.tick_params(left=False)
    panel.spines["left"].set_visible(False)


def _scale(panel: Axes, row: str, values: Floats) -> bool:
    """Choose the axis of the values; return whether none of them can squeeze the others there."""
    known = _row(row)
    finite = values[np.isfinite(values)]
    # Of our rows those that are better the higher are shares, all others have no upper end that is worth a look.
    if known is not None and known.better == "higher" and ((finite >= 0) & (finite <= 1)).all():
        panel.set_xlim(-0.03, 1.03)
        return True
    log_or_linear(panel, "x", finite)
    return panel.get_xscale() == "log"


def _far(scores: Floats, rest: Floats) -> bool:
    """Whether scores lie so far from the rest that these would be squeezed together."""
    if np.isnan(scores).all() or np.isnan(rest).all():
        return False
    gap = max(np.nanmin(scores) - np.nanmax(rest), np.nanmin(rest) - np.nanmax(scores))
    return bool(gap > FAR * (np.nanmax(rest) - np.nanmin(rest)) > 0)


def _at_edge(panel: Axes, line: int, scores: Floats, size: float, *, left: bool) -> None:
    """Point out of the panel with the scores, once if they are the same, written beside."""
    said = " to ".join(dict.fromkeys(f"{score:.3g}" for score in (np.nanmin(scores), np.nanmax(scores))))
    edge, mark, towards, align = (0, "<", 6, "left") if left else (1, ">", -6, "right")
    across = panel.get_yaxis_transform()
    panel.plot(edge, line, transform=across, marker=mark, markersize=size, clip_on=False, zorder=3, **REFERENCE)
    place: dict[str, Any] = {"xycoords": across, "textcoords": "offset points", "ha": align, "va": "center"}
    panel.annotate(said, (edge, line), (towards, 0), size=6, color=STYLE["muted"], **place)


def _marks(scores: Floats, *, made: bool) -> Iterator[tuple[float, float, dict[str, Any]]]:
    """Return each run's score that is defined, how far below its line it stands, and its look.

    A score that no model made is there once where the runs agree on it.
    """
    there = np.flatnonzero(np.isfinite(scores)).tolist()
    if not made and np.allclose(scores[there], scores[there][:1], rtol=1e-6, atol=1e-9):
        for score in scores[there][:1]:
            yield score, 0.0, {"marker": "o", **REFERENCE}
        return
    for run in there:
        yield scores[run], 0.8 * ((run + 0.5) / len(scores) - 0.5), {**({} if made else REFERENCE), **_look(run)}


def _look(run: int) -> dict[str, Any]:
    return {**look(run), "linestyle": "none"}


def _floor(panel: Axes, row: str, cards: Mapping[str, Scores]) -> None:
    """Shade the scores that a counterfeit reaches too."""
    reached = [card.get(f"{row}/{column}", np.nan) for card in cards.values() for column in FLOOR]
    reached = [value for value in reached if np.isfinite(value)]
    if reached:
        low, high = panel.get_xlim()
        panel.axvspan(low, max(reached), color="#ececec", linewidth=0, zorder=0)
        panel.set_xlim(low, high)


def _say(panel: Axes, row: str, columns: list[str], card: Scores) -> None:
    """Write each value beside its mark, or that there is none."""
    for i, column in enumerate(columns):
        value = card.get(f"{row}/{column}", np.nan)
        if np.isfinite(value):
            panel.annotate(f"{value:#.3g}", (value, i), (6, 0), textcoords="offset points", va="center", zorder=4)
        else:
            panel.text(0.01, i, "not defined", color=STYLE["muted"], va="center", transform=panel.get_yaxis_transform())
