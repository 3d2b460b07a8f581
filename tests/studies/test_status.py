"""States are made by hand in a study's folder; who is at work holds real locks."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.lock import Holder, RunLock
from acaikit.artifacts.publish import make_folder
from acaikit.errors import RunError
from acaikit.studies.layout import Plan, Run, StudyDir
from acaikit.studies.outcome import Outcome, Stage, State
from acaikit.studies.queue import QueueEntry, remember
from acaikit.studies.status import Phase, RunStatus, Status, is_held, look

NOW = 1_800_000_000.0
BUDGET = 1000
MEASURE = ("--with", "KMeans")


def at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def make(path: Path, runs: int = 1, evaluation: tuple[str, ...] = MEASURE) -> StudyDir:
    study = StudyDir(path / "study")
    plan = Plan("study", "study.gin", tuple(Run(f"r-s{seed}", "r", (), seed) for seed in range(runs)), evaluation)
    make_folder(study.path)
    study.write(plan, {})
    return study


def save(study: StudyDir, seed: int, *points: tuple[int, float]) -> None:
    """Save checkpoints: samples, and seconds before `NOW`."""
    checkpoints = Checkpoints(study.run(f"r-s{seed}") / "checkpoints", "")
    for samples, ago in points:
        checkpoints.save(samples, {"samples": samples, "budget": BUDGET})
        os.utime(checkpoints.path(samples), (NOW - ago, NOW - ago))


def note(study: StudyDir, seed: int, state: State, **others: object) -> None:
    make_folder(study.task(f"r-s{seed}"))
    known: dict[str, object] = {"stage": Stage.TRAINING, "began": at(NOW - 100), "host": "here"}
    if state is not State.RUNNING:
        known["ended"] = at(NOW - 10)
    Outcome(state=state, **(known | others)).store(study.outcome_file(f"r-s{seed}"))  # type: ignore[arg-type]


def only(study: StudyDir, queue: dict[str, QueueEntry] | None = None) -> RunStatus:
    (found,) = look(study, queue, NOW).runs
    return found


@contextmanager
def holding(lock: Path) -> Iterator[None]:
    """Let another process hold a lock."""
    script = """
import sys
from pathlib import Path
from acaikit.artifacts.lock import RunLock
with RunLock(Path(sys.argv[1])):
    print(flush=True)
    input()
"""
    command = [sys.executable, "-c", script, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            assert process.stdout.readline()
            yield
        finally:
            process.kill()


def test_a_run_that_never_began_waits_and_has_nothing_to_say(tmp_path: Path) -> None:
    assert only(make(tmp_path)) == RunStatus(Run("r-s0", "r", (), 0), Phase.WAITING)


def test_a_folder_that_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no study"):
        look(StudyDir(tmp_path))


@pytest.mark.parametrize("saved_before_the_end", [True, False])
def test_done_is_what_is_trained_and_measured(tmp_path: Path, saved_before_the_end: bool) -> None:
    """Also where clocks differ, and a checkpoint is younger than the end of the turn that saved it."""
    study = make(tmp_path)
    save(study, 0, (BUDGET, 20 if saved_before_the_end else 0))
    note(study, 0, State.DONE, evaluation=(*MEASURE, str(BUDGET)))
    found = only(study)
    assert (found.phase, found.fraction, found.whole) == (Phase.DONE, 1.0, 90.0)


def test_done_is_not_what_was_trained_further_removed_or_has_more_to_be_measured(tmp_path: Path) -> None:
    study = make(tmp_path, 3)
    for seed in range(3):
        note(study, seed, State.DONE, evaluation=(*MEASURE, str(BUDGET)) if seed else ("--with", "Other", str(BUDGET)))
    save(study, 0, (BUDGET, 20))
    save(study, 1, (BUDGET // 2, 5))
    measured, trained, removed = look(study, now=NOW).runs
    assert {run.phase for run in (measured, trained, removed)} == {Phase.WAITING}
    assert measured.said == "trained, still to be measured"
    assert trained.said == removed.said == "its run directory was removed or trained further"


def test_a_worker_at_work_is_known_by_its_lock_not_by_its_word(tmp_path: Path) -> None:
    study = make(tmp_path)
    note(study, 0, State.RUNNING)
    save(study, 0, (200, 40), (400, 20))
    lock = study.task_lock("r-s0")
    lock.touch()
    # Of a worker that was killed, only its .holder is left; another host's can't be seen to be gone.
    lock.with_name(".holder").write_text(json.dumps(vars(Holder(1, "node7", "me", at(NOW - 100)))))
    assert (only(study).phase, only(study).said) == (Phase.WAITING, "interrupted at 40%")
    with holding(lock):
        found = only(study)
    assert (found.phase, found.where, found.lasted) == (Phase.RUNNING, "here", 100.0)
    assert (found.samples, found.budget) == (600, BUDGET)  # 10 samples a second for 20 seconds
    assert (found.left, found.whole) == (pytest.approx(40), pytest.approx(100))
    assert only(study).phase is Phase.WAITING


@pytest.mark.parametrize(("ago", "measured"), [(20, 20.0), (500, 100.0)])
def test_what_is_measured_tells_for_how_long(tmp_path: Path, ago: float, measured: float) -> None:
    """Since it was trained or, where an earlier turn did that, since this one began."""
    study = make(tmp_path)
    note(study, 0, State.RUNNING, stage=Stage.EVALUATION)
    save(study, 0, (500, ago + 20), (BUDGET, ago))
    with RunLock(study.task_lock("r-s0")):
        found = only(study)
    assert (found.phase, found.stage, found.fraction, found.left) == (Phase.RUNNING, Stage.EVALUATION, 1.0, None)
    assert (found.lasted, found.whole) == (measured, 100.0)


def test_before_its_first_checkpoint_a_run_has_but_its_age(tmp_path: Path) -> None:
    study = make(tmp_path)
    note(study, 0, State.RUNNING)
    with RunLock(study.task_lock("r-s0")):
        found = only(study)
    assert (found.phase, found.budget, found.left, found.lasted) == (Phase.RUNNING, 0, None, 100.0)


def test_looking_takes_the_lock_from_nobody_and_writes_nothing(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    assert not is_held(lock)
    assert not lock.exists()
    with RunLock(lock):
        before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
        assert is_held(lock)
        assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert not is_held(lock)
    with RunLock(lock):  # it isn't held by whoever looked
        pass


def test_any_number_may_look_at_once(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    lock.touch()
    with lock.open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert not is_held(lock)


def test_where_a_lock_cannot_be_opened_its_holder_is_believed(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    lock.symlink_to(tmp_path / "elsewhere")
    assert not is_held(lock)
    lock.with_name(".holder").write_text(json.dumps(vars(Holder(1, "node7", "me", at(NOW)))))
    assert is_held(lock)


def test_a_training_that_outlived_its_worker_is_seen_and_its_lock_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make(tmp_path)
    note(study, 0, State.RUNNING)
    save(study, 0, (500, 20))
    run_lock = study.run("r-s0") / ".lock"
    with RunLock(run_lock), monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", lambda *args: pytest.fail("a lock was tried"))
        found = only(study)
    assert (found.phase, found.where) == (Phase.RUNNING, f"process {os.getpid()} on its own")
    # What a killed node left behind says nothing.
    run_lock.with_name(".holder").write_text(json.dumps(vars(Holder(1, "node7", "me", at(NOW)))))
    assert only(study).said == "interrupted at 50%"


@pytest.mark.parametrize("state", [State.FAILED, State.UNWRITABLE])
def test_failed_runs_say_why_and_how_often_they_were_begun_again(tmp_path: Path, state: State) -> None:
    study = make(tmp_path)
    note(study, 0, state, lines=("a", "killed by SIGKILL"), retries=3)
    found = only(study)
    assert (found.phase, found.said, found.retries) == (Phase.FAILED, "killed by SIGKILL", 3)
    note(study, 0, state)
    assert only(study).said == "it said nothing"


def test_stopped_runs_say_how_far_they_came(tmp_path: Path) -> None:
    study = make(tmp_path)
    note(study, 0, State.STOPPED)
    assert only(study).said == "stopped at 0%"
    save(study, 0, (250, 20))
    assert only(study).said == "stopped at 25%"
    save(study, 0, (BUDGET, 10))
    assert only(study).said == "trained, still to be measured"


def test_runs_in_a_queue_say_what_the_queue_does(tmp_path: Path) -> None:
    study = make(tmp_path)
    note(study, 0, State.FAILED, lines=("earlier",))
    status = look(study, {"r-s0": QueueEntry("12_3", "PENDING", "Resources")}, NOW)
    (found,) = status.runs
    assert (found.phase, found.said, found.where) == (Phase.WAITING, "pending (Resources)", "job 12_3")
    assert status.busy
    assert not look(study, {}, NOW).busy


def test_a_job_that_left_the_queue_without_a_word_is_told(tmp_path: Path) -> None:
    study = make(tmp_path)
    remember(study, "r-s0", "12_3")
    assert only(study, {}).said == "its job 12_3 ended without a word"
    assert only(study).said == ""  # nobody asked the queue


def test_a_study_is_busy_while_it_is_swept(tmp_path: Path) -> None:
    study = make(tmp_path)
    assert not look(study, now=NOW).busy
    with RunLock(study.lock_file):
        assert look(study, now=NOW).busy


def test_the_time_left_is_that_of_all_runs_over_those_at_work(tmp_path: Path) -> None:
    study = make(tmp_path, 6)
    for seed, reached in ((0, 200), (1, 400)):
        save(study, seed, (reached - 100, 10), (reached, 0))  # 10 samples a second: 80 and 60 seconds are left
        note(study, seed, State.RUNNING)
    save(study, 2, (500, 50))
    note(study, 2, State.STOPPED)  # half of 100 seconds is left
    note(study, 3, State.FAILED)  # nobody will go on with it
    with ExitStack() as stack:
        for seed in range(2):
            stack.enter_context(RunLock(study.task_lock(f"r-s{seed}")))
        status = look(study, now=NOW)
    assert status.left == pytest.approx((80 + 60 + 50 + 100 + 100) / 2)
    assert status.fraction == pytest.approx((0.2 + 0.4 + 0.5) / 6)
    assert look(study, now=NOW).left is None  # nothing is at work


def test_the_last_run_keeps_a_study_for_as_long_as_it_takes() -> None:
    def one(seed: int, left: float) -> RunStatus:
        return RunStatus(Run(f"r-s{seed}", "r", (), seed), Phase.RUNNING, left=left, whole=100.0)

    assert Status("study", Path(), (one(0, 90.0), one(1, 10.0)), True).left == 90.0


def test_what_files_say_is_shown_without_control_characters(tmp_path: Path) -> None:
    study = make(tmp_path)
    note(study, 0, State.FAILED, lines=("\x1b[31mred\x07",), host="no\x1bde")
    assert (only(study).said, only(study).where) == ("?[31mred?", "no?de")


def test_a_clock_ahead_of_ours_makes_no_time_negative(tmp_path: Path) -> None:
    study = make(tmp_path)
    note(study, 0, State.RUNNING, began=at(NOW + 60))
    with RunLock(study.task_lock("r-s0")):
        assert only(study).lasted == 0


def test_times_that_are_none_are_no_reason_to_fail(tmp_path: Path) -> None:
    study = make(tmp_path)
    save(study, 0, (500, 20))
    note(study, 0, State.RUNNING, began="yesterday")
    with RunLock(study.task_lock("r-s0")):
        found = only(study)
    assert (found.phase, found.samples, found.lasted, found.left) == (Phase.RUNNING, 500, None, None)


def test_a_study_that_is_done_is_looked_at_without_opening_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make(tmp_path, 3)
    for seed in range(3):
        save(study, seed, (BUDGET, 20))
        note(study, seed, State.DONE, evaluation=(*MEASURE, str(BUDGET)))
    monkeypatch.setattr(Checkpoints, "peek", lambda *args: pytest.fail("a checkpoint was opened"))
    assert len(look(study).those(Phase.DONE)) == 3


def test_the_clock_is_used_where_no_time_is_given(tmp_path: Path) -> None:
    study = make(tmp_path)
    note(study, 0, State.RUNNING, began=at(time.time() - 1000))
    with RunLock(study.task_lock("r-s0")):
        (found,) = look(study).runs
    assert found.lasted is not None and 999 <= found.lasted < 1500
