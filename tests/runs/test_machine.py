"""A run under everything that may happen to it, in any order. ``MACHINE_EXAMPLES=1000`` makes it a long hunt.

A kill is simulated: at some file operation the process dies, half of a write done, and nothing it does counts any more.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.evaluations import read_evaluations
from acaikit.artifacts.faults import BrokenFile
from acaikit.artifacts.metrics import read_metrics
from acaikit.artifacts.rundir import RunDir
from acaikit.config import Config
from acaikit.evaluators.reconstruction import Reconstruction
from acaikit.runs.evaluation import measure
from acaikit.runs.opened import open_run
from acaikit.runs.session import Session, open_session

EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "6"))
BATCH, EVERY, BUDGETS = 6, 3, (9, 15, 24)
OPERATIONS = ("open", "write", "fsync", "replace", "rename", "unlink", "remove", "mkdir")


class Killed(BaseException):
    """The process is no more."""


@contextlib.contextmanager
def dying(at: int, after: bool) -> Iterator[None]:
    """Die at file operation number `at`, before it has happened or after; nothing that comes later happens."""
    left = at

    def fatal(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left > 0:
                return real(*arguments, **options)
            if left == 0 and name == "write":
                real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            elif left == 0 and after:
                made = real(*arguments, **options)
                if name == "open":
                    os.close(made)
            raise Killed

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in OPERATIONS:
            patch.setattr(os, name, fatal(name))
        with contextlib.suppress(Killed):
            yield
    # The kernel frees a dead process's lock; here its last reference does, which a traceback may have held in a cycle.
    gc.collect(1)


def flat(tree: Any, path: str = "") -> dict[str, Any]:
    match tree:
        case dict():
            items = list(tree.items())
        case list() | tuple():
            items = list(enumerate(tree))
        case torch.Tensor() | np.ndarray():
            array = np.ascontiguousarray(tree)
            return {path: (str(array.dtype), array.shape, array.tobytes())}
        case _:
            return {} if path == "/budget" else {path: tree}
    return {k: v for key, value in items for k, v in flat(value, f"{path}/{key}").items()}


class Reference:
    """What an uninterrupted run has after each step, and its rows."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.config, self.states = config, {}
        with open_session(folder / "straight", config=config, say=pytest.fail) as session:
            self.states[0] = flat(session.trainer.state_dict())
            session.extend(BATCH * BUDGETS[-1])
            session.train([self], lambda: False)
        self.rows = read_metrics(session.directory.metrics)

    def on_step(self, trainer: Any, losses: Any) -> None:
        self.states[trainer.steps] = flat(trainer.state_dict())

    def on_row(self, trainer: Any, losses: Any, scores: Any) -> None:
        self.states[trainer.steps] = flat(trainer.state_dict())


class Run(RuleBasedStateMachine):
    """The run on disk, and what was acknowledged of it."""

    reference: ClassVar[Reference]

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.directory = RunDir(self.folder / "run")
        self.saved: int | None = None
        self.row = 0
        self.budgets = {BUDGETS[0]}
        self.damaged: Path | None = None
        self.scores: dict[int, dict[str, float]] = {}
        self.checked: set[os.stat_result] = set()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """Open the run, and see that it goes on where it was left."""
        # Rows after the checkpoint that training goes on from are dropped, and come again.
        self.row = min(self.row, (self.saved or 0) // EVERY * EVERY)
        config = None if self.directory.exists() else self.reference.config
        with open_session(self.directory.path, config=config, say=lambda line: None) as session:
            steps = session.trainer.steps
            assert steps >= (self.saved or 0)
            assert flat(session.trainer.state_dict()) == self.reference.states[steps]
            assert session.trainer.budget // BATCH in self.budgets
            self.budgets = {session.trainer.budget // BATCH}
            self.damaged, self.open = None, session
            yield session

    def on_step(self, trainer: Any, losses: Any) -> None:
        pass

    def on_row(self, trainer: Any, losses: Any, scores: Any) -> None:
        self.row = trainer.steps
        if self.open.saved:
            self.saved = trainer.steps

    @contextlib.contextmanager
    def dying(self, at: int, after: bool) -> Iterator[None]:
        with dying(at, after):
            yield
        if self.damaged is not None and not self.damaged.exists():  # it was moved away before the end came
            self.damaged = None

    def go(self, steps: int) -> None:
        asked = count()
        with self.session() as session:
            session.train([self], lambda: next(asked) >= steps)
            self.saved = session.trainer.steps

    def raise_budget(self, budget: int) -> None:
        with self.session() as session:
            if budget * BATCH > session.trainer.budget:
                self.budgets.add(budget)
                session.extend(budget * BATCH)
                self.budgets, self.saved = {budget}, session.trainer.steps

    @rule(steps=st.integers(0, 10))
    def train_and_stop(self, steps: int) -> None:
        before = self.newest() or 0
        self.go(steps)
        assert self.newest() == self.saved == min(before + steps, max(before, *self.budgets))
        assert read_metrics(self.directory.metrics)["step"].tolist() == list(range(EVERY, self.saved + 1, EVERY))
        assert not list(self.directory.path.rglob("*.tmp"))

    @rule(steps=st.integers(0, 10), at=st.integers(1, 80), after=st.booleans())
    def train_and_be_killed(self, steps: int, at: int, after: bool) -> None:
        with self.dying(at, after):
            self.go(steps)

    @precondition(lambda self: self.budgets != {BUDGETS[-1]})
    @rule(budget=st.sampled_from(BUDGETS))
    def extend(self, budget: int) -> None:
        self.raise_budget(budget)

    @precondition(lambda self: self.budgets != {BUDGETS[-1]})
    @rule(budget=st.sampled_from(BUDGETS), at=st.integers(1, 40), after=st.booleans())
    def extend_and_be_killed(self, budget: int, at: int, after: bool) -> None:
        with self.dying(at, after):
            self.raise_budget(budget)

    @precondition(lambda self: self.newest() is not None)
    @rule()
    def evaluate(self) -> None:
        run = open_run(self.directory.path)
        found = measure(run, Reconstruction(), self.directory, pytest.fail)
        assert self.scores.setdefault(run.step, found.scores) == found.scores

    @precondition(lambda self: self.damaged is None and len(self.steps()) >= 2)
    @rule(at=st.floats(0, 1, exclude_max=True), cut=st.booleans())
    def damage_the_newest_checkpoint(self, at: float, cut: bool) -> None:
        before, newest = self.steps()[-2:]
        path = self.checkpoints().path(newest)
        data = bytearray(path.read_bytes())
        place = int(at * len(data))
        data[place:] = b"" if cut else bytes([data[place] ^ 1]) + data[place + 1 :]
        path.write_bytes(data)
        self.damaged, self.saved, self.row = path, before, min(self.row, before // EVERY * EVERY)
        # Which budget it had is in that file alone.
        self.budgets = set(BUDGETS)

    @invariant()
    def every_checkpoint_has_the_reference_s_bits(self) -> None:
        for step in self.steps():
            if (file := self.checkpoints().path(step).stat()) in self.checked:
                continue
            try:
                assert flat(self.checkpoints().load(step)) == self.reference.states[step]
            except BrokenFile:
                assert self.checkpoints().path(step) == self.damaged
            self.checked.add(file)

    @invariant()
    def what_was_acknowledged_is_there(self) -> None:
        assert self.saved is None or (self.newest() or 0) >= self.saved
        rows, whole = read_metrics(self.directory.metrics), self.reference.rows
        length = len(rows["step"])
        assert rows["step"].max(initial=0) >= self.row
        assert {name: column.tobytes() for name, column in rows.items()} == {
            name: whole[name][:length].tobytes() for name in (whole if length else ["step"])
        }

    @invariant()
    def evaluations_stay(self) -> None:
        found = read_evaluations(self.directory.eval, pytest.fail)
        assert {one.step: one.scores for one in found} == self.scores

    @invariant()
    def a_run_that_has_a_checkpoint_opens(self) -> None:
        if (newest := self.newest()) is not None:
            run = open_run(self.directory.path)
            assert (run.step, run.samples, len(run.notes)) == (newest, BATCH * newest, int(self.damaged is not None))

    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.directory.checkpoints, self.directory.read_run()["run_id"])

    def steps(self) -> list[int]:
        return self.checkpoints().steps() if self.directory.exists() else []

    def newest(self) -> int | None:
        """The newest checkpoint that wasn't damaged."""
        good = [step for step in self.steps() if self.checkpoints().path(step) != self.damaged]
        return max(good, default=None)


def test_whatever_happens_to_a_run_its_bits_stay_those_of_one_left_alone(
    tmp_path: Path, recipe: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    # No power fails here, and waiting for the disk is most of the time.
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    bindings = [
        f"Experiment.samples = {BATCH * BUDGETS[0]}",
        f"Experiment.evaluate_every = {BATCH * EVERY}",
        "Experiment.evaluators = [@Reconstruction()]",
    ]
    Run.reference = Reference(recipe("denoising", *bindings), tmp_path)
    run_state_machine_as_test(
        Run,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
