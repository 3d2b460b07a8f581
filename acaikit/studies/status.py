"""How a study is going, by what its folder says; nothing is written, and neither torch nor a model is loaded."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from acaikit.artifacts.lock import RunLock, plain
from acaikit.artifacts.rundir import RunDir
from acaikit.studies.cause import cause
from acaikit.studies.expand import others
from acaikit.studies.fault import fault
from acaikit.studies.held import is_held
from acaikit.studies.layout import Plan, Run, StudyDir
from acaikit.studies.outcome import Outcome, Stage, State
from acaikit.studies.pace import at_once, pace
from acaikit.studies.progress import Progress, saved
from acaikit.studies.queue import QueueEntry, submitted
from acaikit.studies.todo import is_done

UNSURE = "handed to Slurm; whether it still runs isn't known"


BROKEN = (State.FAILED, State.UNWRITABLE)
"""What counts as failed."""


class Phase(StrEnum):
    """What a run is at."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    WAITING = "waiting"


@dataclass(frozen=True)
class RunStatus:
    """How one run is going.

    Attributes
    ----------
    run : Run
        Which one.
    phase : Phase
        What it is at.
    stage : Stage
        What its last turn is or was at.
    samples, budget : int
        Training examples shown, about where it is running, and how many are to be shown; 0 while nothing is saved.
    left : float or None
        Seconds of training left, about; None where that can't be told.
    began, ended : float or None
        When its last turn did, in seconds since the epoch.
    lasted : float or None
        Seconds that its last turn took; of what runs, that it has been trained or measured in this turn.
    whole : float or None
        Seconds that it takes from beginning to end, about.
    where : str
        The machine, or the job; empty where it never ran.
    retries : int
        How often its last turn began it again after a signal had killed it.
    said : str
        The last line of what failed; why it waits.
    """

    run: Run
    phase: Phase
    stage: Stage = Stage.TRAINING
    samples: int = 0
    budget: int = 0
    left: float | None = None
    began: float | None = None
    ended: float | None = None
    lasted: float | None = None
    whole: float | None = None
    where: str = ""
    retries: int = 0
    said: str = ""

    @property
    def fraction(self) -> float:
        """How much of the run is done, from 0 to 1."""
        if self.phase is Phase.DONE:
            return 1.0
        return min(self.samples / self.budget, 1.0) if self.budget else 0.0


@dataclass(frozen=True)
class Status:
    """How a study is going.

    Attributes
    ----------
    study : str
        Its name.
    path : Path
        Its folder.
    runs : tuple of RunStatus
        In the plan's order.
    busy : bool
        Whether anything runs, is swept or is in a queue.
    unsure : bool
        Whether runs were handed to a cluster that can't be asked what became of them.
    others : tuple of str
        Run directories there that are no part of the plan.
    """

    study: str
    path: Path
    runs: tuple[RunStatus, ...]
    busy: bool
    unsure: bool = False
    others: tuple[str, ...] = ()

    def those(self, phase: Phase) -> list[RunStatus]:
        """Return the runs of one phase."""
        return [run for run in self.runs if run.phase is phase]

    @property
    def fraction(self) -> float:
        """How much of the study is done, from 0 to 1."""
        return sum(run.fraction for run in self.runs) / max(len(self.runs), 1)

    @property
    def left(self) -> float | None:
        """Seconds until all that runs or waits is done, about; None where that can't be told.

        A run of which nothing is known yet is taken to be like those of which something is. As many are taken to run at
        once as when the last one began: fewer may run just now, of a job that begins no other before all of it is over.
        """
        running = self.those(Phase.RUNNING)
        known = [run.whole for run in self.runs if run.whole is not None]
        if not running or not known:
            return None
        mean = sum(known) / len(known)
        left = {run: _left(run, mean) for run in [*running, *self.those(Phase.WAITING)]}
        turns = [(run.began, _until(run)) for run in self.runs if run.began is not None]
        slots = max(len(running), at_once(turns))
        return max(sum(left.values()) / slots, *(left[run] for run in running))


def _until(run: RunStatus) -> float:
    """Return when a run's last turn was over; one that was killed has no time to tell."""
    return math.inf if run.phase is Phase.RUNNING else (run.ended or -math.inf)


def _left(run: RunStatus, mean: float) -> float:
    return run.left if run.left is not None else (run.whole or mean) * (1 - run.fraction)


def look(study: StudyDir, queue: Mapping[str, QueueEntry] | None = None, now: float | None = None) -> Status:
    """Look at a study, whether or not anybody is at work on it.

    Parameters
    ----------
    study : StudyDir
        Its folder; one that can only be read will do.
    queue : mapping of str to QueueEntry, optional
        The runs that are in a cluster's queue, see `acaikit.studies.queue.queued`; left out, that isn't known.
    now : float, optional
        Seconds since the epoch; the clock's, if left out.

    Raises
    ------
    RunError
        There is no study there, or its plan can't be read.
    """
    plan = study.read()
    now = time.time() if now is None else now
    runs = tuple(_look_at(study, plan, run, queue, now) for run in plan.runs)
    working = any(run.phase is Phase.RUNNING for run in runs)
    # The lock itself is looked at only where somebody claims it: a sweep that begins in that instant would be refused.
    swept = RunLock(study.lock_file).holder() is not None and is_held(study.lock_file)
    unsure = any(run.said == UNSURE for run in runs)
    no_part = tuple(plain(path.name) for path in others(study, plan))
    return Status(plain(plan.study), study.path, runs, working or swept or bool(queue), unsure, no_part)


def _look_at(study: StudyDir, plan: Plan, run: Run, queue: Mapping[str, QueueEntry] | None, now: float) -> RunStatus:
    outcome = study.outcome(run.name)
    status = RunStatus(run, Phase.WAITING)
    if outcome is not None:
        status = replace(status, stage=outcome.stage, where=plain(outcome.host), retries=outcome.retries)
        began, ended = _time(outcome.began), _time(outcome.ended)
        status = replace(status, began=began, ended=ended, lasted=_lasted(began, ended))
    checkpoints = saved(study.run(run.name), most=2)
    if checkpoints:
        status = replace(status, samples=checkpoints[0].samples, budget=checkpoints[0].budget)
    broken = fault(study.run(run.name))
    if is_done(study, plan, run.name):
        return replace(status, phase=Phase.DONE, whole=status.lasted)
    if outcome is not None and outcome.state is State.RUNNING and is_held(study.task_lock(run.name)):
        return _at_work(replace(status, lasted=_lasted(status.began, now)), checkpoints, now)
    trained_by = RunLock(RunDir(study.run(run.name)).lock_file).holder()
    if trained_by is not None and trained_by.host == socket.gethostname():  # of another host's, nothing is known
        began = _time(trained_by.since)
        status = replace(status, stage=Stage.TRAINING, began=began, lasted=_lasted(began, now))
        return _at_work(replace(status, where=f"process {trained_by.pid}, outside a sweep"), checkpoints, now)
    entry, failed = (queue or {}).get(run.name), outcome is not None and outcome.state in BROKEN
    if entry is not None and not (failed and entry.state == "RUNNING"):  # what failed of a pack that goes on has failed
        return replace(status, where=plain(f"job {entry.job}"), said=plain(f"{entry.state.lower()} ({entry.reason})"))
    if broken:
        return replace(status, phase=Phase.FAILED, said=plain(broken))
    if outcome is not None and failed:
        return replace(status, phase=Phase.FAILED, said=plain(cause(outcome)))
    job = submitted(study, run.name)
    if job and queue is None:
        return replace(status, where=plain(f"job {job}"), said=UNSURE)
    if job and outcome is None:
        return replace(status, said=plain(f"its job {job} ended without a word"))
    return replace(status, said=_why_it_waits(study, plan, status, outcome))


def _at_work(status: RunStatus, checkpoints: Sequence[Progress], now: float) -> RunStatus:
    status = replace(status, phase=Phase.RUNNING)
    if not checkpoints or status.lasted is None:
        return status
    began = now - status.lasted
    if status.stage is Stage.EVALUATION:
        return replace(status, lasted=max(now - max(began, checkpoints[0].at), 0), whole=status.lasted)
    found = pace(checkpoints, began, now)
    whole = status.budget / found.rate if found.rate else None
    return replace(status, samples=found.samples, left=found.left, whole=whole)


def _why_it_waits(study: StudyDir, plan: Plan, status: RunStatus, outcome: Outcome | None) -> str:
    """Return what became of the run so far; nothing where it never began."""
    if outcome is None:
        return ""
    if status.fraction >= 1 and plan.evaluation and RunDir(study.run(status.run.name)).exists():
        return "trained, still to be measured"
    if outcome.state is State.DONE:
        return "its run directory was removed or trained further"
    return f"{'stopped' if outcome.state is State.STOPPED else 'interrupted'} at {status.fraction:.0%}"


def _lasted(began: float | None, ended: float | None) -> float | None:
    return None if began is None or ended is None else max(ended - began, 0)


def _time(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):  # the file may be anybody's
        return None
