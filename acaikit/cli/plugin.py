"""``acaikit plugin``: begin a distribution of one's own parts."""

from __future__ import annotations

import typer

app = typer.Typer(help="Begin a plugin, and check one.", no_args_is_help=True)


def register(parent: typer.Typer) -> None:
    """Add the commands to `parent`."""
    parent.add_typer(app, name="plugin")
