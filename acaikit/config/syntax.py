"""The syntax of recipes: gin's own parser, and what a recipe's statements are. The only file that imports gin.

gin-config's evaluator is not used: it keeps one global state, lets misspelled scopes, macros and unread bindings pass,
runs ``import`` lines, and wraps exceptions in proxies that can't be pickled. Its grammar and its rules of scoping are
kept exactly.
"""

from __future__ import annotations

import io
import re
import tokenize
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from acaikit.config.hints import hint
from acaikit.config.pieces import Piece, misplaced, pieces, shown
from acaikit.errors import UserError

try:
    from gin import config_parser
except ImportError as error:
    # In a checkout, `import gin` finds the folder of recipes as an empty namespace where the library is missing.
    raise UserError("acaikit needs the library gin-config: pip install gin-config==0.5.0") from error


OVERRIDE = "--set "


@dataclass(frozen=True)
class Where:
    """A line of a file, as ``file:line``; a binding from the command line has no line."""

    file: str
    line: int

    def __str__(self) -> str:
        return self.file if self.file.startswith(OVERRIDE) else f"{shown(self.file)}:{self.line}"


@dataclass(frozen=True)
class Reference:
    """``@scope/Name()``, or ``@scope/Name`` where `call` is False."""

    name: str
    scope: str
    call: bool


@dataclass(frozen=True)
class Macro:
    """``%name``."""

    name: str


@dataclass(frozen=True)
class Binding:
    """``scope/name.parameter = value``; a macro's definition has name "" and its own name as parameter."""

    scope: str
    name: str
    parameter: str
    value: Any
    where: Where

    @property
    def key(self) -> tuple[str, str, str]:
        """What the binding sets."""
        return self.scope, self.name, self.parameter

    @property
    def subject(self) -> str:
        """What the binding is about: a part's name, or a macro as ``%name``."""
        return self.name or f"%{self.parameter}"

    @property
    def label(self) -> str:
        """What the binding sets, as people write it: the part's name without distribution and kind."""
        return label(self.scope, self.bare_name, self.parameter)

    @property
    def bare_name(self) -> str:
        """The part's name without distribution and kind."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True)
class Include:
    """``include 'file'``."""

    file: str
    where: Where


@dataclass(frozen=True)
class Broken:
    """A statement that can't be read.

    Attributes
    ----------
    where : Where
        Where it goes wrong.
    why : str or None
        What is wrong; None in a block whose first line says it.
    text : str
        The statement.
    binding : Binding or None
        What it binds, to None, if that much can be read.
    """

    where: Where
    why: str | None
    text: str
    binding: Binding | None = None

    @property
    def bound(self) -> set[str]:
        """The names of what it may set, or may have swallowed, if a bracket is not closed."""
        first, _, more = self.text.partition("\n")
        return _names(more) | (_names(first.partition("=")[0]) if self.binding is None else set())

    @property
    def mentioned(self) -> set[str]:
        """The names of what it may refer to."""
        left, equals, right = self.text.partition("=")
        return _names(right if equals else left)


Statement = Binding | Include | Broken


def label(scope: str, name: str, parameter: str) -> str:
    """Return the left-hand side of a binding as it is written."""
    return f"{scope}/{name}.{parameter}" if scope else f"{name}.{parameter}" if name else parameter


def _names(text: str) -> set[str]:
    return set(re.findall(r"[^\W\d]\w*", text))


class _Delegate(config_parser.ParserDelegate):
    def configurable_reference(self, scoped_name: str, evaluate: bool) -> Reference:
        scope, _, name = scoped_name.rpartition("/")
        return Reference(name, scope, evaluate)

    def macro(self, name: str) -> Macro:
        return Macro(name)


@dataclass
class _Block:
    """What the lines that are indented below `piece` are about; `header` is None where that can't be read."""

    piece: Piece
    header: str | None
    begun: bool = False


_IMPORT = re.compile(r"\s*(?:import|from)[ \t]+[\w.]")
_EXAMPLE = "\n _ = 0"
"""What makes a block of a block's first line."""


def parse(text: str, file: str, first: int = 1) -> list[Statement]:
    """Parse the text of a recipe.

    Parameters
    ----------
    text : str
        The recipe.
    file : str
        How to call the file in messages.
    first : int
        The number of the text's first line.

    Returns
    -------
    list of Binding, Include or Broken
        One per statement; ``import`` is among those that can't be read.
    """
    found: list[Statement] = []
    levels = [0]
    blocks = [_Block(Piece(0, "", None), "")]
    for piece in pieces(re.sub(r"\r\n?", "\n", text), first):
        while len(blocks) > 1 and piece.indentation <= blocks[-1].piece.indentation:
            found += _empty(blocks.pop(), file)
        block, inside = blocks[-1], len(blocks) > 1
        above = f"{block.header}\n" if inside else ""
        fault = piece.fault or misplaced(piece, levels, inside and block.begun)
        block.begun = True
        header = None
        if block.header is None and not piece.fault:
            found.append(Broken(Where(file, piece.line), None, piece.text))
        elif fault:
            found.append(_broken(piece, file, above, *fault))
        elif piece.is_header and not inside:
            statement = _read(replace(piece, text=piece.text.strip()), file, below=_EXAMPLE)
            if isinstance(statement, Broken):
                found.append(statement)
            else:
                header = piece.text.strip()
        else:
            found.append(_read(piece, file, above))
        if piece.is_header:
            blocks.append(_Block(piece, header))
    for block in blocks[1:]:
        found += _empty(block, file)
    return found


def _empty(block: _Block, file: str) -> list[Broken]:
    if block.begun or block.header is None:
        return []
    why = f"`{shown(block.piece.text)}` has no lines below it: each is indented, and says parameter = value"
    return [Broken(Where(file, block.piece.line), why, block.piece.text)]


def _read(piece: Piece, file: str, above: str = "", below: str = "") -> Statement:
    """Let gin read a statement, with what must stand above or below it."""
    if _IMPORT.match(piece.text):
        why = "a recipe must not run code; parts are found by name once they are installed (acaikit list)"
        return _broken(piece, file, above, piece.line, f"`{shown(piece.text)}` is refused: {why}")
    try:
        statement = _gin(above + piece.text + below)
    except TypeError:
        why = f"`{shown(piece.text)}` can't be read: a list or a dict can't be a dict's key"
        return _broken(piece, file, above, piece.line, why)
    except (SyntaxError, tokenize.TokenError) as error:
        return _unreadable(piece, file, above, error)
    if isinstance(statement, config_parser.IncludeStatement):
        return Include(statement.filename, Where(file, piece.line))
    if statement.scope and not statement.arg_name:
        name = f"{statement.scope}/{statement.selector}"
        why = f"{name} names a part but no parameter: write {name}.parameter = ..."
        return Broken(Where(file, piece.line), why, piece.text)
    return _binding(statement, Where(file, piece.line))


def _gin(text: str) -> Any:
    """Return the last statement of a text that is one, or a block."""
    make: Any = config_parser.ConfigParser
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about backslashes, by Python itself, in some versions
        *_, statement = make(io.StringIO(text), _Delegate())
    return statement


def _binding(statement: Any, where: Where) -> Binding:
    if statement.arg_name:
        return Binding(statement.scope, statement.selector, statement.arg_name, statement.value, where)
    return Binding("", "", statement.selector, statement.value, where)


def _unreadable(piece: Piece, file: str, above: str, error: SyntaxError | tokenize.TokenError) -> Broken:
    """Say which line of a statement can't be read, and how to write it; in our words, as Python's vary."""
    row = error.args[1][0] if isinstance(error, tokenize.TokenError) else error.args[1][1]
    lines = piece.text.rstrip().split("\n")
    row = min(max(row - 1 - above.count("\n"), 0), len(lines) - 1)
    token = re.search(r"Failed to parse token '(.*)'$", str(error.args[0]), re.DOTALL)
    content = shown(lines[row])
    why = hint(content, token[1] if token else "")
    return _broken(piece, file, above, piece.line + row, f"`{content}` can't be read: {why}")


def _broken(piece: Piece, file: str, above: str, line: int, why: str) -> Broken:
    left, equals, _ = piece.text.partition("=")
    binding = None
    if equals:
        with suppress(SyntaxError, tokenize.TokenError):
            statement = _gin(f"{above}{left}= None")
            binding = _binding(statement, Where(file, piece.line))
    return Broken(Where(file, line), why, piece.text, binding)
