"""A table of results laid out for people: which text, with which footnotes, stands where."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from acaikit.artifacts.evaluations import SHORT
from acaikit.report.measured import Group, setting
from acaikit.report.missing import lines
from acaikit.report.paper import FACTOR_SCORES, SCORES, Published, departures
from acaikit.report.paper import row as paper_row
from acaikit.report.progress import number
from acaikit.report.results import Cell, Column, Results
from acaikit.report.sheet import NONE, Entry, Sheet
from acaikit.report.tables import LAST


def lay_out(results: Results) -> Sheet:
    """Return the table of texts; where the paper has numbers, they and the difference stand beside ours."""
    notes: dict[str, int] = {}

    def mark(note: str) -> int:
        return notes.setdefault(note, len(notes) + 1)

    printed = {j for _, j in results.published}
    common = results.shared
    headings, rows, scores = ["experiment"], [], []
    for j, column in enumerate(results.columns):
        scores.append(len(headings))
        headings += [heading(column), *(["paper", "difference"] if j in printed else [])]
    for i, group in enumerate(results.groups):
        row = [Entry(results.called(group))]
        if not group.finished:
            row[0].marks.append(mark("not finished: left out of the means of its experiment"))
        for j, column in enumerate(results.columns):
            cell, theirs = results.cells.get((i, j)), results.published.get((i, j))
            row.append(_ours(column, cell, mark))
            if j in printed:
                row += _beside(column, group, cell, theirs, mark, common)
        rows.append(row)
    remarks = ["all: " + ", ".join(setting(*pair) for pair in common.items())] if common else []
    remarks.append("± is the population standard deviation over the runs, whose number is in brackets")
    if any(cell.within is not None for cell in results.cells.values()):
        remarks.append("within and outside: of the paper's standard deviation")
    remarks += [f"protocol {sha[:SHORT]}: {said(protocol)}" for sha, protocol in results.protocols.items()]
    of = [paper_row(group.recipe) for group in results.groups] if printed else []
    sections = [place for place, (above, below) in enumerate(pairwise(of), 1) if above != below]
    return Sheet(headings, rows, scores, sections, list(notes), [*remarks, *lines(results)])


def heading(column: Column) -> str:
    """Return a column's heading, with its unit in the paper's tables."""
    unit = " (1e-3)" if FACTOR_SCORES.get(column.score, ("", 1.0))[1] != 1.0 else ""
    percent = " (%)" if column.score in SCORES and column.score not in FACTOR_SCORES else ""
    return f"{column.score}{unit}{percent}{column.tag}"


def said(protocol: Mapping[Any, Any]) -> str:
    """Return a protocol's parameters in one line."""
    return ", ".join(f"{key} {_said(value)}" for key, value in sorted(protocol.items()))


def _said(value: Any) -> str:
    match value:
        case {"dataset": name, "digests": digests}:
            return f"{name} ({said({split: digest[:SHORT] for split, digest in digests.items()})})"
        case {"dataset": name, **rest}:
            return f"{name} ({said(rest)})" if rest else name
        case _:
            return str(value)


def _ours(column: Column, cell: Cell | None, mark: Any) -> Entry:
    if cell is None:
        return Entry(NONE)
    shown = Entry(f"{_value(column, cell.mean)}{_spread(column, cell.std)} ({len(cell.values)})")
    if cell.of is not None and cell.of < LAST:
        shown.marks.append(mark(f"median of {cell.of} of {LAST} values"))
    if cell.undefined:
        shown.marks.append(mark(f"undefined in {cell.undefined} of {cell.undefined + len(cell.values)} runs"))
    return shown


def _beside(
    column: Column, group: Group, cell: Cell | None, theirs: Published | None, mark: Any, common: Mapping[str, str]
) -> list[Entry]:
    if theirs is None:
        return [Entry(NONE), Entry(NONE)]
    paper = Entry(f"{_value(column, theirs.mean)}{_spread(column, theirs.std)} ({theirs.n})")
    if group.differences:
        paper.marks.append(mark(f"not the paper's experiment: {_departure(group, common)}"))
    if cell is None or cell.difference is None:
        return [paper, Entry(NONE)]
    verdict = {True: "within", False: "outside", None: ""}[cell.within]
    difference = Entry(f"{_value(column, cell.difference, '+')} {verdict}".strip())
    if theirs.std is None:
        difference.marks.append(mark("the paper gives no standard deviation"))
    if cell.of is None:
        difference.marks.append(mark(f"one evaluation at the end, not the median of the last {LAST} as in the paper"))
    if group.asked:
        difference.marks.append(mark(f"computed in {group.precision}, as was asked for"))
    if departed := departures(column.score, cell.protocol):
        difference.marks.append(mark(f"not the paper's protocol: {', '.join(departed)}"))
    return [paper, difference]


def _departure(group: Group, common: Mapping[str, str]) -> str:
    """Return in what an experiment differs from its recipe; what all have in common is told elsewhere."""
    own = [difference for difference in group.differences if difference.partition(": ")[0] not in common]
    return "; ".join([*(["what all have in common, see below"] if len(own) < len(group.differences) else []), *own])


def _value(column: Column, value: float, sign: str = "") -> str:
    if column.score not in SCORES:
        return number(value)
    unit = FACTOR_SCORES.get(column.score, ("", 1.0))[1]
    return f"{round(value / unit, 2) + 0.0:{sign}.2f}".replace("-", "−")  # + 0.0: no minus before a zero


def _spread(column: Column, std: float | None) -> str:
    return "" if std is None else f" ± {_value(column, std)}"
