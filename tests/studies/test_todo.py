from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.rundir import RunDir
from acaikit.studies.layout import Plan, Run, StudyDir
from acaikit.studies.outcome import Outcome, Stage, State
from acaikit.studies.todo import is_done, todo

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
ENDED = BEGAN + timedelta(hours=1)
MEASURED = ("--with", "KMeans")


def plan(*evaluation: str) -> Plan:
    return Plan("study", "study.gin", tuple(Run(f"a-s{seed}", "a", (), seed) for seed in range(3)), evaluation)


def save(study: StudyDir, samples: int, budget: int, after: timedelta) -> None:
    """Leave a checkpoint, some time after the outcome."""
    checkpoints = Checkpoints(RunDir(study.run("a-s1")).checkpoints, "id")
    checkpoints.save(samples, {"samples": samples, "budget": budget})
    at = (ENDED + after).timestamp()
    os.utime(checkpoints.path(samples), (at, at))


def leave(study: StudyDir, state: State = State.DONE, *evaluation: str) -> None:
    """Leave an outcome."""
    study.task("a-s1").mkdir(parents=True, exist_ok=True)
    said = Outcome(state, Stage.TRAINING, BEGAN.isoformat(), ENDED.isoformat(), evaluation=evaluation)
    said.store(study.outcome_file("a-s1"))


@pytest.fixture
def study(tmp_path: Path) -> StudyDir:
    """A run that was trained and measured at its end."""
    made = StudyDir(tmp_path)
    save(made, 64, 64, -timedelta(seconds=1))
    leave(made, State.DONE, *MEASURED, "64")
    return made


@pytest.mark.parametrize("evaluation", [(), MEASURED])
def test_a_run_that_ended_well_is_done_and_the_others_are_left(study: StudyDir, evaluation: tuple[str, ...]) -> None:
    assert is_done(study, plan(*evaluation), "a-s1")
    assert [run.name for run in todo(study, plan(*evaluation))] == ["a-s0", "a-s2"]


@pytest.mark.parametrize(
    "happens",
    [
        lambda study: shutil.rmtree(study.run("a-s1")),
        lambda study: shutil.rmtree(study.run("a-s1") / "checkpoints"),
        lambda study: study.outcome_file("a-s1").unlink(),
        lambda study: leave(study, State.FAILED, *MEASURED, "64"),
        lambda study: leave(study, State.RUNNING, *MEASURED, "64"),
        lambda study: save(study, 96, 128, timedelta(minutes=1)),
    ],
    ids=["removed", "no checkpoints", "no outcome", "failed", "running", "trained further"],
)
@pytest.mark.parametrize("evaluation", [(), MEASURED])
def test_it_is_no_more_when(study: StudyDir, happens: Callable[[StudyDir], None], evaluation: tuple[str, ...]) -> None:
    happens(study)
    assert not is_done(study, plan(*evaluation), "a-s1")


@pytest.mark.parametrize("after", [-timedelta(hours=1), timedelta(hours=1)])
def test_what_was_measured_must_be_what_the_plan_says(study: StudyDir, after: timedelta) -> None:
    save(study, 64, 64, after)
    assert is_done(study, plan(*MEASURED), "a-s1")
    assert not is_done(study, plan(*MEASURED, "--set", "KMeans.restarts = 2"), "a-s1")
    assert not is_done(study, plan("--with"), "a-s1")
    leave(study)
    assert is_done(study, plan(), "a-s1")
    assert not is_done(study, plan(*MEASURED), "a-s1")


def test_a_checkpoint_that_is_older_than_the_outcome_is_not_read(study: StudyDir) -> None:
    """Reading one takes milliseconds, and hundreds of runs are looked at every other second."""
    checkpoint = Checkpoints(RunDir(study.run("a-s1")).checkpoints, "id").path(64)
    for after, done in ((-1, True), (2, False)):
        checkpoint.write_bytes(b"unreadable")
        os.utime(checkpoint, (ENDED.timestamp() + after,) * 2)
        assert is_done(study, plan(*MEASURED), "a-s1") is done


def test_more_training_asks_for_another_evaluation(study: StudyDir) -> None:
    save(study, 96, 96, timedelta(hours=1))
    assert is_done(study, plan(), "a-s1")
    assert not is_done(study, plan(*MEASURED), "a-s1")
    leave(study, State.DONE, *MEASURED, "96")
    assert is_done(study, plan(*MEASURED), "a-s1")


def test_an_outcome_without_a_time_is_checked_all_the_same(study: StudyDir) -> None:
    for state, done in ((64, True), (96, False)):
        save(study, state, 64 if done else 128, -timedelta(hours=1))
        Outcome(State.DONE, Stage.TRAINING, "", "soon").store(study.outcome_file("a-s1"))
        assert is_done(study, plan(), "a-s1") is done
