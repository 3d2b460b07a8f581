"""``acaikit show``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acaikit.cli import options
from acaikit.cli.terminal import say
from acaikit.errors import UserError


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("show", epilog="Example: acaikit show lines_acai_64")(show)


def show(
    what: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE|RUN_DIR",
            help="A recipe or a run directory.",
            autocompletion=options.complete_recipe,
            show_default=False,
        ),
    ],
    overrides: options.Overrides = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the resolved config, the parts and where each comes from, parameter counts, budget and progress."""
    from acaikit.cli import describe

    if _is_folder(what):
        if overrides:
            raise UserError(f"{what} is a run, whose bindings stand: --set goes with a recipe")
        from acaikit.runs.opened import open_run

        run = open_run(what)
        for note in run.notes:
            say(note)
        told = describe.of_run(run)
    else:
        from acaikit.config import build, read_recipe

        config = read_recipe(what, overrides or [])
        told = describe.of_config(config, build(config))
    describe.show(told, as_json)


def _is_folder(what: str) -> bool:
    try:
        return what != "" and Path(what).is_dir()
    except OSError:  # too long a name
        return False
