"""The syntax of recipes: gin's own parser, and what a recipe's statements are. The only file that imports gin.

gin-config's evaluator is not used: it keeps one global state, lets misspelled scopes, macros and unread bindings pass,
runs ``import`` lines, and wraps exceptions in proxies that can't be pickled. Its grammar and its rules of scoping are
kept exactly.
"""

from __future__ import annotations

import io
import re
import tokenize
from dataclasses import dataclass
from typing import Any

from acaikit.errors import ConfigError, UserError

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
        return self.file if self.file.startswith(OVERRIDE) else f"{self.file}:{self.line}"


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
        return label(self.scope, self.name.rpartition(".")[2], self.parameter)


@dataclass(frozen=True)
class Include:
    """``include 'file'``."""

    file: str
    where: Where


Statement = Binding | Include


def label(scope: str, name: str, parameter: str) -> str:
    """Return the left-hand side of a binding as it is written."""
    return f"{scope}/{name}.{parameter}" if scope else f"{name}.{parameter}" if name else parameter


class _Delegate(config_parser.ParserDelegate):
    def configurable_reference(self, scoped_name: str, evaluate: bool) -> Reference:
        scope, _, name = scoped_name.rpartition("/")
        return Reference(name, scope, evaluate)

    def macro(self, name: str) -> Macro:
        return Macro(name)


def parse(text: str, file: str) -> list[Statement]:
    """Parse the text of a recipe.

    Parameters
    ----------
    text : str
        The recipe.
    file : str
        How to call the file in messages.

    Raises
    ------
    ConfigError
        If the text is no recipe, or holds an ``import``; with the file and the line.
    """
    statements: list[Statement] = []
    make: Any = config_parser.ConfigParser
    parser: Any = None
    try:
        parser = make(io.StringIO(text), _Delegate())
        for statement in parser:
            where = Where(file, statement.location.line_num)
            if isinstance(statement, config_parser.ImportStatement):
                said = statement.location.line_content.strip()
                why = "a recipe must not run code; parts are found by name once they are installed (acaikit list)"
                raise ConfigError([f"{where}: `{said}` is refused: {why}"])
            if isinstance(statement, config_parser.IncludeStatement):
                statements.append(Include(statement.filename, where))
            elif isinstance(statement, config_parser.BindingStatement):
                statements.append(_binding(statement, where))
    except SyntaxError as error:
        raise ConfigError([_syntax_fault(error, text, file)]) from None
    except tokenize.TokenError as error:
        raise ConfigError([_unclosed(text, file, error.args[0], error.args[1][0])]) from None
    except (TypeError, RecursionError) as error:
        why = "its brackets are nested too deeply" if isinstance(error, RecursionError) else str(error)
        line = parser.current_token.start[0] if parser is not None else 1
        raise ConfigError([f"{Where(file, line)}: the value can't be read: {why}"]) from None
    return statements


def _binding(statement: Any, where: Where) -> Binding:
    if statement.arg_name:
        return Binding(statement.scope, statement.selector, statement.arg_name, statement.value, where)
    if statement.scope:
        name = f"{statement.scope}/{statement.selector}"
        raise ConfigError([f"{where}: {name} names a part but no parameter: write {name}.parameter = ..."])
    return Binding("", "", statement.selector, statement.value, where)


def _syntax_fault(error: SyntaxError, text: str, file: str) -> str:
    location = error.args[1] if len(error.args) > 1 else None
    line = (location[1] if location else error.lineno) or 1
    content = _line(text, line)
    message = str(error.args[0]).split("\n")[0].strip()
    if "EOF" in message or "never closed" in message or "unterminated" in message:
        return _unclosed(text, file, message, line)
    opened = _open_brackets(text, before=line)
    if opened and re.match(r"[\w./]+\s*=|include\b", content):
        bracket, start = opened[0]
        said = f"the bracket {bracket} in `{_line(text, start)}` is not closed"
        return f"{Where(file, start)}: {said} when `{content}` begins in line {line}"
    return f"{Where(file, line)}: `{content}` can't be read: {_hint(content, str(error.args[0])) or message}"


def _hint(content: str, message: str) -> str:
    """Return how to write what gin could not read, where that can be guessed."""
    failed = re.search(r"Failed to parse token '(.*)'$", message, re.DOTALL)
    unquoted = re.search(r"=\s*([^\d\s=#'\"\[({@%+-][^'\"#]*)(?:#.*)?$", content)
    value = unquoted[1].strip().strip("“”‘’") if unquoted else failed[1] if failed else ""
    meant = {"true": "True", "false": "False", "none": "None", "null": "None"}.get(value.lower())
    if meant:
        return "" if value == meant else f"write {meant}"
    if content.startswith("include"):
        return "write include 'file'"
    if unquoted or value.isidentifier():
        return f"a text needs quotes ('{value}'), a part an @ (@{value}())"
    return f"{value} is no value" if value else ""


def _unclosed(text: str, file: str, message: str, line: int) -> str:
    """Name the line of the first bracket, or of the text, that is never closed."""
    opened = _open_brackets(text)
    if not opened:
        return f"{Where(file, line)}: `{_line(text, line)}` can't be read: {message}"
    bracket, line = opened[0]
    return f"{Where(file, line)}: the bracket {bracket} in `{_line(text, line)}` is never closed"


def _open_brackets(text: str, before: float = float("inf")) -> list[tuple[str, int]]:
    """Return each bracket that is still open at the beginning of the line `before`, and the line it is in."""
    opened: list[tuple[str, int]] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.start[0] >= before:
                break
            if token.string in ("(", "[", "{") and token.type == tokenize.OP:
                opened.append((token.string, token.start[0]))
            elif token.string in (")", "]", "}") and opened:
                opened.pop()
    except (tokenize.TokenError, SyntaxError):
        pass
    return opened


def _line(text: str, line: int) -> str:
    lines = text.split("\n")
    return lines[line - 1].strip()[:200] if line <= len(lines) else ""
