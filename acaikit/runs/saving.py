"""Saving what a session trains: rows and checkpoints; a save that fails is told, and costs nothing saved before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.faults import TooMuch
from acaikit.artifacts.metrics import Metrics
from acaikit.artifacts.rundir import RunDir
from acaikit.engine import Trainer
from acaikit.errors import RunError

SAVE_EVERY = 600.0
"""Seconds after which a checkpoint is due even if no evaluation is."""
FREE = 1.0
"""Seconds that a session may spend on saving, whatever share of its time that is."""
SHARE = 0.02
"""The share of a session's time that saving may take; above it, rows go without a checkpoint."""


class _Failure(NamedTuple):
    """What is kept of an error: not the error, whose traceback holds all that was to be saved."""

    kind: tuple[type[Exception], int | None]
    cause: str

    @classmethod
    def of(cls, error: Exception) -> _Failure:
        # The cause may say how much room there was: it doesn't tell one kind from another.
        return cls((type(error), getattr(error, "errno", None)), str(error) or "out of memory")


class Saver:
    """Writes the checkpoints and the metrics of one run.

    Parameters
    ----------
    directory, checkpoints, metrics
        Where to. Nothing is written once the directory has moved.
    say : callable
        Takes a line that the user should see.

    Attributes
    ----------
    saved_step : int
        The step of the newest checkpoint; -1 for none.
    outdated : bool
        Whether that checkpoint lacks something that isn't of its step, such as a new budget.
    """

    def __init__(
        self, directory: RunDir, checkpoints: Checkpoints, metrics: Metrics, say: Callable[[str], None]
    ) -> None:
        self.directory, self.checkpoints, self.metrics, self.say = directory, checkpoints, metrics, say
        self.saved_step = -1
        self.outdated = False
        self._began = self._tried = time.monotonic()
        self._spent = 0.0
        self._rows: list[tuple[int, Mapping[str, float]]] = []
        self._failures: dict[str, list[_Failure]] = {}

    @property
    def failures(self) -> dict[str, str]:
        """Why the last attempt at a "checkpoint" or at the "metrics" failed, where it did."""
        return {what: failures[-1].cause for what, failures in self._failures.items()}

    @property
    def due(self) -> bool:
        """Whether the last attempt at a checkpoint was long ago."""
        return time.monotonic() - self._tried > SAVE_EVERY

    @property
    def cheap(self) -> bool:
        """Whether saving has cost so little of the session's time that a row may have a checkpoint."""
        return self.saved_step < 0 or self._spent <= max(FREE, SHARE * (time.monotonic() - self._began))

    def saved(self, trainer: Trainer) -> bool:
        """Whether what was trained and measured is all on disk."""
        whole = self.saved_step == trainer.steps and not self.outdated and not self._rows
        return whole and not self.directory.moved

    def forget(self, saved_step: int) -> None:
        """Take the checkpoint of `saved_step` (-1: none) for the newest, and drop what was measured after it."""
        self.saved_step = saved_step
        self._rows = [(step, row) for step, row in self._rows if step <= saved_step]
        self.metrics.truncate(max(saved_step, 0))

    def row(self, step: int, row: Mapping[str, float]) -> None:
        """Write a row of metrics; one that can't be written is written with the next.

        Raises
        ------
        RunError
            No table can hold this row: it is dropped.
        """
        self._rows.append((step, row))
        self._write_rows()

    def checkpoint(self, trainer: Trainer, *, free: bool = False) -> None:
        """Save a checkpoint, unless this step has one, and before it the rows that are still to be written.

        Parameters
        ----------
        trainer : Trainer
            Of what.
        free : bool
            Whether its cost doesn't count.

        Raises
        ------
        Diverged
            The weights are not finite: nothing is saved.
        RunError
            As `row`.
        """
        trainer.check()
        self._tried = time.monotonic()
        self._write_rows()
        # A run goes on from its newest checkpoint, and nothing would measure again what lies before it.
        if self._rows or self.saved(trainer):
            return
        spent = self._spent
        with self._attempt("checkpoint", trainer.steps, OSError, MemoryError, TooMuch):
            self.directory.check_place()
            self.checkpoints.save(trainer.steps, trainer.state_dict())
            self.saved_step, self.outdated = trainer.steps, False
        if free:
            self._spent = spent

    def _write_rows(self) -> None:
        while self._rows:
            step, row = self._rows[0]
            try:
                with self._attempt("metrics", step, OSError, MemoryError):
                    self.directory.check_place()
                    self.metrics.append(step, row)
            except ValueError as error:
                del self._rows[0]  # or none after it would ever be written
                raise RunError(f"the metrics of step {step} can't be stored: {error}") from error
            if "metrics" in self._failures:
                return
            del self._rows[0]

    @contextmanager
    def _attempt(self, what: str, step: int, *failures: type[Exception]) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        except failures as error:
            failure, before = _Failure.of(error), self._failures.setdefault(what, [])
            if failure.kind not in [other.kind for other in before]:
                self.say(f"the {what} of step {step} could not be saved ({failure.cause}); {self._stands(what)}")
            before.append(failure)
        else:
            if failed := self._failures.pop(what, []):
                times = "once" if len(failed) == 1 else f"{len(failed)} times"
                self.say(f"the {what} of step {step} could be saved again, after it had failed {times}")
        finally:
            self._spent += time.monotonic() - start

    def _stands(self, what: str) -> str:
        if what == "metrics":
            return "the rows before them are intact, and checkpoints wait for them"
        return "there is none before it" if self.saved_step < 0 else "the one before it is intact"
