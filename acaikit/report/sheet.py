"""A table of results as people read it: headings, rows and numbered footnotes, in one of three forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from rich.table import Table
from rich.text import Text

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
