"""How a run went, as ``acaikit run`` and ``acaikit resume`` tell it at its end."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING

from rich.console import Console

from acaikit.cli import options
from acaikit.cli.terminal import fail, print_json, say
from acaikit.runs.stopping import Stopper

if TYPE_CHECKING:
    from acaikit.divergence import Diverged
    from acaikit.runs.session import Session

TENSORS = 10
"""Names of tensors that --json lists at most: of a whole model's gradients the first tell as much."""
SANE = 1e-2
"""The largest learning rate of which a tenth is worth a try; above it, Experiment's own is."""


def stopped_by(session: Session, stopper: Stopper) -> str:
    """Return what --json calls the reason for which a run stopped before its end."""
    if session.given_up:
        return "unsaved"
    return "max-time" if stopper.signal is None else Signals(stopper.signal).name


def standing(session: Session) -> str:
    """Return a clause about the checkpoint from which the run goes on."""
    steps = session.checkpoints.steps()
    return f"the checkpoint of step {steps[-1]} stands" if steps else "there is no checkpoint"


def tell_divergence(session: Session, found: Diverged, given: options.Given) -> None:
    """Tell where the run diverged, and what is worth a try."""
    from acaikit.report.tables import reported

    path, experiment = session.directory.path, session.trainer.experiment
    table, stands = session.metrics.read(), standing(session)
    lost = bool(scores := reported(table)) and not any(isfinite(score["last"]) for score in scores.values())
    if lost:
        stands += f", but no score was finite any more at step {table['step'][-1]}"
    fail(f"{found}; {stands}. To try:")
    back = "go back and on with other draws"
    if session.saver.saved_step < 0:
        back = "begin again with other draws; what isn't chance happens again"
    for way, meaning in {"skip": "leave out such updates", "rewind": back}.items():
        if way != session.trainer.on_nan and not lost:
            say(f"  {given.command('resume', path, '--on-nan', way)}  # {meaning}")
    rate = experiment.learning_rate
    smaller = rate / 10 if rate <= SANE else type(experiment).learning_rate
    other = "a new run" if lost else "or a new run"
    say(f"{other} with a smaller learning rate than {rate:g}: --set Experiment.learning_rate={smaller:g}")


def conclude(session: Session, console: Console, given: options.Given, as_json: bool) -> None:
    """Tell a finished run's scores, draw its pictures, and name the next commands."""
    from acaikit.report.tables import scores_table

    files = _pictures(session) if session.saved else []
    if as_json:
        print_json(summary(session, given, None, files))
        return
    path = session.directory.path
    console.print(scores_table(session.metrics.read()))
    for file in files:
        say(f"picture: {file}", console)
    if not session.saved:
        return
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
    if session.directory.moved:
        return []
    if session.state is State.FINISHED and there:
        return there
    shown = about(session.directory.path.resolve().name, trainer.samples)
    try:
        return draw(trainer.trained, folder, shown, trainer.experiment.evaluators)
    except OSError as error:
        say(f"the pictures could not be written: {error}")
        return []


def summary(
    session: Session,
    given: options.Given,
    stopped_by: str | None,
    files: Sequence[Path] = (),
    found: Diverged | None = None,
) -> dict[str, object]:
    """Return what --json says of a run."""
    from acaikit.report.tables import reported

    trainer, path = session.trainer, session.directory.path
    return {
        "run": str(path),
        "step": trainer.steps,
        "samples": trainer.samples,
        "budget": trainer.budget,
        "finished": trainer.finished and found is None,
        "saved": session.saved,
        "stopped_by": stopped_by,
        "resume": given.command("resume", path),
        "diverged": found and {"step": found.step, "terms": found.terms, "tensors": found.tensors[:TENSORS]},
        "scores": reported(session.metrics.read()),
        "figures": [str(file) for file in files],
    }
