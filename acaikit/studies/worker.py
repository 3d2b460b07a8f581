"""The worker: one run's whole turn in a slot, whatever engine the slot belongs to."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from acaikit.artifacts.lock import Held, RunLock
from acaikit.artifacts.publish import make_folder
from acaikit.errors import UserError
from acaikit.runs.stopping import STOPPING
from acaikit.studies.layout import Run, StudyDir
from acaikit.studies.outcome import Outcome, Stage, State
from acaikit.studies.progress import saved

RETRIES = 3
"""How often what a signal killed is started again in one turn."""
LINES = 12
"""Lines that an outcome keeps of what a failed process said."""
LONGEST = 1000
"""Letters that it keeps of each."""
COMMAND = (sys.executable, "-m", "acaikit")
FULL = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG))
"""What the system says where nothing can be written any more, whichever run tries."""


class Stopped(Exception):
    """The worker was asked to stop."""


class Ended(NamedTuple):
    """How a process ended, the last lines that it said, and what it printed as JSON."""

    code: int
    lines: tuple[str, ...]
    told: Mapping[str, Any]

    @property
    def signal(self) -> int | None:
        """The signal that ended it; acaikit's own good order after one counts too, where somebody else sent it."""
        if self.code < 0:
            return -self.code
        return self.code - 128 if self.code - 128 in STOPPING else None

    @property
    def unwritable(self) -> bool:
        """Whether it ended because something couldn't be written."""
        return self.told.get("stopped_by") == "unsaved" or any(map(_is_full, self.lines))


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
        CPU threads of each process.
    given : sequence of str
        Further options of ``acaikit run`` and ``acaikit eval``, such as ``--device cpu``.
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
        self._guard = threading.RLock()  # a signal's handler may call stop() while its own thread holds it
        self._process: subprocess.Popen[str] | None = None
        self._stops = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return Worker, (self.study.path, self.run, self.threads, self.given, self.environment)

    def stop(self) -> None:
        """Ask the process at work to save and end, and start no other; a second call ends it at once.

        A signal's handler may call it, or another thread.
        """
        self._stops += 1
        with self._guard:
            self._signal()

    def __call__(self) -> Outcome:
        """Do what is left to do of the run, and return how it went, which the study's folder says then too."""
        outcome = Outcome(State.RUNNING, Stage.TRAINING, _now(), host=socket.gethostname())
        try:
            plan = self.study.read()
            run = plan.run(self.run)
            make_folder(self.study.task(self.run))
            with RunLock(self.study.task_lock(self.run), wait=self._wait):
                before = self.study.outcome(self.run)
                outcome = replace(outcome, evaluation=before.evaluation if before else ())
                return self._turn(run, plan.evaluation, outcome)
        except Stopped:
            return replace(outcome, state=State.STOPPED, ended=_now())
        except OSError as error:
            return replace(outcome, state=State.UNWRITABLE, ended=_now(), lines=(str(error),))
        except UserError as error:
            state = State.UNWRITABLE if _is_full(str(error)) else State.FAILED
            return replace(outcome, state=state, ended=_now(), lines=(str(error),))

    def _turn(self, run: Run, evaluation: Sequence[str], outcome: Outcome) -> Outcome:
        file = self.study.outcome_file(self.run)
        outcome.store(file)
        try:
            outcome = self._train(run, outcome)
            if outcome.state is State.RUNNING and evaluation:
                outcome = self._evaluate(evaluation, outcome)
        except Stopped:
            outcome = replace(outcome, state=State.STOPPED)
        except BaseException as error:
            self.stop()
            self._end()
            state = State.FAILED if isinstance(error, Exception) else State.STOPPED
            said = "".join(traceback.format_exception(error)).splitlines()[-LINES:]
            replace(outcome, state=state, ended=_now(), lines=tuple(said)).store(file)
            raise
        if outcome.state is State.RUNNING:
            outcome = replace(outcome, state=State.DONE)
        outcome = replace(outcome, ended=_now())
        outcome.store(file)
        return outcome

    def _train(self, run: Run, outcome: Outcome) -> Outcome:
        if any(progress.finished for progress in saved(self.study.run(self.run))):
            return outcome
        bindings = [word for text in run.overrides for word in ("--set", text)]
        words = ["run", str(self.study.recipe(run.recipe)), *bindings, "--seed", str(run.seed)]
        own = ["--dir", str(self.study.run(self.run)), "--wait", "--on-save-error", "stop", "--json"]
        return self._keep_on([*words, *own], outcome)

    def _evaluate(self, evaluation: Sequence[str], outcome: Outcome) -> Outcome:
        reached = [str(progress.samples) for progress in saved(self.study.run(self.run))]
        wanted = (*evaluation, *reached)
        if outcome.evaluation == wanted:
            return outcome
        outcome = replace(outcome, stage=Stage.EVALUATION)
        outcome.store(self.study.outcome_file(self.run))
        outcome = self._keep_on(["eval", str(self.study.run(self.run)), *evaluation, "--quiet"], outcome)
        return replace(outcome, evaluation=wanted) if outcome.state is State.RUNNING else outcome

    def _keep_on(self, words: Sequence[str], outcome: Outcome) -> Outcome:
        """Run a command until it ends by itself; the outcome says "running" still where that was well."""
        command = [*COMMAND, *words, "--threads", str(self.threads), *self.given]
        for retry in range(RETRIES + 1):
            if retry:
                outcome = replace(outcome, retries=outcome.retries + 1)
                outcome.store(self.study.outcome_file(self.run))
            ended = self._start(command)
            if ended.code == 0 or ended.signal is None or self._stops:
                break
        if self._stops and ended.code != 0:
            return replace(outcome, state=State.STOPPED)
        if ended.code == 0:
            return outcome
        state = State.UNWRITABLE if ended.unwritable else State.FAILED
        return replace(outcome, state=state, lines=ended.lines)

    def _start(self, command: Sequence[str]) -> Ended:
        """Run a process to its end."""
        # A pipe would fill up while nobody reads it.
        with tempfile.TemporaryFile("w+", errors="replace") as printed:
            with self._guard:
                if self._stops:
                    raise Stopped
                process = self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=printed,
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="replace",
                    env={**os.environ, "OMP_NUM_THREADS": str(self.threads), **self.environment},
                    start_new_session=True,  # a terminal's Ctrl-C is for whoever runs the study, which passes it on
                )
                if self._stops:  # by a signal's handler, while the process was made
                    self._signal()
            lines = self._listen(process, command)
            code = process.wait()
            printed.seek(0)
            told = _json(printed)
        if code < 0:
            lines.append(f"killed by signal {-code} ({signal.strsignal(-code)})")
        return Ended(code, tuple(lines), told)

    def _listen(self, process: subprocess.Popen[str], command: Sequence[str]) -> deque[str]:
        """Copy what a process says to the log, and return the last lines."""
        lines: deque[str] = deque(maxlen=LINES)
        assert process.stderr is not None
        with process.stderr as said, _Log(self.study.log(self.run)) as log:
            log.add(f"== {_now()} on {socket.gethostname()}: {subprocess.list2cmdline(['acaikit', *command[3:]])}")
            for line in said:
                log.add(line.rstrip("\n"))
                if line.strip():
                    lines.append(line.rstrip()[:LONGEST])
        return lines

    def _wait(self, held: Held) -> None:
        if self._stops:
            raise Stopped

    def _signal(self) -> None:
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                if self._stops == 1:
                    self._process.terminate()
                else:  # with all that it started
                    os.killpg(self._process.pid, signal.SIGKILL)

    def _end(self) -> None:
        if self._process is not None:
            self._process.wait()


class _Log:
    """A text file that lines are added to; one that can't be written stops nothing."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> _Log:
        self._descriptor = -1
        with suppress(OSError):
            self._descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        return self

    def add(self, line: str) -> None:
        with suppress(OSError):
            os.write(self._descriptor, f"{line}\n".encode("utf-8", "replace"))

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            os.close(self._descriptor)


def _is_full(said: str) -> bool:
    return any(reason in said for reason in FULL)


def _json(printed: Iterable[str]) -> Mapping[str, Any]:
    """Return what the last line says; a part of the user's may have printed others."""
    for line in deque(printed, maxlen=1):
        with suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict):
                return found
    return {}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
