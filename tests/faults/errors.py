"""Errors of the operating system: at every call of a save and of a whole run, and real ones in child processes."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.evaluations import read_evaluations, write_evaluation
from acaikit.artifacts.metrics import Metrics
from acaikit.artifacts.publish import remove_stale
from acaikit.artifacts.rundir import RunDir
from acaikit.config import read_recipe
from acaikit.errors import UserError
from acaikit.runs.session import open_session

from . import limits
from .disk import INFO, RUN_ID, rows_of, same, small_parts, tree, unsynchronised
from .layer import Call, layer
from .report import Report

WHAT = (
    "An error at each call of a save, and at each call of a whole training run, once or from there on: a full disk, a "
    "quota, a failing device (EIO on write, fsync and close), a read-only file system, no permission, too many open "
    "files, a file too large, no memory, Ctrl-C, writes cut short. And in child processes the real thing: a full and a "
    "read-only tmpfs, limits on file size, open files and memory, a folder of somebody else's, signals all the time. "
    "Never a crash; what was saved stays loadable, no temporary file is left where it can be removed, the message "
    "names the cause, and the next save works."
)
_FULL = ["ENOSPC", "EDQUOT"]
_CLOSED = ["EROFS", "EACCES"]
_ANYWHERE = ["MemoryError", "KeyboardInterrupt"]
KINDS = {
    "open": [*_FULL, *_CLOSED, "EMFILE", *_ANYWHERE],
    "write": [*_FULL, "EIO", "EFBIG", "short", *_ANYWHERE],
    "fsync": [*_FULL, "EIO", *_ANYWHERE],
    "close": ["EDQUOT", "EIO"],
    "replace": [*_FULL, *_CLOSED, "EIO", *_ANYWHERE],
    "rename": [*_FULL, *_CLOSED, "EIO", *_ANYWHERE],
    "unlink": [*_CLOSED, "EIO"],
    "mkdir": [*_FULL, *_CLOSED, *_ANYWHERE],
}
"""What can go wrong with each call."""

RECIPE = """
Experiment.dataset = @Lines()
Experiment.encoder = @MLPEncoder()
Experiment.decoder = @MLPDecoder()
Experiment.evaluators = []
Experiment.regularizers = [@Denoising()]
Experiment.batch_size = 2
Experiment.samples = 16
Experiment.evaluate_every = 4
Lines.height = 8
Lines.width = 8
Lines.test_size = 2
"""


class Fault(NamedTuple):
    """What goes wrong at which call, and whether it goes on being wrong."""

    at: int
    kind: str
    lasting: bool = False


class Faulty:
    """Lets one call fail, and, where the fault lasts, all later ones that can fail in this way.

    Attributes
    ----------
    calls : list of Call
        Every call that was made.
    failed : list of Call
        Those that failed.
    """

    def __init__(self, fault: Fault | None = None) -> None:
        self.fault, self.calls, self.failed = fault, list[Call](), list[Call]()

    def __call__(self, call: Call) -> Any:
        """Carry out a call, or fail."""
        number = len(self.calls)
        self.calls.append(call)
        fault = self.fault
        if fault is None or not (
            number == fault.at or (fault.lasting and number > fault.at and fault.kind in KINDS[call.name])
        ):
            return call.do()
        self.failed.append(call)
        if call.name == "close":
            call.do()
        if fault.kind == "short":
            descriptor, data = call.args
            return call.again(descriptor, data[: max(len(data) // 2, 1)])
        raise {
            "MemoryError": MemoryError(),
            "KeyboardInterrupt": KeyboardInterrupt(),
        }.get(fault.kind) or OSError(number_of(fault.kind), os.strerror(number_of(fault.kind)), call.path)


def number_of(kind: str) -> int:
    """Return the number of an error's name."""
    number: int = getattr(errno, kind)
    return number


def every_fault(calls: list[Call]) -> list[Fault]:
    """List what can go wrong at each of the calls, once and lasting."""
    kinds = [(at, kind) for at, call in enumerate(calls) for kind in KINDS[call.name]]
    return [Fault(at, kind, lasting) for at, kind in kinds for lasting in (False, True)]


@dataclass(frozen=True)
class Job:
    """Something that is saved: what is there before, and the saving."""

    name: str
    prepare: Callable[[RunDir], None]
    act: Callable[[RunDir], None]


def _grow(steps: int) -> Callable[[RunDir], None]:
    def prepare(run: RunDir) -> None:
        for step in range(1, steps + 1):
            _row(step)(run)
            _save(step)(run)

    return prepare


def _save(step: int) -> Callable[[RunDir], None]:
    return lambda run: Checkpoints(run.checkpoints, RUN_ID).save(step, tree(step, 0))


def _row(step: int) -> Callable[[RunDir], None]:
    def act(run: RunDir) -> None:
        table = Metrics(run.metrics, RUN_ID)
        # A row whose folder alone could not be synchronised is there; a resume drops it, too.
        table.truncate(step - 1)
        table.append(step, {"life": 0})

    return act


def _measure(life: int) -> Callable[[RunDir], None]:
    return lambda run: write_evaluation(run.eval, "probe", 1, RUN_ID, {"life": life}, {}, {}) and None


JOBS = [
    Job("description", lambda run: None, lambda run: None if run.exists() else run.write_run(INFO)),
    Job("first checkpoint", lambda run: None, _save(1)),
    Job("checkpoint with pruning", _grow(4), _save(5)),
    Job("first row", lambda run: None, _row(1)),
    Job("row", _grow(2), _row(3)),
    Job("row of a new part", _grow(3), _row(4)),
    Job("truncation", _grow(8), lambda run: Metrics(run.metrics, RUN_ID).truncate(2)),
    Job("evaluation", lambda run: None, _measure(1)),
    Job("evaluation again", _measure(1), _measure(2)),
]
"""Each leaves one of two things: what was there, or what was to be there."""


def snapshot(run: RunDir, said: list[str]) -> dict[str, Any]:
    """Read all that a run holds; `said` takes what can't be read or is wrong."""
    step, found = Checkpoints(run.checkpoints, RUN_ID).latest(report=said.append) or (0, None)
    if found is not None and not same(found, tree(step, 0)):
        said.append(f"the checkpoint of step {step} is wrong")
    return {
        "run": run.read_run() if run.exists() else None,
        "checkpoint": step,
        "rows": rows_of(Metrics(run.metrics, RUN_ID)),
        "evaluations": [each.scores for each in read_evaluations(run.eval, said.append)],
    }


def fold(job: Job) -> tuple[dict[str, Any], dict[str, Any], list[Call]]:
    with _prepared(job) as run:
        said: list[str] = []
        before, faulty = snapshot(run, said), Faulty()
        with layer(run.path, faulty):
            job.act(run)
        after = snapshot(run, said)
    assert not said and before != after
    return before, after, faulty.calls


@contextlib.contextmanager
def _prepared(job: Job) -> Iterator[RunDir]:
    with tempfile.TemporaryDirectory() as folder, small_parts(), unsynchronised():
        run = RunDir(Path(folder))
        job.prepare(run)
        yield run


def faults_of(job: Job, fault: Fault, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Do a job with a fault, then without; return what is amiss."""
    said: list[str] = []
    try:
        with _prepared(job) as run:
            faulty, raised = Faulty(fault), None
            with layer(run.path, faulty):
                try:
                    job.act(run)
                except (OSError, UserError, MemoryError, KeyboardInterrupt) as error:
                    raised = error
            now = snapshot(run, said)
            if raised is None and now != after:
                said.append("it seemed to be saved and isn't")
            if raised is not None and not names(raised, fault):
                said.append(f"the cause isn't named: {raised!r}")
            if not _between(now, before, after):
                said.append(f"neither the old nor the new is there: {now}")
            said += left_over(run, faulty)
            remove_stale(run.path)
            for folder in run.path.iterdir():
                remove_stale(folder)
            job.act(run)
            if snapshot(run, said) != after:
                said.append("it can't be saved afterwards")
            said += [f"{path.name} is left in the end" for path in run.path.rglob("*.tmp")]
    except Exception as error:
        said.append(f"{error!r} comes of it")
    return said


def _between(now: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> bool:
    if now in (before, after):
        return True
    # Parts of a table are dropped one by one, the newest first.
    fewer, rows, more = after["rows"], now["rows"], before["rows"]
    return now | {"rows": more} == before and len(fewer) <= len(rows) <= len(more) and rows == more[: len(rows)]


def names(error: BaseException | str, fault: Fault) -> bool:
    """Say whether an error, or what was said of it, tells a fault's cause."""
    if fault.kind in _ANYWHERE and not isinstance(error, str):
        return type(error).__name__ == fault.kind or "memory" in str(error).lower()
    return fault.kind == "short" or fault.kind in _ANYWHERE or os.strerror(number_of(fault.kind)) in str(error)


def left_over(run: RunDir, faulty: Faulty) -> list[str]:
    """Return a line about each temporary file that is there although it could have been removed."""
    if any(call.name == "unlink" for call in faulty.failed):
        return []
    return [f"{path.name} is left" for path in run.path.rglob("*.tmp")]


@contextlib.contextmanager
def _one_run_id() -> Iterator[None]:
    with mock.patch.object(uuid, "uuid4", return_value=uuid.UUID(int=6)):
        yield


class Runs:
    """Whole runs with something going wrong in them, beside one in which nothing does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        recipe = folder / "tiny.gin"
        recipe.write_text(RECIPE)
        self.config = read_recipe(str(recipe), [])
        faulty = Faulty()
        with unsynchronised(), layer(folder, faulty):
            self.train(folder / "straight", [])
        self.calls = faulty.calls
        self.last = _newest(folder / "straight")

    def train(self, path: Path, said: list[str]) -> None:
        """Train a run to its end, from where it is."""
        with _one_run_id(), open_session(path, config=self.config, say=said.append) as session:
            session.train([], lambda: False)

    def faults_of(self, fault: Fault) -> list[str]:
        """Train with a fault, then to the end without; return what is amiss."""
        path, told, said, raised = self.folder / "faulty", list[str](), list[str](), None
        faulty = Faulty(fault)
        try:
            with unsynchronised(), layer(self.folder, faulty):
                try:
                    self.train(path, told)
                except (OSError, UserError, MemoryError, KeyboardInterrupt) as error:
                    raised = error
            if raised is not None and not names(raised, fault):
                said.append(f"the cause isn't named: {raised!r}")
            untold = raised is None and not any(names(line, fault) for line in told)
            for call in faulty.failed if untold and fault.kind != "short" else ():
                # What isn't removed, the log, and who holds the lock matter to no one at the time.
                if call.name != "unlink" and call.path.endswith((".h5", ".tmp")) and ".holder" not in call.path:
                    said.append(f"{call.name} of {call.path} failed and the cause isn't told: {told}")
            run = RunDir(path)
            Checkpoints(run.checkpoints, uuid.UUID(int=6).hex).latest(report=said.append)
            said += left_over(run, faulty)
            with unsynchronised():
                self.train(path, told)
            if _newest(path) != self.last:
                said.append("resumed, it ends in other bits")
        except Exception as error:
            said.append(f"{error!r} comes of it")
        finally:
            shutil.rmtree(path, ignore_errors=True)
        return said


def _newest(path: Path) -> tuple[str, bytes]:
    newest = max(RunDir(path).checkpoints.glob("*.h5"))
    return newest.name, newest.read_bytes()


def run(count: int, seed: int = 0) -> Report:
    """Inject `count` faults: half into saves, a quarter or all that there are into runs, and the rest real ones."""
    start, rng, report = time.perf_counter(), random.Random(seed), Report("errors", 0, WHAT)
    kinds = Counter[str]()

    def note(where: str, fault: Fault | None, said: list[str]) -> None:
        report.did += 1
        kinds[fault.kind if fault else where] += 1
        report.faults += [f"{where}, {fault}: {line}" for line in said]

    folds = {job: fold(job) for job in JOBS}
    saves = [(job, fault) for job, (_, _, calls) in folds.items() for fault in every_fault(calls)]
    for job, fault in rng.sample(saves, min(count // 2, len(saves))):
        note(job.name, fault, faults_of(job, fault, *folds[job][:2]))
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(Path(folder))
        every = every_fault(runs.calls)
        for fault in rng.sample(every, min(count // 4, len(every))):
            note("a run", fault, runs.faults_of(fault))
    real = limits.possible()
    while report.did < count:
        kind = real[report.did % len(real)]
        note(f"real: {kind}", None, limits.faults_of(kind, rng.getrandbits(32)))
    report.found = dict(sorted(kinds.items()))
    report.seconds = time.perf_counter() - start
    return report
