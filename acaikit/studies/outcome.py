"""How a run's last turn went: what a worker leaves in the study's folder, and what others read there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from acaikit.artifacts.publish import publish

MOST = 2**20
"""Bytes of an outcome at most."""


class State(StrEnum):
    """What became of a turn."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    UNWRITABLE = "unwritable"


class Stage(StrEnum):
    """What a turn was at."""

    TRAINING = "training"
    EVALUATION = "evaluation"


@dataclass(frozen=True)
class Outcome:
    """One turn of a worker at one run.

    Attributes
    ----------
    state : State
        "running" from the turn's beginning on; it stays where the worker itself was killed. "unwritable" says that the
        run or the study couldn't be written, as on a full disk.
    stage : Stage
        What the worker was at last.
    began, ended : str
        ISO 8601 in UTC; `ended` is empty until the turn is over.
    host : str
        Where.
    retries : int
        How often a process was started again after a signal had killed it.
    lines : tuple of str
        The last lines that the process in question said, if it failed.
    evaluation : tuple of str
        The arguments of the evaluation that is done.
    checkpoint : str
        The sha256 of the checkpoint that it was done of; in any case, of the newest once the state is "done".
    """

    state: State
    stage: Stage
    began: str
    ended: str = ""
    host: str = ""
    retries: int = 0
    lines: tuple[str, ...] = ()
    evaluation: tuple[str, ...] = ()
    checkpoint: str = ""

    @property
    def telling(self) -> str:
        """The line that says most: acaikit's own error, where there is one, or else the last."""
        errors = [line for line in self.lines if line.startswith("error:")]
        worded = [line for line in self.lines if any(letter.isalnum() for letter in line)]  # not a frame around others
        return next(iter([*errors[-1:], *worded[-1:]]), "it said nothing")

    def store(self, file: Path) -> None:
        """Write it, whole; raise `OSError` where that can't be done."""
        publish(file, json.dumps(asdict(self), ensure_ascii=False).encode("utf-8", "replace"))

    @classmethod
    def read(cls, file: Path) -> Outcome | None:
        """Return what was stored; None where there is nothing that can be understood."""
        try:
            with file.open("rb") as opened:
                found = json.loads(opened.read(MOST))
            began, ended, host, checkpoint = (str(found[name]) for name in ("began", "ended", "host", "checkpoint"))
            lines, evaluation = (tuple(map(str, found[name])) for name in ("lines", "evaluation"))
            state, stage = State(found["state"]), Stage(found["stage"])
            return cls(state, stage, began, ended, host, int(found["retries"]), lines, evaluation, checkpoint)
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return None
