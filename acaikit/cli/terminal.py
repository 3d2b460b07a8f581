"""What every command shares: consoles, errors, and output as JSON."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from acaikit.errors import Note
from acaikit.runs.foreign import telling_of_parts

out = Console()
err = Console(stderr=True)


class Commands(TyperGroup):
    """Commands that Ctrl-C ends with a word and exit code 130, and a faulty plugin with a message about it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for command in self.commands.values():
            _join_lines(command)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            with telling_of_parts():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(130) from None


def _join_lines(command: Any) -> None:
    """Let each paragraph of a command's help be as wide as the terminal: typer does so with the first one only."""
    paragraphs = (command.help or "").split("\n\n")
    command.help = "\n\n".join(text if text.startswith("\b") else text.replace("\n", " ") for text in paragraphs)
    for inner in getattr(command, "commands", {}).values():
        _join_lines(inner)


@contextmanager
def showing_notes() -> Iterator[None]:
    """Show each note once, as a line, while the block runs; other warnings as Python shows them."""
    said: set[str] = set()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def note(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, Note):
                show(message, category, *where, **more)
            elif str(message) not in said:
                from acaikit.progress import console  # has been imported by whatever warns

                said.add(str(message))
                say(f"note: {message}", console)

        warnings.showwarning = note
        warnings.simplefilter("always", Note)
        yield


def fail(message: str) -> None:
    """Print an error; brackets and colons in it are shown as they are."""
    err.print("[bold red]error:[/] ", end="")
    say(message)


def say(message: str, console: Console = err) -> None:
    """Print a line as it is."""
    console.print(message, markup=False, emoji=False, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON object on one line; numbers that JSON lacks (NaN, infinity) become null."""
    print(json.dumps(_plain(value), ensure_ascii=False))


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {str(k): _plain(v) for k, v in value.items()}
        case list() | tuple():
            return [_plain(v) for v in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value
