"""A table of results as people read it: headings, rows and numbered footnotes, in one of three forms."""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from rich.table import Table
from rich.text import Text

from acaikit.artifacts.evaluations import SHORT
from acaikit.config import build, read_bindings
from acaikit.config.resolve import write
from acaikit.errors import UserError
from acaikit.registry import MANY, Part, find
from acaikit.report.measured import MEASURED_ON, REPORTED, Group, setting
from acaikit.report.paper import FACTOR_SCORES, SCORES, Published, departures, parameters
from acaikit.report.paper import row as paper_row
from acaikit.report.progress import number
from acaikit.report.results import Cell, Column, Missing, Results
from acaikit.report.tables import LAST

NONE = "–"
NAME = 16
"""Characters of a line that names an experiment or a score, at least."""
NAMES = 0.4
"""The share of a terminal that the names of experiments have at most."""
EDGE = 3
"""Characters between two columns."""
_LATEX = {
    "\\": r"\textbackslash{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
}
_MARKDOWN = "\\`*_[]<>|"


@dataclass
class Entry:
    """A text of the table, and the numbers of its footnotes."""

    text: str
    marks: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Sheet:
    """A table of texts.

    Attributes
    ----------
    headings : list of str
        One for each column.
    rows : list of list of Entry
        The cells.
    scores : list of int
        The columns that begin with a score; those after it belong to it.
    sections : list of int
        The rows that a rule stands above.
    footnotes : list of str
        Numbered from 1.
    remarks : list of str
        What holds for the whole table: protocols, and what is missing.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[Entry]]
    scores: Sequence[int]
    sections: Sequence[int]
    footnotes: Sequence[str]
    remarks: Sequence[str]

    def rich(self, width: int = 80) -> list[Table]:
        """Return the table for a terminal of `width` characters, in pieces that fit, without what stands below it."""
        tables = []
        for columns in self._pieces(width):
            table = Table()
            table.add_column(self.headings[0], overflow="fold", min_width=NAME)
            for column in columns:
                table.add_column(Text(_folded(self.headings[column])), justify="right", overflow="fold")
            for place, row in enumerate(self.rows):
                if place in self.sections:
                    table.add_section()
                if any(row[column].text != NONE for column in columns if column in self.scores):
                    table.add_row(*(Text(row[column].text + _brackets(row[column].marks)) for column in [0, *columns]))
            if table.rows:
                tables.append(table)
        return tables

    def _pieces(self, width: int) -> list[list[int]]:
        across = width - EDGE // 2 - min(max(self._width(0), NAME + EDGE), int(NAMES * width))
        pieces: list[list[int]] = [[]]
        for first, end in pairwise([*self.scores, len(self.headings)]):
            if pieces[-1] and sum(map(self._width, [*pieces[-1], *range(first, end)])) > across:
                pieces.append([])
            pieces[-1] += range(first, end)
        return pieces

    def _width(self, column: int) -> int:
        entries = (row[column] for row in self.rows)
        texts = [*_folded(self.headings[column]).split("\n"), *(e.text + _brackets(e.marks) for e in entries)]
        return max(map(len, texts)) + EDGE

    def below(self) -> list[str]:
        """Return the lines below the table: footnotes, then remarks."""
        return [*(f"[{mark}] {note}" for mark, note in enumerate(self.footnotes, 1)), *self.remarks]

    def markdown(self) -> str:
        """Return the table as GitHub's Markdown."""
        rule = ["---", *["---:"] * (len(self.headings) - 1)]
        rows = [[_markdown(cell.text + _brackets(cell.marks)) for cell in row] for row in self.rows]
        table = [list(map(_markdown, self.headings)), rule, *rows]
        lines = ["| " + " | ".join(row) + " |" for row in table]
        return "\n".join([*lines, "", *(f"- {_markdown(line)}" for line in self.below())])

    def latex(self) -> str:
        r"""Return the table as a LaTeX ``tabular``; it needs ``\usepackage{booktabs}``."""
        rows = [[escape(cell.text) + _superscript(cell.marks) for cell in row] for row in self.rows]
        lines = [
            r"% needs \usepackage{booktabs}",
            rf"\begin{{tabular}}{{l{'r' * (len(self.headings) - 1)}}}",
            r"\toprule",
            " & ".join(map(escape, self.headings)) + r" \\",
            r"\midrule",
            *(r"\midrule " * (i in self.sections) + " & ".join(row) + r" \\" for i, row in enumerate(rows)),
            r"\bottomrule",
            r"\end{tabular}",
        ]
        notes = [f"{_superscript([mark])} {escape(note)}" for mark, note in enumerate(self.footnotes, 1)]
        return "\n".join([*lines, *(rf"\par\footnotesize {note}" for note in [*notes, *map(escape, self.remarks)])])


def _folded(heading: str) -> str:
    """Return a score's name with a line for each of its parts, where it is long."""
    return heading.replace("/", "/\n") if len(heading) > NAME else heading


def escape(text: str) -> str:
    """Return text as LaTeX sets it."""
    return "".join(_LATEX.get(character, character) for character in text)


def _markdown(text: str) -> str:
    return "".join(f"\\{c}" if c in _MARKDOWN else c for c in text)


def _brackets(marks: Sequence[int]) -> str:
    return "".join(f" [{mark}]" for mark in marks)


def _superscript(marks: Sequence[int]) -> str:
    return rf"\textsuperscript{{{','.join(map(str, marks))}}}" if marks else ""


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
        row = [Entry(group.called(common))]
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
    return Sheet(headings, rows, scores, sections, list(notes), [*remarks, *_missing(results.missing, common)])


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


def command(missing: Missing) -> str | None:
    """Return the command that measures what is missing as the others were; None where none can.

    None can where the evaluator is not installed or has another version now, or its parameters can't be written as
    bindings.
    """
    words = _command(missing)
    return None if words is None else shlex.join([*words, *(str(run.path) for run in missing.runs)])


def _command(missing: Missing) -> tuple[str, ...] | None:
    """Return the words of the command, without the runs."""
    protocol = missing.protocol or parameters(missing.column.score)
    wanted = json.loads(
        json.dumps({key: value for key, value in protocol.items() if key not in (*MEASURED_ON, *REPORTED)})
    )
    try:
        part = find(wanted.get("evaluator", ""), "evaluators")
    except UserError:
        return None
    usual = _protocol(part, []) or {}
    # A run's own setting stands above the default, so it has to be said even where the default is wanted.
    own = {parameter for run in missing.runs for _, name, parameter in run.config.bindings if name == part.full_name}
    settings = [
        f"{part.name}.{key}={write(value)}" for key, value in wanted.items() if key in own or usual.get(key) != value
    ]
    if _protocol(part, settings) != wanted:
        return None
    options = [word for setting in settings for word in ("--set", setting)]
    return ("acaikit", "eval", "--with", part.name, *options)


def _protocol(part: Part, settings: Sequence[str]) -> dict[str, Any] | None:
    """Return the protocol of an evaluator with these settings, as JSON values; None where they don't make one."""
    try:
        protocol: dict[str, Any] = json.loads(json.dumps(build(read_bindings(settings), part.full_name).protocol))
    except UserError:
        return None
    return protocol


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


def _missing(missing: Sequence[Missing], common: Container[str]) -> list[str]:
    """Return a line for each way of measuring: what is missing, of which experiments, and what measures it."""
    ways: dict[Any, list[Missing]] = defaultdict(list)
    for one in missing:
        ways[one.column.score.partition("/")[0], _command(one)].append(one)
    lines = []
    for (_, words), some in ways.items():
        runs = list(dict.fromkeys(str(run.path) for one in some for run in one.runs))
        which = runs if len(runs) <= MANY else ["RUN_DIR", "..."]
        scores, names = (
            [one.column.score + one.column.tag for one in some],
            [one.group.called(common) for one in some],
        )
        how = f"; to measure it: {shlex.join([*words, *which])}" if words else ""
        lines.append(f"missing: {_several(scores)} of {_several(names)}{how}")
    return lines


def _several(texts: Sequence[str]) -> str:
    first, *more = dict.fromkeys(texts)
    return f"{first}{f' and {len(more)} more' if more else ''}"
