"""What a job of Slurm's does, without a Slurm: its programs are shell scripts, and its workers only say how it went."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from acaikit.studies.job import Job, teardown
from acaikit.studies.layout import Plan, Run, StudyDir
from acaikit.studies.outcome import Outcome, Stage, State
from acaikit.studies.worker import RETRIES, Worker

FAILED = Outcome(State.FAILED, Stage.TRAINING, "2026-11-21T20:00:00+00:00", lines=("ValueError: no such thing",))
LIMIT = 60.0
"""Seconds that a worker waits to be stopped, at most."""


class Says(Worker):
    """A worker whose turn ends in a state that is given; with none, once it is stopped."""

    def __init__(self, study: StudyDir, run: str, state: State | None) -> None:
        super().__init__(study.path, run, 1)
        self.state, self.turns, self.stopped = state, 0, threading.Event()

    def stop(self) -> None:
        self.stopped.set()

    def __call__(self) -> Outcome:
        self.turns += 1
        state = self.state or (State.STOPPED if self.stopped.wait(LIMIT) else State.FAILED)
        outcome = replace(FAILED, state=state, began=f"2026-11-21T20:00:{self.turns:02}+00:00")
        outcome.store(self.study.outcome_file(self.run))
        return outcome


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Shell scripts in place of Slurm's programs; what they are asked is in the file that is returned."""
    folder, asked = tmp_path / "programs", tmp_path / "asked"
    folder.mkdir()
    says = {
        "squeue": "case $* in *%i*) echo '7_1|RUNNING|None|/x';; *) echo RUNNING;; esac",
        "scontrol": "",
        "scancel": "",
    }
    for name, does in says.items():
        (folder / name).write_text(f'#!/bin/sh\n[ {name} = squeue ] || echo {name} "$@" >> {asked}\n{does}\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    asked.touch()
    ids = {"SLURM_JOB_ID": "8", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1", "SUBMITIT_EXECUTOR": "slurm"}
    for name, value in ids.items():
        monkeypatch.setenv(name, value)
    return asked


@pytest.fixture
def says(tmp_path: Path) -> Callable[[Mapping[str, State | None]], list[Says]]:
    def make(states: Mapping[str, State | None]) -> list[Says]:
        study = StudyDir(tmp_path / "study")
        study.write(Plan("study", "study.gin", tuple(Run(name, "r", (), 0) for name in states), ()), {"r": ""})
        for name in states:
            study.task(name).mkdir(parents=True)
        return [Says(study, name, state) for name, state in states.items()]

    return make


def end(job: Job) -> int | str | None:
    with pytest.raises(SystemExit) as raised:
        job()
    return raised.value.code


def test_what_failed_before_is_tried_and_what_failed_in_the_job_is_not(
    programs: Path, says: Callable[..., list[Says]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = says({"a": State.FAILED})[0]
    FAILED.store(worker.study.outcome_file("a"))
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")  # requeued before it began, as after a node that didn't start it
    job = Job([worker])
    assert (end(job), worker.turns) == (1, 1)
    assert (end(job), worker.turns) == (1, 1)
    assert capsys.readouterr().err == "a: failed\nValueError: no such thing\n" * 2
    assert (end(Job([worker])), worker.turns) == (1, 2)


def test_what_cannot_be_written_stops_its_pack_and_what_waits(programs: Path, says: Callable[..., list[Says]]) -> None:
    workers = says({"a": None, "b": State.UNWRITABLE, "c": State.DONE})
    assert end(Job(workers)) == 1
    assert workers[0].study.outcome("a") == replace(FAILED, state=State.STOPPED, began="2026-11-21T20:00:01+00:00")
    assert programs.read_text() == "scancel --state=PENDING 7\n"


def test_a_job_that_is_told_to_save_is_requeued_by_its_number_in_the_array(
    programs: Path, says: Callable[..., list[Says]]
) -> None:
    workers = says({"a": None, "b": State.DONE})
    job = Job(workers)
    job._stop()
    assert end(job) == 1
    assert programs.read_text() == "scontrol requeue 7_1\n"


def test_a_killed_job_is_requeued_a_few_times_whatever_else_requeued_it(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "jobs of 'mine'"
    folder.mkdir()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "99")

    def ended(code: int) -> None:
        script = "\n".join([f"(exit {code})", *teardown(folder)])
        assert subprocess.run(["bash", "-c", script], check=False).returncode == code

    ended(1)
    assert programs.read_text() == ""
    for _ in range(RETRIES + 2):
        ended(137)
    assert programs.read_text() == "scontrol requeue 7_1\n" * RETRIES
