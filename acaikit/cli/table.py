"""``acaikit table``."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from acaikit.cli import options
from acaikit.cli.completion import complete_run_or_study_dir
from acaikit.cli.terminal import out, print_json, say
from acaikit.errors import RunError

if TYPE_CHECKING:
    from acaikit.report.measured import RunResults


class Format(StrEnum):
    """How to write the table."""

    rich = "rich"
    md = "md"
    latex = "latex"
    csv = "csv"
    json = "json"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("table", epilog="Example: acaikit table runs/mnist_acai_256-s* --paper")(table)


def table(
    run_dirs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN_DIR|STUDY_DIR",
            help="Run directories; also a quoted glob, the prefix of several seeds, or a study's folder.",
            autocompletion=complete_run_or_study_dir,
            show_default=False,
        ),
    ],
    paper: Annotated[bool, typer.Option("--paper", help="Put the paper's numbers and the difference beside.")] = False,
    form: Annotated[Format, typer.Option("--format", help="For a terminal, a text or a program.")] = Format.rich,
    results: options.Results = None,
    scores: Annotated[
        list[str] | None,
        typer.Option(
            "--score",
            metavar="NAME",
            help="Which scores, such as probe/accuracy or 'kmeans/*'.",
            show_default="those of the paper's tables; where there are none, all",
        ),
    ] = None,
) -> None:
    """Gather runs by experiment over seeds: mean ± population standard deviation (number of runs).

    Runs that differ in nothing but Experiment.seed are one experiment; one that was asked for another --precision than
    its device computes in by itself is of another. A run's score is the median of its last 20
    values in training; under another protocol, or where it was not measured in training, it is what acaikit eval found
    at the newest checkpoint. Values under different protocols have columns of their own and are never averaged. A run
    that is not finished has a row of its own and is left out of the means; those of a study's folder are only counted.
    What all experiments have in common stands below the table.
    """
    from acaikit.report.machine import as_csv, as_json
    from acaikit.report.results import tabulate
    from acaikit.report.sheet import lay_out
    from acaikit.runs.groups import group, read_runs
    from acaikit.studies.expand import expand

    notes: list[str] = []
    runs = read_runs([path for text in run_dirs for path in expand(text)], notes.append, results)
    runs = _without_waiting(runs, run_dirs, notes)
    groups = group(runs)
    found = tabulate(groups, scores or [], paper)
    for run in runs:
        if not run.finished:
            notes.append(f"{run.path} is not finished ({run.progress}): left out of the means")
    for one in groups:
        if len({run.precision for run in one.runs}) > 1:
            notes.append(f"{one.name}: its runs were computed in {one.precision}, each as its device does by itself")
    for note in notes:
        say(f"note: {note}")
    sheet = lay_out(found)
    match form:
        case Format.rich:
            for piece in sheet.rich(out.width):
                out.print(piece)
            for line in sheet.below():
                say(line, out)
        case Format.md:
            print(sheet.markdown())
        case Format.latex:
            print(sheet.latex())
        case Format.csv:
            print(as_csv(found), end="")
        case Format.json:
            print_json(as_json(found, notes))


def _without_waiting(runs: Sequence[RunResults], run_dirs: Sequence[str], notes: list[str]) -> list[RunResults]:
    """Return the runs without those of studies that are not finished; note how many there are to come."""
    from acaikit.studies.expand import study

    waiting = set()
    for text in run_dirs:
        directory = study(text)
        if directory is not None:
            planned = {directory.run(run.name) for run in directory.read().runs}
            to_come = planned - {run.path for run in runs if run.finished}
            if to_come:
                notes.append(f"{len(to_come)} of {len(planned)} runs of {text} are not finished: acaikit status {text}")
            waiting |= to_come
    found = [run for run in runs if run.path not in waiting]
    if not found:
        raise RunError("; ".join(notes))
    return found
