"""States are made by hand in a study's folder; who is at work holds real locks."""

from __future__ import annotations

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
from acaikit.artifacts.rundir import RunDir
from acaikit.errors import RunError
from acaikit.studies.layout import Plan, Run, StudyDir
from acaikit.studies.outcome import Outcome, Stage, State
from acaikit.studies.progress import newest
from acaikit.studies.queue import QueueEntry, remember
from acaikit.studies.status import Phase, RunStatus, Status, look

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
    directory = RunDir(study.run(f"r-s{seed}"))
    if not directory.exists():
        directory.write_run({"run_id": "0"})
    for samples, ago in points:
        checkpoints.save(samples, {"samples": samples, "budget": BUDGET})
        os.utime(checkpoints.path(samples), (NOW - ago, NOW - ago))


def note(study: StudyDir, seed: int, state: State, **others: object) -> None:
    make_folder(study.task(f"r-s{seed}"))
    known: dict[str, object] = {"stage": Stage.TRAINING, "began": at(NOW - 100), "host": "here"}
    if state is not State.RUNNING:
        known["ended"] = at(NOW - 10)
    Outcome(state=state, **(known | others)).store(study.outcome_file(f"r-s{seed}"))  # type: ignore[arg-type]


def finish(study: StudyDir, seed: int, ago: float = 20, **others: object) -> None:
    """Save all of a run, and note that it is done."""
    save(study, seed, (BUDGET, ago))
    done: dict[str, object] = {"evaluation": MEASURE, "checkpoint": newest(study.run(f"r-s{seed}"))}
    note(study, seed, State.DONE, **(done | others))


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


def test_done_is_what_is_trained_and_measured(tmp_path: Path) -> None:
    study = make(tmp_path)
    finish(study, 0)
    found = only(study)
    assert (found.phase, found.fraction, found.whole) == (Phase.DONE, 1.0, 90.0)
    assert (found.samples, found.budget) == (BUDGET, BUDGET)


def test_done_is_not_what_was_trained_further_removed_or_has_more_to_be_measured(tmp_path: Path) -> None:
    study = make(tmp_path, 3)
    finish(study, 0, evaluation=("--with", "Other"))
    save(study, 1, (BUDGET // 2, 5))
    note(study, 1, State.DONE, evaluation=MEASURE, checkpoint="another")
    note(study, 2, State.DONE, evaluation=MEASURE, checkpoint="another")
    measured, trained, removed = look(study, now=NOW).runs
    assert {run.phase for run in (measured, trained, removed)} == {Phase.WAITING}
    assert measured.said == "trained, still to be measured"
    assert trained.said == removed.said == "its run directory was removed or trained further"


@pytest.mark.parametrize("done", [True, False])
def test_a_run_directory_that_cannot_be_read_is_a_failure(tmp_path: Path, done: bool) -> None:
    study = make(tmp_path)
    finish(study, 0)
    if not done:
        note(study, 0, State.RUNNING)
    file = RunDir(study.run("r-s0")).run_file
    was = file.read_bytes()
    file.write_text("x")
    found = only(study)
    assert found.phase is Phase.FAILED and str(file) in found.said
    with RunLock(study.task_lock("r-s0")):
        assert only(study).phase is (Phase.FAILED if done else Phase.RUNNING)
    file.write_bytes(was)  # put back, it is seen to be
    assert only(study).phase is (Phase.DONE if done else Phase.WAITING)


def test_without_its_run_file_a_run_is_not_called_trained(tmp_path: Path) -> None:
    study = make(tmp_path, evaluation=())
    finish(study, 0)
    RunDir(study.run("r-s0")).run_file.unlink()
    assert only(study).said == "its run directory was removed or trained further"


def test_run_directories_that_are_no_part_of_the_plan_are_named(tmp_path: Path) -> None:
    study = make(tmp_path, 1)
    assert look(study).others == ()
    for seed in (2, 1, 0):
        save(study, seed, (BUDGET, 20))
    make_folder(study.run("no-run"))
    assert look(study).others == ("r-s1", "r-s2")


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
    assert (found.phase, found.where) == (Phase.RUNNING, f"process {os.getpid()}, outside a sweep")
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


def test_a_run_that_failed_in_a_pack_that_goes_on_has_failed(tmp_path: Path) -> None:
    study = make(tmp_path)
    note(study, 0, State.FAILED, lines=("NaN",))
    (found,) = look(study, {"r-s0": QueueEntry("12_3", "RUNNING", "None")}, NOW).runs
    assert (found.phase, found.said) == (Phase.FAILED, "NaN")


def test_what_a_sweep_left_that_was_killed_keeps_nobody_waiting(tmp_path: Path) -> None:
    study = make(tmp_path)
    with RunLock(study.lock_file) as held:
        assert look(study, {}, NOW).busy
        claimed = held.holder_file.read_text()
    held.holder_file.write_text(json.dumps(json.loads(claimed) | {"host": "elsewhere"}))
    assert not look(study, {}, NOW).busy


def test_a_job_that_left_the_queue_without_a_word_is_told(tmp_path: Path) -> None:
    study = make(tmp_path)
    remember(study, "r-s0", "12_3")
    assert only(study, {}).said == "its job 12_3 ended without a word"


def test_what_became_of_a_job_is_not_known_where_the_queue_cannot_be_asked(tmp_path: Path) -> None:
    study = make(tmp_path, 4)
    for seed in range(3):
        remember(study, f"r-s{seed}", f"12_{seed}")
    save(study, 1, (200, 40))
    note(study, 1, State.RUNNING)  # on a node, whose lock isn't seen here
    note(study, 2, State.FAILED, lines=("NaN",))
    status = look(study)
    assert status.unsure and not look(study, {}).unsure
    told = "handed to Slurm; whether it still runs isn't known"
    assert [run.said for run in status.runs] == [told, told, "NaN", ""]
    assert [run.where for run in status.runs[:2]] == ["job 12_0", "job 12_1"]


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
    earlier = {"began": at(NOW - 900), "ended": at(NOW - 800)}
    save(study, 2, (500, 50))
    note(study, 2, State.STOPPED, **earlier)  # half of 100 seconds is left
    note(study, 3, State.FAILED, **earlier)  # nobody will go on with it
    with ExitStack() as stack:
        for seed in range(2):
            stack.enter_context(RunLock(study.task_lock(f"r-s{seed}")))
        status = look(study, now=NOW)
    assert status.left == pytest.approx((80 + 60 + 50 + 100 + 100) / 2)
    assert status.fraction == pytest.approx((0.2 + 0.4 + 0.5) / 6)
    assert look(study, now=NOW).left is None  # nothing is at work


def test_the_time_left_does_not_jump_when_a_run_of_a_pack_ends(tmp_path: Path) -> None:
    """One job at once, of two runs; the next begins when both are over."""
    study = make(tmp_path, 4)
    for seed, began in ((0, 100), (1, 99)):
        save(study, seed, (900, 10), (980, 2))  # 10 samples a second
        note(study, seed, State.RUNNING, began=at(NOW - began))
    with RunLock(study.task_lock("r-s0")), RunLock(study.task_lock("r-s1")):
        before = look(study, now=NOW).left
    finish(study, 0, ago=0)
    with RunLock(study.task_lock("r-s1")):
        after = look(study, now=NOW).left
    assert before == pytest.approx((0 + 0 + 100 + 100) / 2, rel=0.1)
    assert after == pytest.approx(before, rel=0.1)


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


def test_a_second_look_opens_no_file_of_a_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make(tmp_path, 3)
    for seed in range(3):
        finish(study, seed)
    first = look(study, now=NOW)
    for name in ("checkpoints.Checkpoints.peek", "rundir.read_h5"):
        monkeypatch.setattr(f"acaikit.artifacts.{name}", lambda *args: pytest.fail("a file was read"))
    monkeypatch.setattr("acaikit.studies.fault.read_h5", lambda *args, **given: pytest.fail("a file was read"))
    assert look(study, now=NOW) == first
    assert len(first.those(Phase.DONE)) == 3


def test_the_clock_is_used_where_no_time_is_given(tmp_path: Path) -> None:
    study = make(tmp_path)
    note(study, 0, State.RUNNING, began=at(time.time() - 1000))
    with RunLock(study.task_lock("r-s0")):
        (found,) = look(study).runs
    assert found.lasted is not None and 999 <= found.lasted < 1500
