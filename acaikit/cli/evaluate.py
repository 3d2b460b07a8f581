"""``acaikit eval``."""

from __future__ import annotations

from typing import Annotated

import typer

from acaikit.cli import options
from acaikit.cli.terminal import out, print_json, say


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("eval", epilog="Example: acaikit eval runs/quickstart-s0 --lines --json")(evaluate)


def evaluate(
    run_dir: options.RunDirectory,
    factor: Annotated[
        bool,
        typer.Option(
            "--factor", "--lines", help="The lines benchmark, or its like on any dataset drawn from a known factor."
        ),
    ] = False,
    probe: Annotated[bool, typer.Option("--probe", help="The tandem probe on the whole test set.")] = False,
    interpolate: Annotated[
        bool, typer.Option("--interpolate", help="Paths between test examples, and their picture.")
    ] = False,
    step: Annotated[int | None, typer.Option(min=0, help="Which checkpoint.", show_default="the newest")] = None,
    data_dir: options.DataDir = None,
    device: options.Device = options.DeviceName.auto,
    threads: options.Threads = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure a run, finished or still training. Without a flag: everything that fits its dataset.

    Scores and what they were measured from are written to RUN_DIR/eval/.
    """
    from acaikit.report.tables import evaluation_table
    from acaikit.runs.evaluation import evaluate_run
    from acaikit.runs.opened import open_run

    options.apply(data_dir, threads)
    run = open_run(run_dir, step, options.pick(device))
    for note in run.notes:
        say(note)
    flags = {"factor": factor, "probe": probe, "interpolation": interpolate}
    scores, files = evaluate_run(run, [key for key, asked in flags.items() if asked], say)
    if as_json:
        result = {"run": str(run_dir), "step": run.step, "samples": run.samples, "scores": scores}
        print_json({**result, "files": [str(file) for file in files]})
        return
    say(f"{run_dir} at step {run.step} ({run.samples:,} of {run.budget:,} samples)", out)
    out.print(evaluation_table(scores))
    for file in files:
        say(f"written: {file}", out)
