"""``acaikit config``: why a recipe says what it says, and how two differ."""

from __future__ import annotations

import typer

app = typer.Typer(help="Compare recipes and runs, and explain what sets a parameter.", no_args_is_help=True)


def register(parent: typer.Typer) -> None:
    """Add the commands to `parent`."""
    parent.add_typer(app, name="config")
