"""``acaikit eval``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acaikit.cli import options
from acaikit.cli.completion import complete_binding, complete_evaluator
from acaikit.cli.terminal import fail, out, print_json, say
from acaikit.errors import UserError
from acaikit.runs.foreign import telling_of_parts
from acaikit.runs.stopping import Starting

if TYPE_CHECKING:
    from acaikit.evaluators.base import Evaluator
    from acaikit.runs.evaluation import Measured
    from acaikit.runs.opened import OpenRun


class ProtocolName(StrEnum):
    """How to measure."""

    paper = "paper"
    strict = "strict"


Protocol = Annotated[
    ProtocolName | None,
    typer.Option(
        help="paper: as the paper measures, to the letter. strict: what the test set can't flatter: a probe trained on "
        "frozen latents, clusters named by the training labels, with intervals.",
        show_default="each evaluator as it is",
    ),
]
With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="NAME",
        help="Any evaluator that is installed (acaikit list evaluators), by name or key.",
        autocompletion=complete_evaluator,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="BINDING",
        help="A setting of an evaluator, such as KMeans.restarts=100.",
        autocompletion=complete_binding,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("eval", epilog="Example: acaikit eval runs/quickstart-s0 --lines --kmeans --json")(evaluate)


def _flag(names: str, what: str) -> Any:
    return typer.Option(*names.split(), help=what, rich_help_panel="What to measure")


def evaluate(
    run_dirs: options.RunDirectories,
    factor: Annotated[
        bool, _flag("--factor --lines", "The lines benchmark, or its like on any dataset drawn from a known factor.")
    ] = False,
    probe: Annotated[bool, _flag("--probe", "The tandem probe on the whole test set.")] = False,
    linear_probe: Annotated[bool, _flag("--linear-probe", "A linear probe trained on the frozen latents.")] = False,
    knn_probe: Annotated[bool, _flag("--knn-probe", "The labels of the nearest training latents.")] = False,
    kmeans: Annotated[bool, _flag("--kmeans", "Clustering of the latents; minutes.")] = False,
    reconstruction: Annotated[bool, _flag("--reconstruction", "The reconstruction error.")] = False,
    interpolate: Annotated[bool, _flag("--interpolate", "Paths between test examples, and their picture.")] = False,
    scorecard: Annotated[
        bool, _flag("--scorecard", "Several kinds of path, beside perfect and counterfeit ones.")
    ] = False,
    realism: Annotated[bool, _flag("--realism", "How plausible latents along a path are.")] = False,
    latents: Annotated[bool, _flag("--latents", "Keep the latents of training and test examples.")] = False,
    others: With = None,
    protocol: Protocol = None,
    settings: Settings = None,
    step: Annotated[int | None, typer.Option(min=0, help="Which checkpoint.", show_default="the newest")] = None,
    output: Annotated[
        Path | None, typer.Option("--out", help="Write to FOLDER/RUN instead of the run itself.", metavar="FOLDER")
    ] = None,
    data_dir: options.DataDir = None,
    device: options.Device = options.DeviceName.auto,
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
) -> None:
    """Measure runs, finished or still training. Without a flag: what the recipe measures in training.

    Scores, their protocol and what they were measured from are written to RUN_DIR/eval/. A study's folder stands for
    its runs.
    """
    with Starting():  # a cluster's SIGUSR1 is a request to save, and there is nothing to save here
        from acaikit.config import read_bindings
        from acaikit.runs.chosen import choose
        from acaikit.runs.evaluation import destination
        from acaikit.runs.opened import open_run
        from acaikit.runs.provenance import check_data
        from acaikit.studies.expand import check_run, unfolded

        options.apply(data_dir, threads, quiet=quiet)
        flags = {
            "factor": factor,
            "probe": probe,
            "linear_probe": linear_probe,
            "knn_probe": knn_probe,
            "kmeans": kmeans,
            "reconstruction": reconstruction,
            "interpolation": interpolate,
            "scorecard": scorecard,
            "realism": realism,
            "latents": latents,
        }
        asked = [key for key, wanted in flags.items() if wanted] + (others or [])
        given = read_bindings(settings or [])
        run_dirs = [path for named in run_dirs for path in unfolded(named)]
        _check_names(run_dirs, output)
        told, failed = [], False
        for run_dir in run_dirs:
            try:
                with telling_of_parts():
                    check_run(str(run_dir))
                    place = destination(run_dir, output)
                    run = open_run(run_dir, step, options.pick(device))
                    for note in run.notes:
                        say(note)
                    evaluators = choose(run.experiment.evaluators, asked, protocol, given)
                    if not asked:
                        evaluators = [evaluator for evaluator in evaluators if evaluator.fits(run.trained)]
                    check_data(run.path, run.info, run.experiment.dataset)
            except UserError as error:
                if len(run_dirs) == 1:
                    raise
                fail(str(error) if str(run_dir) in str(error) else f"{run_dir}: {error}")
                told.append({"run": str(run_dir), "faults": {"run": str(error)}})
                failed = True
                continue
            if not (as_json or quiet):
                say(f"{run_dir} at step {run.step} ({run.samples:,} of {run.budget:,} samples)", out)
            found, faults = _measure(run, evaluators, place, shown=not (as_json or quiet))
            failed |= bool(faults)
            told.append({**_plain(run_dir, run, found), "faults": faults})
        if as_json:
            print_json({"runs": told})
        if failed:
            raise typer.Exit(2)


def _check_names(run_dirs: list[Path], output: Path | None) -> None:
    names = [run_dir.resolve().name for run_dir in run_dirs]
    twice = {name for name in names if names.count(name) > 1}
    if output is not None and twice:
        raise UserError(f"--out {output}: two runs are called {twice.pop()}, and their results would mix")


def _measure(
    run: OpenRun, evaluators: list[Evaluator], place: Any, *, shown: bool
) -> tuple[list[Measured], dict[str, str]]:
    """Measure, and show each result as soon as it is there."""
    from acaikit.report.tables import evaluation_tables, reported
    from acaikit.runs.evaluation import measure

    in_training = reported(run.metrics())
    found, faults = [], {}
    for evaluator in evaluators:
        try:
            measured = measure(run, evaluator, place, say)
        except UserError as error:
            fail(f"{evaluator.key} can't be measured: {error}")
            faults[evaluator.key] = str(error)
            continue
        found.append(measured)
        if measured.fault is not None:
            fail(f"{evaluator.key}: {measured.fault}")
            faults[evaluator.key] = measured.fault
        if shown:
            for table in evaluation_tables(measured.key, measured.scores, measured.protocol_sha256, in_training):
                out.print(table)
            for file in measured.files:
                say(f"written: {file}", out)
    return found, faults


def _plain(run_dir: Path, run: OpenRun, found: list[Measured]) -> dict[str, Any]:
    from acaikit.report.tables import reported

    return {
        "run": str(run_dir),
        "step": run.step,
        "samples": run.samples,
        "scores": {measured.key: measured.scores for measured in found},
        "in_training": reported(run.metrics()),
        "protocols": {m.key: {**m.protocol, "sha256": m.protocol_sha256} for m in found},
        "files": [str(file) for measured in found for file in measured.files],
    }
