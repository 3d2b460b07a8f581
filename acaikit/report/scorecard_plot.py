"""The scorecard as a picture: how each path fares between its floor, the counterfeits, and its ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from acaikit.errors import UserError
from acaikit.report.charts import chart, log_or_linear, look
from acaikit.report.style import STYLE

Scores = Mapping[str, float]

FLOOR = ("cross_dissolve", "abrupt_switch", "collapsed")
CEILING = ("perfect",)
FIRST = ("headline", "ends", "evenness", "middle")
ACROSS = 3


def scorecard(cards: Mapping[str, Scores], file: Path, *, title: str, notes: Sequence[str] = ()) -> None:
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
    rows = sorted({row for row, _ in found}, key=lambda row: (row not in FIRST, _place(row, FIRST), row))
    columns = sorted({column for _, column in found}, key=_order)
    large, *small = rows
    across = min(ACROSS, max(1, len(small)))
    down = ceil(len(small) / across)
    line = 0.135
    heights = [0.2 * len(columns) + 0.25, *[line * len(columns) + 0.35] * down]
    best = "Grey: no better than the best counterfeit. " if large == "headline" else ""
    note = f"{best}Hollow: counterfeits, which no model made, and the perfect path. No mark: not defined."
    with chart(sum(heights), file, title, note, *notes) as figure:
        grid = figure.add_gridspec(1 + down, across, height_ratios=heights)
        panel = figure.add_subplot(grid[0, :])
        _draw(panel, large, columns, cards, size=5.5)
        panel.set_title(large.replace("_", " "), size=9, weight="bold")
        if large == "headline":
            _floor(panel, large, cards)
        if len(cards) > 1:
            panel.legend(loc="lower right", bbox_to_anchor=(1, 0.98), borderaxespad=0, ncols=6, handletextpad=0.2)
        else:
            _say(panel, large, columns, *cards.values())
        for i, row in enumerate(small):
            panel = figure.add_subplot(grid[1 + i // across, i % across])
            _draw(panel, row, columns, cards, size=3.2)
            panel.set_title(row.replace("_", " "))
            panel.tick_params(labelleft=i % across == 0)


def _place(name: str, among: tuple[str, ...]) -> int:
    return among.index(name) if name in among else len(among)


def _order(column: str) -> tuple[int, int, str]:
    """Sort paths first, then the counterfeits, then the perfect one."""
    group = (column in FLOOR) + 2 * (column in CEILING)
    return group, _place(column, FLOOR), column.lower()


def _draw(panel: Axes, row: str, columns: list[str], cards: Mapping[str, Scores], size: float) -> None:
    lines = np.arange(len(columns), dtype=float)
    for run, (name, card) in enumerate(cards.items()):
        style = look(run)
        values = np.array([card.get(f"{row}/{column}", np.nan) for column in columns], dtype=float)
        values[~np.isfinite(values)] = np.nan
        beside = lines + 0.5 * ((run + 0.5) / len(cards) - 0.5)
        made = np.array([_order(column)[0] == 0 for column in columns])
        for some, fill in ((made, style["color"]), (~made, "white")):
            panel.plot(
                values[some],
                beside[some],
                linestyle="none",
                marker=style["marker"],
                markersize=size,
                color=style["color"],
                markerfacecolor=fill,
                markeredgewidth=0.9,
                label=name if some is made else None,
                clip_on=False,
                zorder=3,
            )
    groups = np.array([_order(column)[0] for column in columns])
    for cut in np.flatnonzero(np.diff(groups)):
        panel.axhline(cut + 0.5, color="#9a9a9a", linewidth=0.6)
    panel.set_yticks(lines, [column.replace("_", " ") for column in columns])
    panel.set_ylim(len(columns) - 0.4, -0.6)
    panel.tick_params(left=False)
    panel.spines["left"].set_visible(False)
    drawn = [card.get(f"{row}/{column}", np.nan) for card in cards.values() for column in columns]
    log_or_linear(panel, "x", drawn)
    if all(0 <= value <= 1 for value in drawn if np.isfinite(value)):
        panel.set(xscale="linear", xlim=(-0.03, 1.03))


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
