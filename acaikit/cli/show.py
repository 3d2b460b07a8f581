"""``acaikit show``."""

from __future__ import annotations

from typing import Annotated

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
    sizes: Annotated[
        bool,
        typer.Option(
            "--sizes",
            help="Build a recipe, and tell parameter counts and shapes too, also in --json; a run's are always told.",
        ),
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Show the resolved config, the parts and where each comes from, budget and progress.

    Of a recipe, names, parameters and the experiment's own numbers are checked. Parameters are read in the parts'
    sources: a part is imported only where its source doesn't tell them, or there is a fault. Whether all parts can be
    imported, accept their values and fit together, --sizes finds out, and so does acaikit run --dry-run: they build
    everything, which takes seconds.
    """
    from acaikit.cli import describe

    if options.is_folder(what):
        if overrides:
            raise UserError(f"{what} is a run, whose bindings stand: --set goes with a recipe")
        from acaikit.runs.opened import open_run
        from acaikit.runs.provenance import raised_budget
        from acaikit.studies.expand import check_run

        check_run(what)
        run = open_run(what)
        for note in [*run.notes, *raised_budget(run.path, run.experiment.samples, run.budget)]:
            say(f"note: {note}")
        told = describe.of_run(run)
    else:
        from acaikit.config import build, read_recipe, sketch, telling_places

        config = read_recipe(what, overrides or [])
        if sizes:
            experiment = build(config)
            with telling_places(config):
                told = describe.of_config(config, experiment)
        else:
            told = describe.of_sketch(config, int(sketch(config).samples))
    describe.show(told, as_json)
