"""``acaikit config``: why a recipe says what it says, and how two differ."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from acaikit.cli import options
from acaikit.cli.completion import complete_parameter
from acaikit.cli.terminal import out, print_json, say
from acaikit.errors import UserError

if TYPE_CHECKING:
    from acaikit.config import Config
    from acaikit.config.explain import Explained

app = typer.Typer(help="Compare recipes and runs, and explain what sets a parameter.", no_args_is_help=True)


def register(parent: typer.Typer) -> None:
    """Add the commands to `parent`."""
    app.command("diff", epilog="Example: acaikit config diff lines_acai_64 lines_baseline_64")(diff)
    app.command("explain", epilog="Example: acaikit config explain lines_acai_64 ConvEncoder.depth")(explain)
    parent.add_typer(app, name="config", epilog="Example: acaikit config diff lines_acai_64 lines_baseline_64")


def diff(a: options.RecipeOrRun, b: options.RecipeOrRun, as_json: options.AsJson = False) -> None:
    """Show in what two recipes or runs differ; the exit code is 0 whether they do or not.

    A macro counts as what it amounts to, and a parameter that nothing binds as its default: two recipes that say the
    same in different ways don't differ. A run is what it began with.
    """
    from acaikit.config.differ import differ

    found = differ(_read(a, []), _read(b, []))
    if as_json:
        rows = [{"parameter": label, "a": before, "b": after} for label, before, after in found]
        print_json({"a": a, "b": b, "differences": rows})
        return
    if not found:
        say("they are the same", out)
        return
    table = Table("parameter")
    for name in (a, b):
        table.add_column(Text(name, overflow="fold"))
    for row in found:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    out.print(table)


def explain(
    recipe: options.RecipeOrRun,
    parameter: Annotated[
        str,
        typer.Argument(
            metavar="PARAM",
            help="Part.parameter, scope/Part.parameter, a macro, or a part: all its parameters.",
            autocompletion=complete_parameter,
            show_default=False,
        ),
    ],
    overrides: options.Overrides = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what a parameter amounts to: every binding of it, which one counts and why, its macros and its default."""
    from acaikit.config import build
    from acaikit.config.explain import explain as explained

    config = _read(recipe, overrides or [])
    experiment = build(config)  # a recipe with faults is not explained: they are told
    found = explained(config, parameter)
    asked = options.is_folder(recipe) and any(one.name == "Experiment.samples" for one in found)
    notes = _raised(recipe, experiment.samples) if asked else []
    if as_json:
        print_json({"recipe": recipe, "explained": [asdict(one) for one in found], "notes": notes})
        return
    for one in found:
        _show(one)
    for note in notes:
        say(f"note: {note}")


def _read(what: str, overrides: list[str]) -> Config:
    from acaikit.config import read_recipe

    if not options.is_folder(what):
        return read_recipe(what, overrides)
    if overrides:
        raise UserError(f"{what} is a run, whose bindings stand: --set goes with a recipe")
    from pathlib import Path

    from acaikit.artifacts.rundir import RunDir
    from acaikit.runs.provenance import began_with

    return began_with(Path(what), RunDir(Path(what)).read_run())


def _raised(run: str, began: int) -> list[str]:
    """Return a note where ``acaikit resume --samples`` has raised a run's budget."""
    from pathlib import Path

    from acaikit.artifacts.rundir import RunDir
    from acaikit.runs.groups import progress
    from acaikit.runs.provenance import raised_budget

    directory = RunDir(Path(run))
    reached = progress(directory, directory.read_run()["run_id"], began, say)
    return raised_budget(directory.path, began, reached.budget)


def _show(one: Explained, indent: str = "") -> None:
    """Print what a parameter amounts to, then every place that says something of it, then its macros."""
    value = f"= {one.value}" if one.value is not None else "has no value"
    default = f"  (default {one.default})" if one.default not in (None, one.value) else ""
    unused = "" if one.used else "  (nothing here refers to it)"
    out.print(Text(f"{indent}{one.name} {value}{default}{unused}", "bold"), soft_wrap=True)
    if not any(place.counts for place in one.places) and one.default is not None:
        say(f"{indent}  counts: the default", out)
    for place in one.places:
        mark = "counts" if place.counts else "passed over"
        say(f"{indent}  {mark}: {place.where}: {place.binding}  ({place.why})", out)
    for macro in one.macros:
        _show(macro, f"{indent}  ")
