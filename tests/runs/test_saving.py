from __future__ import annotations

import errno
import gc
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.faults import TooMuch
from acaikit.artifacts.metrics import Metrics, read_metrics
from acaikit.artifacts.rundir import RunDir
from acaikit.config import Config
from acaikit.divergence import Diverged
from acaikit.engine import Trainer
from acaikit.errors import RunError
from acaikit.runs import saving, training
from acaikit.runs.saving import Saver
from acaikit.runs.session import Session, open_session

Recipe = Callable[..., Config]
Train = Callable[..., Session]

FULL = OSError(errno.ENOSPC, "No space left on device")
CHEAP = ("baseline", "Experiment.evaluators = []")


@dataclass
class FakeTrainer:
    """As much of a trainer as is saved."""

    steps: int = 0
    state: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return self.state


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def saver(tmp_path: Path, told: list[str]) -> Saver:
    directory = RunDir(tmp_path)
    return Saver(directory, Checkpoints(directory.checkpoints, "r"), Metrics(directory.metrics, "r"), told.append)


def failing(monkeypatch: pytest.MonkeyPatch, kind: type, method: str, errors: Iterable[Exception]) -> None:
    """Let the next calls fail, one with each error."""
    real, left = getattr(kind, method), iter(errors)

    def call(*arguments: Any) -> Any:
        if (error := next(left, None)) is not None:
            raise error
        return real(*arguments)

    monkeypatch.setattr(kind, method, call)


def rows(saver: Saver) -> list[int]:
    return saver.metrics.read()["step"].tolist()


def test_no_checkpoint_is_ahead_of_its_rows(saver: Saver, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, Metrics, "append", [FULL, FULL])
    saver.row(4, {"a": 1.0})
    saver.checkpoint(FakeTrainer(4))
    assert (saver.checkpoints.steps(), rows(saver)) == ([], [])
    assert list(saver.failures) == ["metrics"]
    saver.checkpoint(FakeTrainer(5))  # between two rows
    assert (saver.checkpoints.steps(), rows(saver)) == ([5], [4])
    assert saver.saved(FakeTrainer(5)) and not saver.failures
    assert told == [
        "the metrics of step 4 could not be saved ([Errno 28] No space left on device); the rows before them are "
        "intact, and checkpoints wait for them",
        "the metrics of step 4 could be saved again, after it had failed 2 times",
    ]


def test_going_back_keeps_the_rows_up_to_there(saver: Saver, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, Metrics, "append", [FULL, FULL])
    saver.row(4, {"a": 1.0})
    saver.row(8, {"a": 2.0})
    saver.forget(4)
    saver.row(8, {"a": 3.0})
    assert rows(saver) == [4, 8]
    assert saver.metrics.read()["a"].tolist() == [1.0, 3.0]
    saver.forget(-1)
    assert rows(saver) == []


def test_a_row_that_no_table_holds_is_said_at_once_and_is_no_obstacle(saver: Saver) -> None:
    for title in ("step", "", "\ud800"):
        with pytest.raises(RunError, match="the metrics of step 4 can't be stored"):
            saver.row(4, {title: 1.0})
    saver.row(4, {"a": 1.0})
    assert rows(saver) == [4]
    with pytest.raises(RunError, match="a row of step 3 can't follow one of step 4"):
        saver.row(3, {"a": 1.0})


def test_what_is_no_failure_to_save_is_raised(saver: Saver, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match="a set can't be stored"):
        saver.checkpoint(FakeTrainer(4, {"a": set()}))
    failing(monkeypatch, Checkpoints, "save", [ValueError("a mistake in the program")])
    with pytest.raises(ValueError, match="a mistake"):
        saver.checkpoint(FakeTrainer(4))


def test_each_kind_of_failure_is_told_once_and_the_last_is_known(
    saver: Saver, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    less = OSError(errno.ENOSPC, "No space left on device: 7 bytes are needed")
    failing(monkeypatch, Checkpoints, "save", [FULL, TooMuch("too large"), MemoryError(), less])
    for step in range(1, 5):
        saver.checkpoint(FakeTrainer(step))
    assert [line.partition(" be saved ")[2] for line in told] == [
        "([Errno 28] No space left on device); there is none before it",
        "(too large); there is none before it",
        "(out of memory); there is none before it",
    ]
    assert saver.failures == {"checkpoint": str(less)}
    saver.checkpoint(FakeTrainer(5))
    assert told[3:] == ["the checkpoint of step 5 could be saved again, after it had failed 4 times"]
    failing(monkeypatch, Checkpoints, "save", [FULL])
    saver.checkpoint(FakeTrainer(6))
    assert told[4].endswith("; the one before it is intact")


def test_a_failure_holds_nothing_of_what_was_to_be_saved(saver: Saver, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, Checkpoints, "save", (OSError(errno.EIO, "no disk") for _ in range(1)))
    weights = np.zeros(3)
    there = weakref.ref(weights)
    saver.checkpoint(FakeTrainer(4, {"weights": weights}))
    del weights
    gc.collect()
    assert saver.failures
    assert there() is None


def test_a_checkpoint_that_is_outdated_is_saved_anew(saver: Saver) -> None:
    trainer = FakeTrainer(4, {"budget": 8})
    saver.checkpoint(trainer)
    trainer.state["budget"] = 16
    saver.checkpoint(trainer)
    assert saver.checkpoints.load(4) == {"budget": 8}
    saver.outdated = True
    assert not saver.saved(trainer)
    saver.checkpoint(trainer)
    assert saver.checkpoints.load(4) == {"budget": 16}
    assert saver.saved(trainer)


def test_a_save_that_was_asked_for_costs_no_row_its_checkpoint(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [0.0]
    monkeypatch.setattr(saving, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    save = Checkpoints.save

    def slow(*arguments: Any) -> None:
        seconds[0] += 2 * saving.FREE
        save(*arguments)

    monkeypatch.setattr(Checkpoints, "save", slow)
    with open_session(tmp_path / "run", config=recipe(*CHEAP), say=lambda _: None) as session:
        session.save_soon()
        session.train([], lambda: session.trainer.steps == 8)
        assert session.checkpoints.steps() == [0, 4, 8]  # at 4 the budget is still whole, at 8 it is a stop
        assert not session.saver.cheap


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the weights become NaN before a step, once, after something else was done."""

    def set_up(at: int, before: Callable[[], None] = lambda: None) -> None:
        step, left = Trainer.step, [at]

        def poisoned(trainer: Trainer) -> dict[str, torch.Tensor]:
            if [trainer.steps + 1] == left:
                left.clear()
                before()
                next(iter(trainer.model.parameters())).data.fill_(float("nan"))
            return step(trainer)

        monkeypatch.setattr(Trainer, "step", poisoned)

    return set_up


@pytest.mark.parametrize("gone", [spoil, Path.unlink])
def test_there_is_no_going_back_to_the_start_of_a_run_that_was_saved(
    gone: Callable[[Path], None], tmp_path: Path, recipe: Recipe, poisoned: Callable[..., None]
) -> None:
    directory, told = RunDir(tmp_path / "run"), []
    poisoned(7, lambda: gone(directory.checkpoints / "step-000000004.h5"))
    with (
        pytest.raises(Diverged),
        open_session(directory.path, config=recipe(*CHEAP), say=told.append, on_nan="rewind") as session,
    ):
        session.train([], lambda: False)
    assert told[-1] == "there is no going back: no checkpoint is left that can be read"
    assert read_metrics(directory.metrics)["step"].tolist() == [4]
    assert "diverged: training diverged in step 7" in directory.log_file.read_text()


def test_going_back_drops_the_rows_that_come_again(
    tmp_path: Path, recipe: Recipe, poisoned: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that went without a checkpoint, as saving was too dear, which the log has once."""
    monkeypatch.setattr(saving, "FREE", -1.0)
    monkeypatch.setattr(saving, "SHARE", -1.0)
    directory = RunDir(tmp_path / "run")
    poisoned(10)
    with open_session(directory.path, config=recipe(*CHEAP), say=lambda _: None, on_nan="rewind") as session:
        session.train([], lambda: False)
    assert session.trainer.rewinds == 1
    assert read_metrics(directory.metrics)["step"].tolist() == [4, 8, 12]
    assert directory.log_file.read_text().count("go without a checkpoint") == 1


def test_a_new_budget_that_could_not_be_saved_is_no_lost_checkpoint(
    tmp_path: Path, recipe: Recipe, train: Train, poisoned: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint with the old one is still what training goes back to."""
    train(tmp_path / "run", recipe(*CHEAP))
    failing(monkeypatch, Checkpoints, "save", [FULL])
    told: list[str] = []
    with open_session(tmp_path / "run", say=told.append, on_nan="rewind") as session:
        session.extend(96)
        assert (session.saved, session.saver.saved_step) == (False, 12)
        poisoned(14)
        session.train([], lambda: False)
    assert told[-2].endswith("going back to step 12, and on from there with other draws")
    assert (session.trainer.steps, session.saved) == (16, True)


def test_conditions_are_compared_with_those_of_the_last_steps(
    tmp_path: Path, recipe: Recipe, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from acaikit import engine

    real = engine.fingerprint
    train(tmp_path / "run", recipe(*CHEAP), steps=2)
    for kind in (engine, training):
        monkeypatch.setattr(kind, "fingerprint", lambda *given: real(*given) | {"threads": 7})
    told: list[str] = []
    train(tmp_path / "run", steps=2, say=told.append)
    train(tmp_path / "run", steps=2)
    assert len(told) == 2 and told[1].startswith("threads 1 -> 7")


def test_the_log_says_why_the_end_is_not_saved(tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, Checkpoints, "save", [FULL] * 9)
    directory = RunDir(tmp_path / "run")
    with open_session(directory.path, config=recipe(*CHEAP), say=lambda _: None) as session:
        session.train([], lambda: False)
    last = directory.log_file.read_text().splitlines()[-1]
    assert last.endswith("72 of 72 samples, NOT saved: the checkpoint ([Errno 28] No space left on device)")
