"""The worker: one run's whole turn in a slot, whatever engine the slot belongs to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from acaikit.artifacts.lock import Held, RunLock
from acaikit.artifacts.publish import make_folder
from acaikit.artifacts.rundir import RunDir
from acaikit.errors import UserError
from acaikit.studies.fault import fault
from acaikit.studies.layout import Run, StudyDir
from acaikit.studies.outcome import Outcome, Stage, State
from acaikit.studies.process import LINES, Ended, Process, now
from acaikit.studies.progress import newest, saved

RETRIES = 3
"""How often a command that a signal killed is started again in one turn."""
COMMAND = (sys.executable, "-P", "-m", "acaikit")
"""With -P, a module of the user's that lies in the working directory is not taken for one of Python's."""
OMP_NUM_THREADS = "OMP_NUM_THREADS"


class Stopped(Exception):
    """The worker was asked to stop."""


class Unwritable(Exception):
    """The study's folder can't be written."""


class Worker:
    """Trains one run of a study to its end and measures it, in processes of their own.

    A worker can be pickled before it is called. It is called once.

    Parameters
    ----------
    study : Path
        The study's folder.
    run : str
        The run's name in the study's plan.
    threads : int
        CPU threads of each process; a run that has begun is trained with as many as before, so that its bits stay the
        same.
    given : sequence of str
        Further options of ``acaikit run`` and ``acaikit eval``, such as ``--device cpu``; ``--threads`` holds for runs
        that have begun too.
    environment : mapping of str to str
        Environment variables, beside those that the worker itself has.
    """

    def __init__(
        self,
        study: Path,
        run: str,
        threads: int,
        given: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.study, self.run, self.threads = StudyDir(study.resolve()), run, threads
        self.given, self.environment = tuple(given), dict(environment or {})
        self._process: Process | None = None
        self._stops = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return Worker, (self.study.path, self.run, self.threads, self.given, self.environment)

    def stop(self) -> None:
        """Ask the process at work to save and end, and start no other; a second call ends it at once.

        A signal's handler may call it, or another thread.
        """
        self._stops += 1
        self._signal()

    def __call__(self) -> Outcome:
        """Do what is left to do of the run, and return how it went, which the study's folder says then too.

        Whatever goes wrong is said by the outcome; only what ends this process, such as KeyboardInterrupt, is raised.
        """
        outcome = Outcome(State.RUNNING, Stage.TRAINING, now(), host=socket.gethostname())
        try:
            return self._attend(outcome)
        except Unwritable as error:
            return replace(outcome, state=State.UNWRITABLE, ended=now(), lines=(str(error),))

    def _attend(self, outcome: Outcome) -> Outcome:
        try:
            plan = self.study.read()
            run = plan.run(self.run)
        except UserError as error:  # what is stored stands: it may be that of a plan to come
            return replace(outcome, state=State.FAILED, ended=now(), lines=tuple(str(error).splitlines()))
        try:
            with self._writing():
                make_folder(self.study.task(self.run))
            with RunLock(self.study.task_lock(self.run), wait=self._wait):
                return self._turn(run, plan.evaluation, self._begun(outcome))
        except Stopped:  # before its turn: what is stored is another worker's
            return replace(outcome, state=State.STOPPED, ended=now())
        except UserError as error:
            outcome = replace(outcome, state=State.FAILED, ended=now(), lines=tuple(str(error).splitlines()))
            self._store(outcome)
            return outcome

    def _begun(self, outcome: Outcome) -> Outcome:
        """Return the outcome with what was measured before, of the checkpoint that is there."""
        before = self.study.outcome(self.run)
        if before is None or before.checkpoint != newest(self.study.run(self.run)):
            return outcome
        return replace(outcome, evaluation=before.evaluation, checkpoint=before.checkpoint)

    def _turn(self, run: Run, evaluation: Sequence[str], outcome: Outcome) -> Outcome:
        self._store(outcome)
        try:
            outcome = self._train(run, outcome)
            if outcome.state is State.RUNNING:
                outcome = self._evaluate(evaluation, outcome)
            if outcome.state is State.RUNNING:
                outcome = replace(outcome, state=State.DONE, checkpoint=newest(self.study.run(self.run)) or "")
        except Stopped:
            outcome = replace(outcome, state=State.STOPPED)
        except Unwritable:
            raise
        except Exception as error:
            said = "".join(traceback.format_exception(error)).splitlines()
            outcome = replace(outcome, state=State.FAILED, lines=tuple(said[-LINES:]))
        except BaseException:
            self._store(replace(outcome, state=State.STOPPED, ended=now()))
            raise
        outcome = replace(outcome, ended=now())
        self._store(outcome)
        return outcome

    def _train(self, run: Run, outcome: Outcome) -> Outcome:
        directory = self.study.run(self.run)
        checkpoints = saved(directory)
        sound = RunDir(directory).exists() and not fault(directory)
        if sound and any(checkpoint.finished for checkpoint in checkpoints):
            return outcome
        bindings = [word for text in run.overrides for word in ("--set", text)]
        words = ["run", str(self.study.recipe(run.recipe)), *bindings, "--seed", str(run.seed)]
        own = ["--dir", str(directory), "--wait", "--on-save-error", "stop", "--json"]
        return self._keep_on([*words, *own], outcome, threads=None if checkpoints else self.threads)

    def _evaluate(self, evaluation: Sequence[str], outcome: Outcome) -> Outcome:
        done = (tuple(evaluation), newest(self.study.run(self.run)))
        if not evaluation or (outcome.evaluation, outcome.checkpoint) == done:
            return outcome
        outcome = replace(outcome, stage=Stage.EVALUATION)
        self._store(outcome)
        words = ["eval", str(self.study.run(self.run)), *evaluation, "--quiet"]
        outcome = self._keep_on(words, outcome, self.threads)
        if outcome.state is State.RUNNING:
            outcome = replace(outcome, evaluation=done[0], checkpoint=done[1] or "")
        return outcome

    def _keep_on(self, words: Sequence[str], outcome: Outcome, threads: int | None) -> Outcome:
        """Run a command until it ends by itself; the outcome says "running" still where that was well."""
        environment = {**os.environ, **self.environment}
        if threads is None:  # the environment would stand above what the run was trained with
            environment.pop(OMP_NUM_THREADS, None)
        else:
            environment[OMP_NUM_THREADS] = str(threads)
            words = [*words, "--threads", str(threads)]
        for retry in range(RETRIES + 1):
            if retry:
                outcome = replace(outcome, retries=outcome.retries + 1)
                self._store(outcome)
            ended = self._run([*words, *self.given], environment)
            if ended.code == 0 or ended.signal is None or self._stops:
                break
        if ended.code == 0:
            return outcome
        if self._stops:
            return replace(outcome, state=State.STOPPED)
        unsaved = ended.told.get("stopped_by") == "unsaved"
        return replace(outcome, state=State.UNWRITABLE if unsaved else State.FAILED, lines=ended.lines)

    def _run(self, words: Sequence[str], environment: Mapping[str, str]) -> Ended:
        """Run a process to its end."""
        if self._stops:
            raise Stopped
        heading = subprocess.list2cmdline(["acaikit", *words])
        self._process = Process([*COMMAND, *words], environment, self.study.log(self.run), heading)
        if self._stops:  # asked for while the process was made
            self._signal()
        try:
            return self._process.wait()
        except BaseException:
            self.stop()
            self._process.wait()
            raise
        finally:
            self._process = None

    def _wait(self, held: Held) -> None:
        if self._stops:
            raise Stopped

    def _signal(self) -> None:
        process = self._process
        if process is not None:
            process.signal(signal.SIGTERM if self._stops == 1 else signal.SIGKILL)

    def _store(self, outcome: Outcome) -> None:
        with self._writing():
            outcome.store(self.study.outcome_file(self.run))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unwritable(f"{self.study.path} can't be written: {error}") from error
