"""Saving what a session trains: rows and checkpoints; a save that fails is told, and costs nothing saved before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.metrics import Metrics
from acaikit.engine import Trainer

SAVE_EVERY = 600.0
"""Seconds after which a checkpoint is due even if no evaluation is."""
FREE = 1.0
"""Seconds that a session may spend on saving, whatever share of its time that is."""
SHARE = 0.02
"""The share of a session's time that saving may take; above it, rows go without a checkpoint."""


class Saver:
    """Writes the checkpoints and the metrics of one run.

    Parameters
    ----------
    checkpoints, metrics
        Where to.
    say : callable
        Takes a line that the user should see.

    Attributes
    ----------
    saved_step : int
        The step of the newest checkpoint; -1 for none.
    """

    def __init__(self, checkpoints: Checkpoints, metrics: Metrics, say: Callable[[str], None]) -> None:
        self.checkpoints, self.metrics, self.say = checkpoints, metrics, say
        self.saved_step = -1
        self._began = self._tried = time.monotonic()
        self._spent = 0.0
        self._rows: list[tuple[int, Mapping[str, float]]] = []
        self._failures: dict[str, list[str]] = {}

    @property
    def failed(self) -> bool:
        """Whether the last attempt at a checkpoint or at the metrics failed."""
        return bool(self._failures)

    @property
    def due(self) -> bool:
        """Whether the last attempt at a checkpoint was long ago."""
        return time.monotonic() - self._tried > SAVE_EVERY

    @property
    def cheap(self) -> bool:
        """Whether saving has cost so little of the session's time that a row may have a checkpoint."""
        return self._spent <= max(FREE, SHARE * (time.monotonic() - self._began))

    def saved(self, trainer: Trainer) -> bool:
        """Whether what was trained and measured is all on disk."""
        return self.saved_step == trainer.steps and not self._rows

    def forget(self, saved_step: int) -> None:
        """Take the checkpoint of `saved_step` (-1: none) for the newest, and drop what was measured after it."""
        self.saved_step = saved_step
        self._rows = []
        self.metrics.truncate(max(saved_step, 0))

    def row(self, step: int, row: Mapping[str, float]) -> None:
        """Write a row of metrics; one that can't be written is written with the next."""
        self._rows.append((step, row))
        self._write_rows()

    def checkpoint(self, trainer: Trainer) -> None:
        """Save a checkpoint, unless this step has one, and the rows that are still to be written.

        Raises
        ------
        Diverged
            The weights are not finite: nothing is saved.
        """
        trainer.check()
        if self._rows:
            self._write_rows()
        if self.saved_step != trainer.steps:
            self._tried = time.monotonic()
            with self._attempt("checkpoint", trainer.steps):
                self.checkpoints.save(trainer.steps, trainer.state_dict())
                self.saved_step = trainer.steps

    def _write_rows(self) -> None:
        while self._rows and self._row_written():
            del self._rows[0]

    def _row_written(self) -> bool:
        step, row = self._rows[0]
        with self._attempt("metrics", step):
            self.metrics.append(step, row)
        return "metrics" not in self._failures

    @contextmanager
    def _attempt(self, what: str, step: int) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        except (OSError, MemoryError, ValueError) as error:  # ValueError: more than a file may hold
            causes = self._failures.setdefault(what, [])
            cause = str(getattr(error, "strerror", None) or error or "out of memory")
            if cause not in causes:
                one = "one before it is" if what == "checkpoint" else "rows before them are"
                self.say(f"the {what} of step {step} could not be saved ({error or cause}); the {one} intact")
            causes.append(cause)
        else:
            if failures := self._failures.pop(what, []):
                times = "once" if len(failures) == 1 else f"{len(failures)} times"
                self.say(f"the {what} of step {step} could be saved again, after it had failed {times}")
        finally:
            self._spent += time.monotonic() - start
