"""``acaikit run`` and ``acaikit resume``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from acaikit.cli import options
from acaikit.cli.conclusion import conclude, standing, stopped_by, summary, tell_divergence
from acaikit.cli.lasting import lasting_output
from acaikit.cli.terminal import fail, out, print_json, say
from acaikit.runs.stopping import Interrupted, Starting, Stopper

if TYPE_CHECKING:
    from acaikit.config import Config
    from acaikit.runs.session import Session


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
    precision: options.PrecisionOption = None,
    on_save_error: options.OnSaveErrorOption = options.OnSaveError.go_on,
    wait: options.Wait = False,
    quiet: options.Quiet = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and build everything, train nothing.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Train a recipe, or continue it where it stopped.

    An unfinished run of the same experiment in the run directory is continued; a finished one is left as it is.
    """
    with Starting() as starting:
        from acaikit.cli import describe
        from acaikit.config import build, read_recipe, telling_places
        from acaikit.objective import players
        from acaikit.precision import PRECISIONS
        from acaikit.recipes import locate
        from acaikit.runs.session import check, open_session

        options.apply(data_dir, threads, quiet=quiet)
        bindings = [*(overrides or []), *([f"Experiment.seed = {seed}"] if seed is not None else [])]
        config = read_recipe(recipe, bindings)
        experiment = build(config)
        path = directory or Path("runs") / f"{locate(recipe).stem}-s{experiment.seed}"
        chosen = options.pick(device, path)
        exactly = precision and precision.value
        if dry_run:
            check(path, config)
            with telling_places(config):
                told = describe.of_config(config, experiment)
                players(*experiment.build())
            describe.show(told, as_json)
            if not as_json:
                where = f"{chosen}{_unusual(chosen, exactly or PRECISIONS[0])}"
                say(f"nothing was trained; without --dry-run this runs in {path} on {where}", out)
            return
        limit = options.seconds(max_time)
        given = options.Given(data_dir, device, threads)
        trouble = options.trouble(on_nan, on_save_error)

        def opening() -> AbstractContextManager[Session]:
            return open_session(
                path,
                config=config,
                overrides=bindings,
                device=options.pick(device, path),  # whoever was waited for may have begun the run
                say=say,
                warn=_warn,
                precision=exactly,
                **trouble,
            )

        # Only once training begins does Ctrl-C ask for a stop in good order: a download is to end at once.
        with (
            lasting_output(),
            _open(opening, wait, path, config) as session,
            Stopper(limit, session.save_soon) as stopper,
        ):
            _attend(session, stopper, starting, given, quiet, as_json)


def resume(
    run_dir: options.RunDirectory,
    samples: Annotated[int | None, typer.Option(min=1, help="A larger budget than the run has, in samples.")] = None,
    data_dir: options.DataDir = None,
    device: options.Device = options.DeviceName.auto,
    threads: options.Threads = None,
    max_time: options.MaxTime = None,
    on_nan: options.OnNanOption = None,
    precision: options.PrecisionOption = None,
    on_save_error: options.OnSaveErrorOption = options.OnSaveError.go_on,
    wait: options.Wait = False,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
) -> None:
    """Continue a run from its last checkpoint, bit for bit; with --samples, beyond its budget."""
    with Starting() as starting:
        from acaikit.runs.session import open_session
        from acaikit.studies.expand import check_run

        check_run(str(run_dir))
        options.apply(data_dir, threads, quiet=quiet)
        limit = options.seconds(max_time)
        given = options.Given(data_dir, device, threads)
        trouble = options.trouble(on_nan, on_save_error)
        exactly = precision and precision.value

        def opening() -> AbstractContextManager[Session]:
            return open_session(
                run_dir, device=options.pick(device, run_dir), say=say, warn=_warn, precision=exactly, **trouble
            )

        with lasting_output(), _open(opening, wait, run_dir) as session, Stopper(limit, session.save_soon) as stopper:
            _attend(session, stopper, starting, given, quiet, as_json, samples)


def _open(
    opening: Callable[[], AbstractContextManager[Session]], wait: bool, path: Path, config: Config | None = None
) -> AbstractContextManager[Session]:
    from acaikit.runs.session import in_turn

    return in_turn(path, config, opening, _warn) if wait else opening()


def _unusual(device: str, precision: str) -> str:
    """Return a clause about the precision, where it is another than the device computes in by itself."""
    from acaikit.fingerprint import precision_on

    called = precision_on(device, precision)
    return f", in {called}" if called != precision_on(device) else ""


def _warn(line: str) -> None:
    from acaikit.progress import console

    say(line, console)


def _attend(
    session: Session,
    stopper: Stopper,
    starting: Starting,
    given: options.Given,
    quiet: bool,
    as_json: bool,
    samples: int | None = None,
) -> None:
    """Train, and tell how it went; a second signal ends either at once."""
    try:
        if starting.asked:
            session.save_soon()
        if samples is not None:
            session.extend(samples)
        _train(session, stopper, given, quiet, as_json)
    except Interrupted as interrupted:
        session.log.add(f"interrupted by a second signal, {Signals(interrupted.signal).name}")
        again = given.command("resume", session.directory.path)
        say(f"interrupted; what was saved before stands, continue with: {again}")
        raise typer.Exit(128 + interrupted.signal) from None


def _train(session: Session, stopper: Stopper, given: options.Given, quiet: bool, as_json: bool) -> None:
    import torch

    from acaikit.divergence import Diverged
    from acaikit.fingerprint import precision_on
    from acaikit.report.progress import Reporter
    from acaikit.runs.session import State
    from acaikit.threads import keep

    trainer, path = session.trainer, session.directory.path
    console = Console(quiet=quiet or as_json)
    if session.state is State.UNFINISHED and given.threads is None:
        keep(trainer.trained_under.get("threads"))
    threads = torch.get_num_threads()
    where = f"on {trainer.device} with {threads} thread{'s' * (threads > 1)}"
    where += _unusual(trainer.device.type, trainer.precision)
    again = given.command("resume", path)
    if session.state is State.FINISHED:
        say(f"{path} is finished ({trainer.samples:,} samples); more with: {again} --samples N", console)
        kind = trainer.device.type
        then, now = trainer.trained_under.get("precision", precision_on(kind)), precision_on(kind, trainer.precision)
        if then != now:
            say(
                f"it is left as it is, computed in {then}: --precision {now} is for what is trained from here on",
                console,
            )
        conclude(session, console, given, as_json)
        return
    if session.state is State.UNFINISHED:
        say(f"continuing {path} from {trainer.samples:,} samples, {where}", console)
    else:
        say(f"training in {path} {where}, seed {trainer.experiment.seed}", console)
    try:
        with Reporter(console, trainer) as reporter:
            session.train([reporter], stopper)
    except Diverged as found:
        tell_divergence(session, found, given)
        if as_json:
            print_json(summary(session, given, "diverged", found=found))
        raise typer.Exit(DIVERGED) from None
    if trainer.finished:
        conclude(session, console, given, as_json)
    else:
        if session.saved:
            reached = f"stopped at {trainer.samples:,} of {trainer.budget:,} samples, saved"
            say(f"{reached}; continue with: {again}", console)
        if as_json:
            print_json(summary(session, given, stopped_by(session, stopper)))
    if not session.saved:
        onward = (
            f"continue with: {again}" if session.checkpoints.steps() else "begin anew in another folder, with --dir"
        )
        fail(
            f"the end, at {trainer.samples:,} of {trainer.budget:,} samples, is NOT saved: {session.unsaved}; "
            f"{standing(session)}. Once the cause is mended, {onward}"
        )
    if session.given_up or not session.saved:
        raise typer.Exit(1)
    if stopper.signal is not None and not trainer.finished:
        raise typer.Exit(128 + stopper.signal)
