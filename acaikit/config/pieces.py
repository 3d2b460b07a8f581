"""From the text of a recipe to the texts of its statements, before gin reads any of them.

Each statement is read by itself, so that one that can't be read leaves the others alone. Brackets and texts that are
never closed are found here and not by Python's tokenizer, which stops at other places in each version.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

NESTED = 100
"""Brackets inside one another, at most."""
SHOWN = 160
"""Characters of a line that a message shows at most."""

_TOKEN = re.compile(
    r"(?P<comment>#[^\n]*)"
    r"|(?P<formatted>(?<!\w)[rRbB]?[fFtT][rRbB]?(?=['\"]))"
    r"|(?P<text>'''(?:[^\\]|\\.)*?'''"
    r'|"""(?:[^\\]|\\.)*?""")'
    r"|(?P<endless>'''"
    r'|""")'
    r"|(?P<short>'(?:[^'\\\n]|\\.)*'"
    r'|"(?:[^"\\\n]|\\.)*")'
    r"|(?P<unclosed>['\"][^\n]*)"
    r"|(?P<open>[(\[{])|(?P<close>[)\]}])"
    r"|(?P<joined>\\\n)"
    r"|(?P<end>\n)",
    re.DOTALL,
)
_CLOSES = {")": "(", "]": "[", "}": "{"}
_BEGINS = re.compile(
    r"^[ \t\f]*(?:(?!(?:True|False|None)\b)[^\W\d][\w./]*[ \t]*(?:=(?!=)|:[ \t]*(?:#.*)?$)"
    r"|(?:include|import|from)[ \t]+['\"\w])",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Piece:
    """The text of one statement.

    Attributes
    ----------
    line : int
        The line it begins in.
    text : str
        The statement without its comments, with the indentation it has.
    fault : (int, str) or None
        The line and the reason, where the text can be no statement.
    """

    line: int
    text: str
    fault: tuple[int, str] | None

    @property
    def indentation(self) -> int:
        """The column of its first character, as Python counts it."""
        blank = self.text[: len(self.text) - len(self.text.lstrip(" \t\f"))]
        return len(blank.rpartition("\f")[2].expandtabs(8))

    @property
    def is_header(self) -> bool:
        """Whether it seems to be a block's first line."""
        return self.text.rstrip().endswith(":")


def shown(line: str) -> str:
    """Return a line as a message shows it: stripped, cut where it is very long, control characters written out."""
    line = line.strip()
    cut = line[:SHOWN] + " ..." * (len(line) > SHOWN)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


def pieces(text: str, first: int = 1) -> Iterator[Piece]:
    """Yield each statement of a recipe whose first line has the number `first`.

    A bracket that is not closed ends, at the latest, before the next line that begins a statement; so does a text in
    three quotes that is never closed.
    """
    scanner = _Scanner(text, first)
    begin = 0
    while begin < len(text):
        piece, begin = scanner.piece(begin)
        if piece.text.strip(" \t\f\n") or piece.fault:
            yield piece


def misplaced(piece: Piece, levels: list[int], in_block: bool) -> tuple[int, str] | None:
    """Return the line and what is wrong with a statement's indentation, if anything is.

    Parameters
    ----------
    piece : Piece
        The statement.
    levels : list of int
        The columns at which the lines around it begin, from 0 on; brought up to date.
    in_block : bool
        Whether the line above it belongs to the same block.
    """
    column = piece.indentation
    deeper = column > levels[-1]
    while column < levels[-1]:
        levels.pop()
    between = column > levels[-1] and not deeper
    if column > levels[-1]:
        levels.append(column)
    if between or (deeper and in_block):
        return piece.line, f"`{shown(piece.text)}` is indented in another way than the lines above it"
    return None


class _Scanner:
    def __init__(self, text: str, first: int) -> None:
        self.text, self.first = text, first
        self.starts = [0, *(end.end() for end in re.finditer("\n", text))]

    def line(self, at: int) -> int:
        return bisect_right(self.starts, at) - 1 + self.first

    def content(self, at: int) -> str:
        begin = self.starts[self.line(at) - self.first]
        return shown(self.text[begin : begin + 10 * SHOWN].partition("\n")[0])

    def piece(self, begin: int) -> tuple[Piece, int]:
        """Return the piece that begins at `begin`, and where it ends."""
        fault: tuple[int, str] | None = None
        opened: list[int] = []
        code: list[str] = []
        at = begin
        while at < len(self.text):
            token = _TOKEN.search(self.text, at)
            start, end, kind = (*token.span(), token.lastgroup) if token else (len(self.text), len(self.text), None)
            code.append(self.text[at : start if kind == "comment" else end])
            at, said = end, None
            guilty = start
            match kind:
                case "end":
                    if opened and _BEGINS.match(self.text, at):
                        guilty, until = opened[0], f"when `{self.content(at)}` begins in line {self.line(at)}"
                        said = f"the bracket {self.text[guilty]} in `{self.content(guilty)}` is not closed {until}"
                        opened.clear()
                case "open":
                    opened.append(start)
                    if len(opened) > NESTED:
                        said = f"more than {NESTED} brackets are open in `{self.content(start)}`"
                case "close":
                    if not opened:
                        said = f"the bracket {self.text[start]} in `{self.content(start)}` closes none"
                    elif self.text[guilty := opened.pop()] != _CLOSES[self.text[start]]:
                        other = self.text[start]
                        said = f"the bracket {self.text[guilty]} in `{self.content(guilty)}` is closed by {other}"
                case "joined" if not "".join(code).strip(" \t\f\n\\"):
                    said = "`\\` stands in a line of its own: it joins what is before it with the next line"
                case "formatted":
                    said = (
                        f"`{self.content(start)}` is refused: write the text itself, without the {self.text[start:end]}"
                    )
                case "unclosed":
                    said = (
                        f"the text in `{self.content(start)}` is never closed: it ends with a second {self.text[start]}"
                    )
                case "endless":
                    said = f"the text in `{self.content(start)}` is never closed: it ends with {self.text[start:end]}"
                    after = _BEGINS.search(self.text, self.text.find("\n", at) + 1 or len(self.text))
                    at = after.start() if after else len(self.text)
                    code.append(self.text[end:at])
                    opened.clear()
            if said and fault is None:
                fault = self.line(guilty), said
            if not opened and kind in ("end", "endless"):
                break
        if opened and fault is None:
            guilty = opened[0]
            fault = self.line(guilty), f"the bracket {self.text[guilty]} in `{self.content(guilty)}` is never closed"
        found = "".join(code)
        if "\0" in found and fault is None:
            fault = self.line(begin), f"`{self.content(begin)}` holds a NUL character: this is no text"
        return Piece(self.line(begin), found, fault), at
