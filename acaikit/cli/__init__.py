"""The command line. Commands are thin: they parse, call and print; what they need is imported when they run."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from acaikit import __version__
from acaikit.cli import (
    check,
    compare,
    config,
    data,
    evaluate,
    figure,
    listing,
    plugin,
    run,
    show,
    status,
    sweep,
    table,
    verify,
)
from acaikit.cli.terminal import Commands, fail, out, say, showing_notes
from acaikit.errors import UserError
from acaikit.threads import wait_briefly

app = typer.Typer(
    name="acaikit",
    cls=Commands,
    epilog="Begin with: acaikit run quickstart",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _tell_version(asked: bool) -> None:
    if asked:
        say(f"acaikit {__version__}", out)
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    """Train, resume and evaluate autoencoders, and look at what lies between two points of a latent space."""


run.register(app)
evaluate.register(app)
show.register(app)
verify.register(app)
listing.register(app)
sweep.register(app)
status.register(app)
table.register(app)
compare.register(app)
figure.register(app)
data.register(app)
config.register(app)
plugin.register(app)
check.register(plugin.app)


def main() -> None:
    """Run the command line: a user's mistake is one message and exit code 2."""
    # torch reads every entry point that is installed to find back ends, and one broken file would end each command.
    os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
    wait_briefly()
    try:
        with showing_notes():
            app()
    except UserError as error:
        fail(str(error))
        sys.exit(2)
