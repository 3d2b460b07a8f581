"""``acaikit plugin``: begin a distribution of one's own parts."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from acaikit.cli.terminal import out, say
from acaikit.errors import UserError
from acaikit.registry import unknown
from acaikit.scaffold import Kind, Names, begin

app = typer.Typer(
    help="Begin a plugin, and check one.",
    epilog="Example: acaikit plugin new my-idea --kind regularizer",
    no_args_is_help=True,
)


_KINDS = f"{', '.join(list(Kind)[:-1])} or {list(Kind)[-1]}"


def _complete(incomplete: str) -> list[str]:
    return [kind for kind in Kind if kind.startswith(incomplete)]


def register(parent: typer.Typer) -> None:
    """Add the commands to `parent`."""
    parent.add_typer(app, name="plugin")


@app.command("new", epilog="Example: acaikit plugin new my-idea --kind regularizer")
def new(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="What the part is to be called, such as sparse, my-idea or MyIdea.",
            show_default=False,
        ),
    ],
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help=f"What kind of part it is: {_KINDS}. It must be given.",
            autocompletion=_complete,
            show_default=False,
        ),
    ] = "",
    folder: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            file_okay=False,
            help="The folder to write it into; it is made where it isn't there.",
            show_default="this one",
        ),
    ] = Path(),
) -> None:
    """Begin a plugin: a small distribution that can be installed, with one part that works, a test and a recipe.

    my-idea becomes the part MyIdea, or the path my_idea, of the distribution acaikit-my-idea, in a folder of that name.
    """
    if kind not in {*Kind}:
        raise UserError(unknown("there is no --kind", kind, Kind) if kind else f"say what it is, --kind {_KINDS}")
    names = Names.of(name, Kind(kind))
    files = begin(names, Kind(kind), folder)
    say("written:", out)
    for file in files:
        say(f"  {file}", out)
    commands = [
        ["cd", str(folder / names.distribution)],
        ["pip", "install", "-e", ".[test]"],
        ["pytest"],
        ["acaikit", "plugin", "check", names.part],
        ["acaikit", "run", names.recipe],
    ]
    say("next:", out)
    for command in commands:
        say(f"  {shlex.join(command)}", out)
