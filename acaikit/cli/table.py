"""``acaikit table``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from acaikit.cli import options
from acaikit.cli.completion import complete_run_or_study_dir
from acaikit.cli.terminal import out, print_json, say
from acaikit.errors import RunError

if TYPE_CHECKING:
    from acaikit.report.measured import RunResults
    from acaikit.studies.layout import StudyDir


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
            help="Run directories; also the prefix of several seeds, a study's folder, or a quoted glob.",
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
    that is not finished has a row of its own and is left out of the means; those of a study's folder are only counted,
    and one that is broken is passed over there. What all experiments have in common stands below the table. The
    paper's Smoothness never stands alone: what it hides is shown beside it.
    """
    from acaikit.report.layout import lay_out
    from acaikit.report.machine import as_csv, as_json
    from acaikit.report.results import tabulate
    from acaikit.runs.groups import group, read_runs
    from acaikit.studies.expand import places, runs_of
    from acaikit.studies.layout import StudyDir

    notes: list[str] = []
    found = [place for text in run_dirs for place in places(text)]
    studies = [place for place in found if isinstance(place, StudyDir)]
    paths = [path for place in found for path in runs_of(place)]
    planned = {path for directory in studies for path in runs_of(directory)}
    runs = read_runs(paths, notes.append, results, planned)
    runs = _without_waiting(runs, {place.path.resolve(): place for place in studies}.values(), notes)
    groups = group(runs)
    gathered = tabulate(groups, scores or [], paper)
    if paper and not gathered.published:
        notes.append("--paper: the paper's tables have no number for any of these scores of these experiments")
    for run in runs:
        if not run.finished:
            notes.append(f"{run.path} is not finished ({run.progress}): left out of the means")
    for one in groups:
        if len({run.precision for run in one.runs}) > 1:
            notes.append(f"{one.name}: its runs were computed in {one.precision}, each as its device does by itself")
    for note in notes:
        say(f"note: {note}")
    sheet = lay_out(gathered)
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
            print(as_csv(gathered), end="")
        case Format.json:
            print_json(as_json(gathered, notes))


def _without_waiting(runs: Sequence[RunResults], studies: Iterable[StudyDir], notes: list[str]) -> list[RunResults]:
    """Return the runs without those of studies that are not trained; note how many there are to come, and to spare."""
    from acaikit.studies.expand import others
    from acaikit.studies.progress import saved
    from acaikit.studies.todo import todo

    planned = set()
    for directory in studies:
        plan = directory.read()
        planned |= {directory.run(run.name).resolve() for run in plan.runs}
        left = [directory.run(run.name) for run in todo(directory, plan)]
        trained = sum(newest.finished for path in left for newest in saved(path))
        for count, what in (
            (len(left) - trained, "not finished"),
            (trained if plan.evaluation else 0, "trained, still to be measured"),
        ):
            if count:
                of = f"{count} of {len(plan.runs)} runs of {directory.path} {_are(count)}"
                notes.append(f"{of} {what}: acaikit status {directory.path}")
        if spare := others(directory, plan):
            which = f"{len(spare)} run director{'y' if len(spare) == 1 else 'ies'} in {spare[0].parent}"
            everything = f"acaikit table '{spare[0].parent}/*' takes all"
            notes.append(f"{which} {_are(len(spare))} no part of the study's plan, and left out: {everything}")
    found = [run for run in runs if run.finished or run.path.resolve() not in planned]
    if not found:
        raise RunError("; ".join(notes))
    return found


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
