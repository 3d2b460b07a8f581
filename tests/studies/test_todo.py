from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.rundir import RunDir
from acaikit.studies.layout import Plan, Run, StudyDir
from acaikit.studies.outcome import Outcome, Stage, State
from acaikit.studies.progress import newest
from acaikit.studies.todo import is_done, todo

MEASURED = ("--with", "KMeans")


def plan(*evaluation: str) -> Plan:
    return Plan("study", "study.gin", tuple(Run(f"a-s{seed}", "a", (), seed) for seed in range(3)), evaluation)


def save(study: StudyDir, samples: int, budget: int = 64) -> None:
    state = {"samples": samples, "budget": budget}
    Checkpoints(RunDir(study.run("a-s1")).checkpoints, "id").save(samples, state)


def leave(study: StudyDir, state: State, *evaluation: str) -> None:
    """Leave an outcome about the checkpoint that is there."""
    study.task("a-s1").mkdir(parents=True, exist_ok=True)
    checkpoint = newest(study.run("a-s1")) or ""
    Outcome(state, Stage.TRAINING, "", evaluation=evaluation, checkpoint=checkpoint).store(study.outcome_file("a-s1"))


@pytest.fixture
def study(tmp_path: Path) -> StudyDir:
    """A run that was trained and measured at its end."""
    made = StudyDir(tmp_path)
    made.run("a-s1").mkdir(parents=True)
    RunDir(made.run("a-s1")).write_run({"run_id": "id"})
    save(made, 32)
    save(made, 64)
    leave(made, State.DONE, *MEASURED)
    return made


@pytest.mark.parametrize("evaluation", [(), MEASURED])
def test_a_run_that_ended_well_is_done_and_the_others_are_left(study: StudyDir, evaluation: tuple[str, ...]) -> None:
    assert is_done(study, plan(*evaluation), "a-s1")
    assert [run.name for run in todo(study, plan(*evaluation))] == ["a-s0", "a-s2"]


def test_it_is_so_wherever_the_folder_is_copied(study: StudyDir, tmp_path: Path) -> None:
    shutil.copytree(study.path, tmp_path / "copy", copy_function=shutil.copyfile)
    assert is_done(StudyDir(tmp_path / "copy"), plan(*MEASURED), "a-s1")


@pytest.mark.parametrize(
    "happens",
    [
        lambda study: shutil.rmtree(study.run("a-s1")),
        lambda study: shutil.rmtree(study.run("a-s1") / "checkpoints"),
        lambda study: (study.run("a-s1") / "run.h5").unlink(),
        lambda study: (study.run("a-s1") / "run.h5").write_bytes(b"broken"),
        lambda study: Checkpoints(RunDir(study.run("a-s1")).checkpoints, "id").path(64).unlink(),
        lambda study: Checkpoints(RunDir(study.run("a-s1")).checkpoints, "id").path(64).write_bytes(b"broken"),
        lambda study: study.outcome_file("a-s1").unlink(),
        lambda study: leave(study, State.FAILED, *MEASURED),
        lambda study: leave(study, State.RUNNING, *MEASURED),
        lambda study: save(study, 64, 128),
        lambda study: save(study, 96, 128),
    ],
    ids=[
        *(
            "removed",
            "no checkpoints",
            "no run.h5",
            "a broken one",
            "the newest is gone",
            "the newest is broken",
            "no outcome",
        ),
        *("failed", "running", "trained anew", "trained further"),
    ],
)
@pytest.mark.parametrize("evaluation", [(), MEASURED])
def test_it_is_no_more_when(study: StudyDir, happens: Callable[[StudyDir], None], evaluation: tuple[str, ...]) -> None:
    happens(study)
    assert not is_done(study, plan(*evaluation), "a-s1")


def test_what_was_measured_must_be_what_the_plan_says(study: StudyDir) -> None:
    assert not is_done(study, plan(*MEASURED, "--set", "KMeans.restarts = 2"), "a-s1")
    assert not is_done(study, plan("--with"), "a-s1")
    leave(study, State.DONE)
    assert is_done(study, plan(), "a-s1")
    assert not is_done(study, plan(*MEASURED), "a-s1")
