"""A session: one process's turn at training a run, from its last checkpoint to its budget or a stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.log import Log
from acaikit.artifacts.metrics import Metrics
from acaikit.artifacts.rundir import RunDir
from acaikit.divergence import Diverged
from acaikit.engine import Callback, Trainer, train
from acaikit.errors import RunError, UserError
from acaikit.fingerprint import changes, fingerprint
from acaikit.health import Sign
from acaikit.runs.provenance import changed_versions
from acaikit.runs.restoring import State
from acaikit.runs.saving import Saver
from acaikit.runs.watch import Watch
from acaikit.types import Scores

REWINDS = 3
"""Attempts to get beyond one checkpoint."""


@dataclass
class Session:
    """A run that this process holds the lock of.

    Attributes
    ----------
    directory : RunDir
        The run directory.
    trainer : Trainer
        At the run's last checkpoint.
    state : State
        What the directory held when the session was opened.
    say : callable
        Takes a line that the user should see; it is in the log then.
    warn : callable
        Takes a warning about the model's health.
    log : Log
        Takes whatever else happens.
    stop_unsaved : bool
        Whether to stop once something can't be saved.
    given_up : bool
        Whether that is why it stopped.
    """

    directory: RunDir
    trainer: Trainer
    state: State
    info: dict[str, Any]
    say: Callable[[str], None]
    warn: Callable[[str], None]
    log: Log
    stop_unsaved: bool = False

    def __post_init__(self) -> None:
        self.checkpoints = Checkpoints(self.directory.checkpoints, self.info["run_id"])
        self.metrics = Metrics(self.directory.metrics, self.info["run_id"])
        self.saver = Saver(self.directory, self.checkpoints, self.metrics, self.say)
        self.saver.forget(-1 if self.state is State.NEW else self.trainer.steps)
        self.watch = Watch()
        self._asked = False
        self._rewinds = 0
        self._spared = False
        self._skipped = self.trainer.skipped
        self._obstacle: str | None = None
        self.given_up = False

    @property
    def saved(self) -> bool:
        """Whether what was trained and measured is all on disk."""
        return self.saver.saved(self.trainer)

    @property
    def unsaved(self) -> str:
        """Why the last attempts to save failed, as a clause; empty where none did."""
        return "; ".join(f"the {what} ({cause})" for what, cause in self.saver.failures.items())

    def train(self, callbacks: Sequence[Callback], stop: Callable[[], bool]) -> None:
        """Train to the budget or to a stop, and save what was reached.

        Raises
        ------
        Diverged
            Training met numbers that are not finite, and rewinding was not asked for or of no use. Nothing of it is
            saved: the last checkpoint stands.
        """
        if self.state is State.FINISHED:
            return
        self._begin()

        def stopping() -> bool:
            # Asked after the row that falls in the step: a checkpoint holds it.
            self._save_if_due()
            self.given_up = bool(self.saver.failures) and (self.stop_unsaved or self.directory.moved)
            return self.given_up or stop()

        while True:
            # An exception may leave half a step behind: nothing is saved then, and the last checkpoint stands.
            try:
                train(self.trainer, [self, *callbacks], stopping)
                self.saver.checkpoint(self.trainer)
                break
            except Diverged as found:
                if self.trainer.on_nan != "rewind" or self._rewinds >= REWINDS:
                    self.log.add(f"diverged: {found}")
                    raise
                self._rewind(found)
        ended = "finished" if self.trainer.finished else "stopped"
        self.log.add(f"{ended} {self._where()}, {'saved' if self.saved else f'NOT saved: {self.unsaved}'}")

    def _begin(self) -> None:
        trainer, device = self.trainer, self.trainer.device
        began = "continued" if self.state is State.UNFINISHED else "begun"
        now = fingerprint(device, trainer.precision)
        self.log.add(f"{began} {self._where()} on {device}, on-nan {trainer.on_nan}, precision {now['precision']}")
        if self.state is State.UNFINISHED:
            if changed := changes(trainer.trained_under, now):
                self.say("this run was trained under other conditions, so its bits may differ from here on:")
            for line in [*changed, *changed_versions(self.info)]:
                self.say(line)

    def _rewind(self, found: Diverged) -> None:
        """Go back to the newest checkpoint, or to the start where none was ever saved, and on with other draws."""
        trainer, begun = self.trainer, self.saver.saved_step < 0
        on_nan, budget, rewinds, precision = trainer.on_nan, trainer.budget, trainer.rewinds, trainer.precision
        try:
            newest = self.checkpoints.latest(report=self.say, quarantine=self.directory.quarantine)
            if newest is None and not begun:
                raise RunError("no checkpoint is left that can be read")
            step, state = newest or (-1, Trainer(trainer.experiment, trainer.device).state_dict())
            trainer.load_state_dict(state)
            self.saver.forget(step)
        except (OSError, UserError) as error:
            self.say(f"there is no going back: {error}")
            self.log.add(f"diverged: {found}")
            raise found from error
        trainer.on_nan, trainer.budget, trainer.precision = on_nan, budget, precision
        trainer.stray(rewinds + 1)  # the checkpoint doesn't know how often this was tried from it
        self._skipped = trainer.skipped
        self.watch = Watch()
        self._rewinds += 1
        self.say(f"{found}; going back to step {trainer.steps}, and on from there with other draws")

    def extend(self, samples: int) -> None:
        """Raise the budget, and save it at once; asking for the budget that the run has changes nothing.

        Raises
        ------
        RunError
            If the run's budget is larger.
        """
        if samples < self.trainer.budget:
            raise RunError(
                f"{self.directory.path} has a budget of {self.trainer.budget:,} samples already; --samples extends it"
            )
        if samples > self.trainer.budget:
            self.trainer.budget = samples
            self.state = State.UNFINISHED
            self.saver.outdated = True
            self.save()

    def save_soon(self) -> None:
        """Ask for a checkpoint at the end of the step in hand; a signal's handler may call it."""
        self._asked = True

    def save(self, *, free: bool = False) -> None:
        """Save a checkpoint, unless this step has one; a failure is told, and the one before it stays.

        Parameters
        ----------
        free : bool
            Whether its cost leaves rows their checkpoints.

        Raises
        ------
        Diverged
            The weights are not finite.
        """
        before = self.saver.saved_step
        self.saver.checkpoint(self.trainer, free=free)
        if self.saver.saved_step != before:
            self._rewinds = 0

    def _save_if_due(self) -> None:
        """Save when it was asked for, or when no checkpoint was saved for a long time."""
        asked, self._asked = self._asked, False
        if asked or self.saver.due:
            self.save(free=asked)
        if asked and self.saved:
            self.say(f"saved on request {self._where()}")

    def on_step(self, trainer: Trainer, losses: dict[str, Tensor]) -> None:
        """Nothing: what may be due waits for the row that may fall in the step."""

    def on_row(self, trainer: Trainer, losses: dict[str, float], scores: Scores) -> None:
        """Write the row, then the checkpoint that holds it, where that costs little."""
        signs = trainer.health()
        for line in self.watch.look(signs):
            self.warn(f"warning at step {trainer.steps}: {line}")
        if (skipped := trainer.skipped - self._skipped) > 0:
            self.say(f"{skipped} updates since the row before were skipped: their losses or gradients were not finite")
        self._skipped = trainer.skipped
        if trainer.stepper.obstacle != self._obstacle:
            self._obstacle = trainer.stepper.obstacle
            self.log.add(f"steps are not replayed on the GPU, and take longer: {trainer.stepper.obstacle}")
        self.saver.row(trainer.steps, row(trainer, losses, scores, signs))
        if self.saver.cheap:
            self.save()
        elif not self._spared:
            self._spared = True
            self.log.add(
                f"saving takes too much of the time: rows such as that {self._where()} go without a checkpoint"
            )

    def _where(self) -> str:
        trainer = self.trainer
        return f"at step {trainer.steps}, {trainer.samples:,} of {trainer.budget:,} samples"


def row(
    trainer: Trainer, losses: Mapping[str, float], scores: Scores, signs: Mapping[str, Sign] | None = None
) -> dict[str, float]:
    """Return a row of metrics: samples, losses, scores and signs of health (the trainer's, if left out), by column."""
    return {
        "samples": float(trainer.samples),
        **{f"loss/{name}": loss for name, loss in losses.items()},
        **scores,
        **{f"health/{name}": sign.value for name, sign in (trainer.health() if signs is None else signs).items()},
    }
