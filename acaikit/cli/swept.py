"""What ``acaikit sweep`` tells of its runs: a line for each that is over, and what became of them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Console

from acaikit.cli.terminal import fail, say
from acaikit.report.progress import clock
from acaikit.studies.layout import Plan, Run, StudyDir
from acaikit.studies.outcome import Outcome, State
from acaikit.studies.status import plain
from acaikit.studies.worker import Worker

WAITING = "waiting"
"""What JSON calls the state of a run that wasn't begun."""


class Swept:
    """Takes note of how runs end, and tells it.

    Parameters
    ----------
    study, plan, left : StudyDir, Plan, sequence of Run
        The study, and its runs that were not done.
    console : Console
        For what isn't an error.
    """

    def __init__(self, study: StudyDir, plan: Plan, left: Sequence[Run], console: Console) -> None:
        self.study, self.plan, self.console = study, plan, console
        self.outcomes: dict[str, Outcome] = {}
        self._left = {run.name for run in left}

    def __call__(self, worker: Worker, outcome: Outcome) -> None:
        """Take note of a worker that is over, in a line."""
        self.outcomes[worker.run] = outcome
        total = len(self.plan.runs)
        over = total - len(self._left) + len(self.outcomes)
        say(f"{over}/{total} {worker.run}: {self._how(worker.run)}", self.console)

    def heard(self, asked: bool) -> bool:
        """Return whether it was asked to stop, and say so: an engine that stops asks no more."""
        if asked:
            say("stopping: what runs is saved first; a second time ends it at once", self.console)
        return asked

    def of(self, *states: str) -> list[str]:
        """Return the runs that are in one of some states by now."""
        return [run.name for run in self.plan.runs if self._state(run.name) in states]

    @property
    def done(self) -> bool:
        """Whether all are."""
        return len(self.of(State.DONE)) == len(self.plan.runs)

    def conclude(self, again: str, *, stopped: bool) -> None:
        """Tell what has become of the runs, and which commands come next."""
        total, broken = len(self.plan.runs), self.of(State.FAILED, State.UNWRITABLE)
        say(
            f"{len(self.of(State.DONE))} of {total} runs of {self.plan.study} are done, in {self.study.path}",
            self.console,
        )
        for name in broken:
            say(f"  {name}: {self._how(name)}")
        if self.of(State.UNWRITABLE):
            fail(f"{self.study.path} can't be written any more; what is done stands. Once it can, go on with: {again}")
        elif stopped and not self.done:
            say(f"stopped; what was saved stands, go on with: {again}")
        elif broken:
            say(f"{len(broken)} of {total} runs failed. Once the cause is mended, go on with: {again}")
        else:
            say("next:", self.console)
            say(f"  acaikit table {self.study.path}", self.console)
            say(f"  acaikit table {self.study.path} --paper  # the paper's numbers beside", self.console)

    def as_json(self) -> dict[str, Any]:
        """Return what JSON says of the study."""
        return {
            "study": self.plan.study,
            "dir": str(self.study.path),
            "counts": Counter(self._state(run.name) for run in self.plan.runs),
            "runs": [self._of_run(run.name) for run in self.plan.runs],
        }

    def _of_run(self, name: str) -> dict[str, Any]:
        outcome = self.outcomes.get(name)
        return {
            "run": str(self.study.run(name)),
            "state": self._state(name),
            "retries": outcome.retries if outcome else 0,
            "lines": outcome.lines if outcome else (),
            "log": str(self.study.log(name)),
        }

    def _state(self, name: str) -> str:
        if outcome := self.outcomes.get(name):
            return outcome.state
        return WAITING if name in self._left else State.DONE

    def _how(self, name: str) -> str:
        outcome = self.outcomes[name]
        if outcome.state is State.STOPPED:
            return "stopped"
        if outcome.state is State.DONE:
            took = datetime.fromisoformat(outcome.ended) - datetime.fromisoformat(outcome.began)
            again = f", begun again {outcome.retries} times" if outcome.retries else ""
            return f"done in {clock(took.total_seconds())}{again}"
        said = plain(outcome.telling)
        return f"{outcome.state}: {said}; the rest: {self.study.log(name)}"
