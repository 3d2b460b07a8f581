"""Write cli.md, which holds every command's ``--help``: run ``python docs/make_cli.py``."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from unittest.mock import patch

import typer
from typer import rich_utils

from acaikit.cli import app

FILE = Path(__file__).with_name("cli.md")
WIDTH = 88
HEAD = """\
# Commands

Exit codes: 0 done, also where `--max-time` ended it; 2 a mistake in what was asked for (one message says which);
3 training diverged; 129, 130 and 143 stopped by SIGHUP, Ctrl-C and SIGTERM; 1 anything else, such as a run that could
not be saved. A training run saves at SIGUSR1 and goes on. `acaikit --install-completion` makes the shell complete
commands, recipes and parts.
"""


def page() -> str:
    """Return the whole page."""
    return HEAD + "".join(f"\n## {name}\n\n```text\n{said}\n```\n" for name, said in helps())


def helps() -> Iterator[tuple[str, str]]:
    """Yield each command as it is typed, and what its ``--help`` says."""
    with (
        patch.multiple(rich_utils, MAX_WIDTH=WIDTH, COLOR_SYSTEM=None, FORCE_TERMINAL=False),
        patch.dict(os.environ, {"TERM": "xterm", "COLUMNS": str(WIDTH)}),
    ):
        for words in commands(typer.main.get_command(app)):
            said = io.StringIO()
            with redirect_stdout(said):
                app([*words, "--help"], prog_name="acaikit", standalone_mode=False)
            lines = [line.rstrip() for line in said.getvalue().splitlines()]
            yield " ".join(["acaikit", *words]), "\n".join(lines).strip("\n")


def commands(command: object, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command and group, each group before what is in it."""
    yield words
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*words, name))


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
