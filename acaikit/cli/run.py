"""``acaikit run`` and ``acaikit resume``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from acaikit.cli import options
from acaikit.cli.lasting import lasting_output
from acaikit.cli.terminal import fail, out, print_json, say

if TYPE_CHECKING:
    from acaikit.divergence import Diverged
    from acaikit.runs.session import Session
    from acaikit.runs.stopping import Stopper


DIVERGED = 3
"""The exit code of a run that diverged."""


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("run", epilog="Example: acaikit run quickstart --set ACAI.weight=1.0 --seed 3")(run)
    app.command("resume", epilog="Example: acaikit resume runs/quickstart-s0 --samples 262144")(resume)


def run(
    recipe: options.Recipe,
    overrides: options.Overrides = None,
    seed: Annotated[
        int | None, typer.Option(help="The run's seed (Experiment.seed).", show_default="the recipe's")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="The run directory.", show_default="runs/<recipe>-s<seed>")
    ] = None,
    data_dir: options.DataDir = None,
    device: options.Device = options.DeviceName.auto,
    threads: options.Threads = None,
    max_time: options.MaxTime = None,
    on_nan: options.OnNanOption = None,
    on_save_error: options.OnSaveErrorOption = options.OnSaveError.go_on,
    quiet: options.Quiet = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and build everything, train nothing.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Train a recipe, or continue it where it stopped.

    An unfinished run of the same experiment in the run directory is continued; a finished one is left as it is.
    """
    from acaikit.cli import describe
    from acaikit.config import build, read_recipe, telling_places
    from acaikit.objective import players
    from acaikit.recipes import locate
    from acaikit.runs.session import check, open_session
    from acaikit.runs.stopping import Stopper

    options.apply(data_dir, threads, quiet=quiet)
    bindings = [*(overrides or []), *([f"Experiment.seed = {seed}"] if seed is not None else [])]
    config = read_recipe(recipe, bindings)
    experiment = build(config)
    path = directory or Path("runs") / f"{locate(recipe).stem}-s{experiment.seed}"
    chosen = options.pick(device, path)
    if dry_run:
        check(path, config)
        with telling_places(config):
            told = describe.of_config(config, experiment)
            players(*experiment.build())
        describe.show(told, as_json)
        if not as_json:
            say(f"nothing was trained; without --dry-run this runs in {path} on {chosen}", out)
        return
    limit = options.seconds(max_time)
    given = options.Given(data_dir, device, threads)
    trouble = options.trouble(on_nan, on_save_error)
    with (
        lasting_output(),
        open_session(path, config=config, overrides=bindings, device=chosen, say=say, warn=_warn, **trouble) as session,
        # Only once training begins does Ctrl-C ask for a stop in good order: a download is to end at once.
        Stopper(limit, session.save_soon) as stopper,
    ):
        _train(session, stopper, given, quiet, as_json)


def resume(
    run_dir: options.RunDirectory,
    samples: Annotated[int | None, typer.Option(min=1, help="A larger budget than the run has, in samples.")] = None,
    data_dir: options.DataDir = None,
    device: options.Device = options.DeviceName.auto,
    threads: options.Threads = None,
    max_time: options.MaxTime = None,
    on_nan: options.OnNanOption = None,
    on_save_error: options.OnSaveErrorOption = options.OnSaveError.go_on,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
) -> None:
    """Continue a run from its last checkpoint, bit for bit; with --samples, beyond its budget."""
    from acaikit.runs.session import open_session
    from acaikit.runs.stopping import Stopper

    options.apply(data_dir, threads, quiet=quiet)
    limit = options.seconds(max_time)
    given = options.Given(data_dir, device, threads)
    trouble = options.trouble(on_nan, on_save_error)
    with (
        lasting_output(),
        open_session(run_dir, device=options.pick(device, run_dir), say=say, warn=_warn, **trouble) as session,
        Stopper(limit, session.save_soon) as stopper,
    ):
        if samples is not None:
            session.extend(samples)
        _train(session, stopper, given, quiet, as_json)


def _warn(line: str) -> None:
    from acaikit.progress import console

    say(line, console)


def _train(session: Session, stopper: Stopper, given: options.Given, quiet: bool, as_json: bool) -> None:
    from acaikit.divergence import Diverged
    from acaikit.report.progress import Reporter
    from acaikit.runs.session import State
    from acaikit.runs.stopping import Interrupted

    trainer, path = session.trainer, session.directory.path
    console = Console(quiet=quiet or as_json)
    again = given.command("resume", path)
    if session.state is State.FINISHED:
        say(f"{path} is finished ({trainer.samples:,} samples); more with: {again} --samples N", console)
        _conclude(session, console, given, as_json)
        return
    if session.state is State.UNFINISHED:
        say(f"continuing {path} from {trainer.samples:,} samples", console)
    else:
        say(f"training in {path} on {trainer.device}, seed {trainer.experiment.seed}", console)
    try:
        with Reporter(console, trainer) as reporter:
            session.train([reporter], stopper)
    except Diverged as found:
        _tell_divergence(session, found, given)
        if as_json:
            print_json(_summary(session, [], found))
        raise typer.Exit(DIVERGED) from None
    except Interrupted as interrupted:
        say(f"interrupted; what was saved before stands, continue with: {again}")
        raise typer.Exit(128 + interrupted.signal) from None
    if trainer.finished:
        _conclude(session, console, given, as_json)
        if not session.saved:
            raise typer.Exit(1)
        return
    saved = "saved" if session.saved else "NOT saved"
    say(f"stopped at {trainer.samples:,} of {trainer.budget:,} samples, {saved}; continue with: {again}", console)
    if as_json:
        print_json(_summary(session, []))
    if session.given_up or not session.saved:
        raise typer.Exit(1)
    if stopper.signal is not None:
        raise typer.Exit(128 + stopper.signal)


def _tell_divergence(session: Session, found: Diverged, given: options.Given) -> None:
    path, step = session.directory.path, session.saver.saved_step
    stands = "no checkpoint had been saved yet" if step < 0 else f"the checkpoint of step {step} stands"
    fail(f"{found}; {stands}. To try:")
    means = {"skip": "leave out such updates", "rewind": "go back and on with other draws"}
    for way, meaning in means.items():
        if way != session.trainer.on_nan:
            say(f"  {given.command('resume', path, '--on-nan', way)}  # {meaning}")
    smaller = session.trainer.experiment.learning_rate / 10
    say(f"or a new run with a smaller learning rate: --set Experiment.learning_rate={smaller:g}")


def _conclude(session: Session, console: Console, given: options.Given, as_json: bool) -> None:
    from acaikit.report.tables import scores_table

    files = _pictures(session)
    if as_json:
        print_json(_summary(session, files))
        return
    path = session.directory.path
    console.print(scores_table(session.metrics.read()))
    for file in files:
        say(f"picture: {file}", console)
    console.print("next:")
    commands = {
        given.command("eval", path): "measure again; with flags, more",
        f"acaikit show {path}": "what was run, and with what",
        given.command("resume", path, "--samples", str(2 * session.trainer.budget)): "train on",
    }
    for command, what in commands.items():
        say(f"  {command:{max(map(len, commands))}}  # {what}", console)


def _pictures(session: Session) -> list[Path]:
    """Return the finished run's pictures; drawn now, unless this session found the run finished with its pictures."""
    from acaikit.report.names import about
    from acaikit.report.pictures import draw
    from acaikit.runs.session import State

    trainer, folder = session.trainer, session.directory.figures
    there = sorted(folder.glob("*.png"))
    if session.state is State.FINISHED and there:
        return there
    shown = about(session.directory.path.resolve().name, trainer.samples)
    try:
        return draw(trainer.trained, folder, shown, trainer.experiment.evaluators)
    except OSError as error:
        say(f"the pictures could not be written: {error}")
        return []


def _summary(session: Session, files: list[Path], found: Diverged | None = None) -> dict[str, object]:
    from acaikit.report.tables import reported

    trainer = session.trainer
    return {
        "run": str(session.directory.path),
        "step": trainer.steps,
        "samples": trainer.samples,
        "budget": trainer.budget,
        "finished": trainer.finished and found is None,
        "diverged": found and {"step": found.step, "terms": found.terms, "tensors": found.tensors},
        "scores": reported(session.metrics.read()),
        "figures": [str(file) for file in files],
    }
