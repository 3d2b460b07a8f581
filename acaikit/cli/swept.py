"""What ``acaikit sweep`` tells of its runs: a line for each that is over, and what became of them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.console import Console

from acaikit.artifacts.lock import plain
from acaikit.cli.terminal import fail, say
from acaikit.report.paper import SCORES, published
from acaikit.report.progress import clock
from acaikit.studies.cause import cause
from acaikit.studies.layout import Plan, Run, StudyDir
from acaikit.studies.outcome import Outcome, State
from acaikit.studies.queue import QueueEntry
from acaikit.studies.status import Phase
from acaikit.studies.worker import Worker
from acaikit.words import counted

PHASES = {
    State.RUNNING: Phase.RUNNING,
    State.DONE: Phase.DONE,
    State.FAILED: Phase.FAILED,
    State.STOPPED: Phase.WAITING,
    State.UNWRITABLE: Phase.FAILED,
}
"""What a run is at, once a turn of it ended so."""


class Swept:
    """Takes note of how runs end, and tells it.

    Parameters
    ----------
    study, plan : StudyDir, Plan
        The study.
    left : sequence of Run
        Those of its runs that are to run now.
    queue : mapping of str to QueueEntry, optional
        Those that are not done either, but left to Slurm, in whose queue they are; None where it can't be asked.
    console : Console
        For what isn't an error.
    """

    def __init__(
        self, study: StudyDir, plan: Plan, left: Sequence[Run], queue: Mapping[str, QueueEntry] | None, console: Console
    ) -> None:
        self.study, self.plan, self.left, self.queue, self.console = study, plan, left, queue, console
        self.queued = queue or {}
        self.outcomes: dict[str, Outcome] = {}
        self._undone = {*(run.name for run in left), *self.queued}

    def __call__(self, worker: Worker, outcome: Outcome) -> None:
        """Take note of a worker that is over, in a line; why one failed comes at the end."""
        self.outcomes[worker.run] = outcome
        total = len(self.plan.runs)
        over = total - len(self._undone) + len(self.outcomes)
        say(f"{over}/{total} {worker.run}: {_how(outcome)}", self.console)

    def heard(self, asked: bool) -> bool:
        """Return whether it was asked to stop, and say so: an engine that stops asks no more."""
        if asked:
            say("stopping: what runs is saved first; a second time ends it at once", self.console)
        return asked

    def of(self, phase: Phase) -> list[str]:
        """Return the runs that are at something by now."""
        return [run.name for run in self.plan.runs if self._phase(run.name) is phase]

    @property
    def done(self) -> bool:
        """Whether all are that were to be run now."""
        return len(self.of(Phase.DONE)) + len(self.queued) == len(self.plan.runs)

    def list(self) -> None:
        """List the runs, as they are before any begins."""
        for run in self.plan.runs:
            say(f"{run.name}{'' if run.name in self._undone else ' (done)'}", self.console)
        say(
            f"{counted(len(self.plan.runs), 'run')} in {self.study.path}, {len(self._undone)} to go; "
            "nothing was started",
            self.console,
        )

    def conclude(self, again: str, *, stopped: bool) -> None:
        """Tell what has become of the runs, and which commands come next."""
        total, failed = counted(len(self.plan.runs), "run"), self.of(Phase.FAILED)
        are = "is" if len(self.plan.runs) == 1 else "are"
        say(
            f"{len(self.of(Phase.DONE))} of {total} of {self.plan.study} {are} done, in {self.study.path}", self.console
        )
        for name in failed:
            outcome = self.outcomes[name]
            say(f"  {name}: {_how(outcome)}: {plain(cause(outcome))}; the rest: {self.study.log(name)}")
        if any(outcome.state is State.UNWRITABLE for outcome in self.outcomes.values()):
            fail(f"{self.study.path} can't be written any more; what is done stands. Once it can, go on with: {again}")
        elif stopped and not self.done:
            say(f"stopped; what was saved stands, go on with: {again}")
        elif failed:
            say(f"{len(failed)} of {total} failed. Once the cause is mended, go on with: {again}")
        elif self.queued:
            say(f"how far the others are: acaikit status {self.study.path}", self.console)
        else:
            say("next:", self.console)
            say(f"  acaikit table {self.study.path}", self.console)
            if any(published(run.recipe, score) for run in self.plan.runs for score in SCORES):
                say(f"  acaikit table {self.study.path} --paper  # the paper's numbers beside", self.console)

    def as_json(self) -> dict[str, Any]:
        """Return what JSON says of the study."""
        return {
            "study": self.plan.study,
            "path": str(self.study.path),
            "counts": {phase: len(self.of(phase)) for phase in Phase},
            "runs": [self._of_run(run) for run in self.plan.runs],
        }

    def _of_run(self, run: Run) -> dict[str, Any]:
        outcome = self.outcomes.get(run.name)
        of_plan = asdict(run)
        return {
            "run": of_plan.pop("name"),
            "directory": str(self.study.run(run.name)),
            **of_plan,
            "state": self._phase(run.name),
            "retries": outcome.retries if outcome else 0,
            "said": plain(cause(outcome)) if outcome and self._phase(run.name) is Phase.FAILED else "",
            "log": str(self.study.log(run.name)),
        }

    def _phase(self, name: str) -> Phase:
        if outcome := self.outcomes.get(name):
            return PHASES[outcome.state]
        return Phase.WAITING if name in self._undone else Phase.DONE


def _how(outcome: Outcome) -> str:
    again = f", begun again {counted(outcome.retries, 'time')}" if outcome.retries else ""
    if outcome.state is State.DONE:
        took = datetime.fromisoformat(outcome.ended) - datetime.fromisoformat(outcome.began)
        return f"done in {clock(took.total_seconds())}{again}"
    return f"{'stopped' if outcome.state is State.STOPPED else 'failed'}{again}"
