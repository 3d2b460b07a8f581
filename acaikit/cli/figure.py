"""``acaikit figure``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from acaikit.cli import options
from acaikit.cli.terminal import out, say
from acaikit.errors import UserError


class Kind(StrEnum):
    """What to draw."""

    strips = "strips"
    interpolation = "interpolation"
    samples = "samples"
    reconstruction = "reconstruction"
    latents = "latents"
    curves = "curves"
    scorecard = "scorecard"


HELP = """Draw a figure of one run or several, as PNG, PDF or SVG.

\b
strips          one strip for each run, all between the same two test examples
interpolation   decoded paths between pairs of test examples
samples         decoded samples from the prior, or from a Gaussian fitted to the latents
reconstruction  test examples and what the model makes of them
latents         the codes of test examples in two dimensions, by PCA and by t-SNE
curves          losses and scores in the course of training
scorecard       the newest scorecard: each path against counterfeits and the perfect one

A study's folder stands for its runs, and a quoted glob or the prefix of several seeds for those that fit.
"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("figure", help=HELP, epilog="Example: acaikit figure latents runs/quickstart-s0 -o latents.pdf")(figure)


def figure(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="What to draw; see above.", show_default=False)],
    run_dirs: options.RunDirectories,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="A .png, .pdf or .svg file.", show_default="KIND.png"),
    ] = None,
    pair: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="I J", help="The two test examples that the path joins, from 0.", show_default=False),
    ] = None,
    pairs: Annotated[
        int | None, typer.Option(min=1, help="Pairs of test examples, spread over all.", show_default="8; strips: 1")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=2, help="Images on a path.", show_default="16")] = None,
    path: Annotated[
        str | None, typer.Option(help="The path's name; `acaikit list` shows all.", show_default="lerp")
    ] = None,
    examples: Annotated[
        int | None,
        typer.Option(min=1, help="How many.", show_default="latents: 2000; samples: 64; reconstruction: 32"),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="For samples and t-SNE.", show_default="0")] = None,
    scores: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Columns of the curves, such as 'loss/*' or 'health/*'; may be repeated.",
            show_default="all but health/*",
        ),
    ] = None,
    results: options.Results = None,
    step: Annotated[int | None, typer.Option(min=0, help="Which checkpoint.", show_default="the newest")] = None,
    data_dir: options.DataDir = None,
    device: options.Device = options.DeviceName.auto,
    threads: options.Threads = None,
    quiet: options.Quiet = False,
) -> None:
    """Draw a figure; `HELP` is what the user reads."""
    file = Path(f"{kind}.png") if output is None else output
    options.apply(data_dir, threads, quiet=quiet)
    from inspect import signature

    from acaikit.report.output import check
    from acaikit.runs.figures import KINDS
    from acaikit.runs.opened import open_run
    from acaikit.studies.expand import expand

    asked: dict[str, Any] = {
        "pair": pair,
        "pairs": pairs,
        "steps": steps,
        "path": path,
        "examples": examples,
        "seed": seed,
        "scores": scores,
        "results": results,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    draw = KINDS[kind]
    for name in given:
        if name not in signature(draw).parameters:
            kinds = [other for other, function in KINDS.items() if name in signature(function).parameters]
            raise UserError(f"--{name} goes with {' and '.join(kinds)}, not with {kind}")
    check(file)
    runs = [open_run(run_dir, step, options.pick(device)) for named in run_dirs for run_dir in expand(str(named))]
    for run in runs:
        for note in run.notes:
            say(note)
    try:
        draw(runs, file, **given)
    except OSError as error:
        raise UserError(f"{file} can't be written: {error.strerror or error}") from error
    if not quiet:
        say(f"written: {file}", out)
