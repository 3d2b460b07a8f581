"""SIGKILL at random moments of real training runs: what is left always ends in the bits of a run that never stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acaikit.artifacts.checkpoints import MIN_KEEP, Checkpoints
from acaikit.artifacts.faults import BrokenFile
from acaikit.artifacts.metrics import read_metrics
from acaikit.artifacts.publish import is_temporary
from acaikit.artifacts.rundir import RunDir
from acaikit.config import read_recipe
from acaikit.errors import RunError
from acaikit.runs.session import Session, open_session
from acaikit.runs.stopping import Stopper

from .report import Report
from .tiny import MODELS, recipe

STEPS, EVERY = 40, 4

WORKERS = multiprocessing.get_context("forkserver")
"""Forks of one process that has imported all that a run needs: each starts in tens of milliseconds."""
WORKERS.set_forkserver_preload(
    ["torch._dynamo", "pytest", "acaikit.runs.session", "acaikit.runs.stopping", "acaikit.runs.opened"]
    + [f"acaikit.regularizers.{name}" for name in ("acai", "adversarial_prior", "kl", "vq_ema")]
    + [f"acaikit.evaluators.{name}" for name in ("factor", "probe", "reconstruction")]
    + ["acaikit.critics", "acaikit.data.lines", "acaikit.likelihoods", "acaikit.nets"]
)


def start(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Call a function in a process of its own."""
    process = WORKERS.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def end(process: BaseProcess, number: int | None = None) -> int | None:
    """Send a process a signal, if one is given, and return its exit code."""
    if number is not None and process.pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
    process.join()
    code = process.exitcode
    process.close()
    return code


def digest(state: Any) -> str:
    """Return a hash of every bit of a state."""
    found = hashlib.sha256()

    def add(value: Any) -> None:
        match value:
            case dict():
                add(list(value.items()))
            case list() | tuple():
                found.update(f"{len(value)}:".encode())
                for item in value:
                    add(item)
            case torch.Tensor() | np.ndarray():
                array = np.ascontiguousarray(value)
                found.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
            case _:
                found.update(f"{value!r},".encode())

    add(state)
    return found.hexdigest()


class Watch:
    """Keeps a digest of the state after every step, and says which rows and checkpoints were acknowledged."""

    def __init__(self, session: Session, acknowledged: Any = None) -> None:
        self.session, self.acknowledged = session, acknowledged
        self.states: dict[int, str] = {}

    def on_step(self, trainer: Any, losses: Any) -> None:
        if self.acknowledged is None:
            self.states[trainer.steps] = digest(trainer.state_dict())

    def on_row(self, trainer: Any, losses: Any, scores: Any) -> None:
        if self.acknowledged is None:
            self.states[trainer.steps] = digest(trainer.state_dict())
        else:
            self.acknowledged[0] = trainer.steps
            if self.session.saved:
                self.acknowledged[1] = trainer.steps


def train(path: Path, model: str, acknowledged: Any = None) -> None:
    """Begin or continue a run, as ``acaikit run`` does; what it says goes to a file beside it."""
    torch.set_num_threads(1)
    with path.with_suffix(".said").open("a", buffering=1) as said:
        try:
            if acknowledged is not None:
                acknowledged[2] = 1
            config = read_recipe(str(path.with_name("tiny.gin")), MODELS[model])
            with open_session(path, config=config, say=lambda line: print(line, file=said)) as session:
                watch = Watch(session, acknowledged)
                with Stopper() as stop:
                    session.train([watch], stop)
            if acknowledged is None:
                path.with_suffix(".json").write_text(json.dumps(watch.states))
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=said)
            raise SystemExit(1) from error


class Straight:
    """A run that nothing disturbs: the bits of its state after every step, and its rows."""

    def __init__(self, folder: Path, model: str) -> None:
        path = folder / f"{model}-straight"
        (folder / "tiny.gin").write_text(recipe(STEPS, EVERY))
        end(start(time.sleep, 0))  # what the first process waits for, the imports, is no part of a run
        begun = time.monotonic()
        assert end(start(train, path, model)) == 0, path.with_suffix(".said").read_text()
        self.seconds = time.monotonic() - begun
        self.states = {int(step): state for step, state in json.loads(path.with_suffix(".json").read_text()).items()}
        self.rows = read_metrics(RunDir(path).metrics)

    def differs(self, path: Path, torn: Collection[Path] = ()) -> str | None:
        """Say what on disk isn't as it was in this run, or None where every bit is; `torn` may be damaged."""
        directory = RunDir(path)
        for step in reversed(steps(path)):
            checkpoints = Checkpoints(directory.checkpoints, directory.read_run()["run_id"])
            try:
                if digest(checkpoints.load(step)) != self.states[step]:
                    return f"the checkpoint of step {step} has other bits"
            except BrokenFile as error:
                if checkpoints.path(step) not in torn:
                    return str(error)
        return self.wrong(read_metrics(directory.metrics))

    def wrong(self, rows: dict[str, np.ndarray]) -> str | None:
        """Say which column of a table isn't the beginning of this run's."""
        count = len(rows["step"])
        if count and rows.keys() != self.rows.keys():
            return f"the table's columns are {sorted(rows)}"
        wrong = [name for name, column in rows.items() if column.tobytes() != self.rows[name][:count].tobytes()]
        return f"{wrong[0]} has other values" if wrong else None


def steps(path: Path) -> list[int]:
    """List the steps that have a checkpoint."""
    return Checkpoints(RunDir(path).checkpoints, "").steps()


def half_written(path: Path) -> list[Path]:
    """List the temporary files in a run's folder."""
    return [file for file in path.rglob("*.tmp") if is_temporary(file)]


def sizes(path: Path) -> dict[str, int]:
    """Return the size of each file in the folders of the checkpoints and the metrics; -1 where it has just gone."""
    found = {}
    for folder in (RunDir(path).checkpoints, RunDir(path).metrics):
        for name in os.listdir(folder) if folder.is_dir() else ():  # noqa: PTH208 (Path.iterdir takes longer)
            try:
                found[name] = (folder / name).stat().st_size
            except FileNotFoundError:
                found[name] = -1
    return found


def where(path: Path, before: int) -> str:
    """Say where a kill fell, by what is on disk."""
    if half := half_written(path):
        return {"checkpoints": "writing a checkpoint", "metrics": "writing a row"}.get(
            half[0].parent.name, "writing the run's own file"
        )
    saved = steps(path)
    if not RunDir(path).exists():
        return "start-up of a new run"
    if len(saved) > MIN_KEEP:
        return "before the oldest checkpoint is removed"
    try:
        rows = read_metrics(RunDir(path).metrics)["step"]
    except RunError:  # a fault, which is told elsewhere
        return "metrics damaged"
    if len(rows) and rows[-1] > max(saved, default=0):
        return "between a row and its checkpoint"
    return "start-up or the first steps" if max(saved, default=0) == before else "steps or an evaluation"


class Killer:
    """Ends one run's processes again and again, until one gets to the end."""

    def __init__(self, path: Path, model: str, straight: Straight, rng: random.Random, report: Report) -> None:
        self.path, self.model, self.straight, self.rng, self.report = path, model, straight, rng, report
        self.torn: set[Path] = set()
        self.fruitless = 0

    def run(self, most: int) -> int:
        """Disturb the run at most so many times and see it to its end; return how many signals it got."""
        sent = 0
        while True:
            before = max(steps(self.path), default=0)
            number = self.signal() if sent < most else None
            acknowledged = WORKERS.Array("q", 3, lock=False)
            process = start(train, self.path, self.model, acknowledged)
            if number is not None:
                self.wait(process)
                while number != signal.SIGKILL and process.is_alive() and not acknowledged[2]:
                    process.join(0.001)
                early = process.is_alive()
                sent += early
                number = number if early else None
            code = end(process, number)
            if number == signal.SIGKILL and code == 0:  # it ended a moment before
                number, sent = None, sent - 1
            now = max(steps(self.path), default=0)
            self.fruitless = 0 if now > before else self.fruitless + 1
            self.check(code, number, before, now, acknowledged)
            if self.report.faults or (number is None and code == 0):
                return sent
            if self.rng.random() < 0.15:
                self.tear()

    def signal(self) -> int:
        return self.rng.choices([signal.SIGKILL, signal.SIGTERM, signal.SIGINT], [8, 1, 1])[0]

    def wait(self, process: BaseProcess) -> None:
        """Wait for any moment, or for one at which something is being written, whether to a temporary file or not."""
        # A machine that has grown slower gets more time, or nothing would ever be reached.
        process.join(self.rng.uniform(0, self.straight.seconds * (0.3 + 0.2 * self.fruitless)))
        if self.rng.random() < 0.3:
            before = sizes(self.path)
            while process.is_alive() and sizes(self.path) == before:
                pass

    def tear(self) -> None:
        """Cut the newest checkpoint short, as a bad disk may, where the one before it can take its place."""
        newest = [RunDir(self.path).checkpoints / f"step-{step:09d}.h5" for step in steps(self.path)[-2:]]
        if len(newest) == 2 and not self.torn & set(newest):
            os.truncate(newest[1], self.rng.randrange(newest[1].stat().st_size))
            self.torn.add(newest[1])
            self.report.found["checkpoint torn by hand"] = self.report.found.get("checkpoint torn by hand", 0) + 1

    def check(self, code: int | None, number: int | None, before: int, now: int, acknowledged: Any) -> None:
        found, faults = self.report.found, self.report.faults
        said = self.path.with_suffix(".said").read_text() if self.path.with_suffix(".said").exists() else ""
        if number == signal.SIGKILL and code == -number:
            place = where(self.path, before)
        elif number is not None and code in (0, 130, -signal.SIGTERM):
            place = f"{signal.Signals(number).name}: " + ("stopped in good order" if code == 0 else "during start-up")
        elif number is None and code == 0:
            place = "run to its end"
            if now != STEPS or half_written(self.path):
                faults.append(f"{self.model}: it ended at step {now}, {half_written(self.path)} are left; {said}")
            if {file.name for file in RunDir(self.path).quarantine.glob("*")} != {file.name for file in self.torn}:
                faults.append(f"{self.model}: {self.torn} were damaged, but quarantine holds others")
        else:
            place = "faults"
            faults.append(f"{self.model}: exit code {code} after signal {number}: {said}")
        found[place] = found.get(place, 0) + 1
        try:
            fault = self.straight.differs(self.path, () if place == "run to its end" else self.torn)
            rows = read_metrics(RunDir(self.path).metrics)["step"]
            if max(rows, default=0) < acknowledged[0] or now < acknowledged[1]:
                fault = f"rows to {acknowledged[0]} and the checkpoint of {acknowledged[1]} were acknowledged and lost"
        except RunError as error:
            fault = str(error)
        if fault:
            faults.append(f"{self.model}, {place}: {fault}")


def run(count: int = 12, seed: int = 0, models: Sequence[str] = ("acai",)) -> Report:
    """Send `count` signals, most of them SIGKILL, to runs of each model in turn."""
    report = Report(
        "kills",
        0,
        f"Signals (8 of 10 SIGKILL) at random moments of runs of {', '.join(models)}, some checkpoints torn by hand; "
        "each is continued to its end: every checkpoint, the final state and the table have the bits of a run that "
        "was left alone, nothing that was acknowledged is lost, no temporary file is left.",
    )
    rng, begun = random.Random(seed), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        straight = {model: Straight(Path(folder), model) for model in models}
        share = Counter(models[index % len(models)] for index in range(count))
        for model, wanted in share.items():
            number = sent = 0
            while sent < wanted and not report.faults:
                killer = Killer(Path(folder, f"{model}-{number}"), model, straight[model], rng, report)
                sent += killer.run(wanted - sent)
                number += 1
            report.did += sent
    report.seconds = time.monotonic() - begun
    return report
