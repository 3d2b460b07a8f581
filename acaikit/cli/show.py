"""``acaikit show``."""

from __future__ import annotations

import typer

from acaikit.cli import options
from acaikit.cli.terminal import say
from acaikit.errors import UserError


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("show", epilog="Example: acaikit show lines_acai_64")(show)


def show(
    what: options.RecipeOrRun,
    overrides: options.Overrides = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the resolved config, the parts and where each comes from, parameter counts, budget and progress."""
    from acaikit.cli import describe

    if options.is_folder(what):
        if overrides:
            raise UserError(f"{what} is a run, whose bindings stand: --set goes with a recipe")
        from acaikit.runs.opened import open_run
        from acaikit.runs.provenance import raised_budget

        run = open_run(what)
        for note in [*run.notes, *raised_budget(run.path, run.experiment.samples, run.budget)]:
            say(f"note: {note}")
        told = describe.of_run(run)
    else:
        from acaikit.config import build, read_recipe, telling_places

        config = read_recipe(what, overrides or [])
        experiment = build(config)
        with telling_places(config):
            told = describe.of_config(config, experiment)
    describe.show(told, as_json)
