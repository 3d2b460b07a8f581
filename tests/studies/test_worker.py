from __future__ import annotations

import errno
import os
import pickle
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faults import tiny

from acaikit.artifacts import lock
from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.lock import RunLock, is_running
from acaikit.artifacts.metrics import read_metrics
from acaikit.artifacts.rundir import RunDir
from acaikit.config import read_recipe
from acaikit.runs.session import open_session
from acaikit.studies import outcome as outcomes
from acaikit.studies import process as processes
from acaikit.studies import worker as module
from acaikit.studies.layout import Plan, Run, StudyDir
from acaikit.studies.outcome import Outcome, Stage, State
from acaikit.studies.process import LINES, Ended
from acaikit.studies.todo import is_done
from acaikit.studies.worker import RETRIES, Worker

EVALUATION = ("--with", "kmeans")
LIMIT = 120
"""Seconds after which what is waited for will never be."""

STAND_IN = """
echo "$*" >> "$here/calls"
turn=$(wc -l < "$here/calls")
training() { mkdir -p "$here/study/runs/x-s0"; cp -r "$here/trained/." "$here/study/runs/x-s0"; }
until_told() { trap "$1" TERM; : > "$here/at-$turn"; while :; do sleep 0.02; done; }
if [ -f "$here/turn-$turn" ]; then . "$here/turn-$turn"; elif [ "$1" = run ]; then training; fi
"""


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def train(run: Path, samples: int, weights: float = 1.0) -> None:
    """Leave a run that has seen so many of 64 samples."""
    if not RunDir(run).exists():
        run.mkdir(parents=True)
        RunDir(run).write_run({"run_id": "id"})
    state = {"samples": samples, "budget": max(samples, 64), "model": np.full(3, weights)}
    Checkpoints(RunDir(run).checkpoints, "id").save(samples, state)


class OneRun:
    """A study of one run, and a shell script in place of acaikit: it trains the run, or does what is scripted."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.dir = folder, StudyDir(folder / "study")
        self.plan(EVALUATION)
        train(folder / "trained", 64)
        script = folder / "acaikit.sh"
        script.write_text(f'here="{folder}"\n{STAND_IN}')
        monkeypatch.setattr(module, "COMMAND", ("/bin/sh", "--", str(script)))
        self.pool = ThreadPoolExecutor()
        self.started: list[Worker] = []

    def plan(self, evaluation: tuple[str, ...]) -> None:
        runs = (Run("x-s0", "x", ("ACAI.weight=0.1",), 0),)
        self.dir.write(Plan("study", "study.gin", runs, evaluation), {"x": "Experiment.samples = 64\n"})

    def acts(self, *scripts: str) -> None:
        """Say what the first processes are to do from here on."""
        for number, script in enumerate(scripts, len(self.calls) + 1):
            (self.folder / f"turn-{number}").write_text(script)

    @property
    def calls(self) -> list[str]:
        """The arguments of each process so far."""
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def commands(self) -> list[str]:
        return [call.split()[0] for call in self.calls]

    def worker(self) -> Worker:
        self.started.append(Worker(self.dir.path, "x-s0", 2, ["--device", "cpu"], {"MARK": "this"}))
        return self.started[-1]

    def start(self) -> tuple[Worker, Future[Outcome]]:
        """Let a worker begin in a thread."""
        worker = self.worker()
        return worker, self.pool.submit(worker)

    def turn(self) -> Outcome:
        """Let a worker do its turn; return what it says, which must be what it leaves."""
        outcome = self.start()[1].result(LIMIT)
        assert self.dir.outcome("x-s0") == outcome
        return outcome

    def await_process(self, number: int) -> None:
        """Wait until a process waits to be told to end."""
        until((self.folder / f"at-{number}").exists)

    def close(self) -> None:
        for worker in self.started:
            worker.stop()
            worker.stop()
        self.pool.shutdown()


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OneRun]:
    made = OneRun(tmp_path, monkeypatch)
    yield made
    made.close()


def test_a_turn_trains_and_measures(study: OneRun) -> None:
    study.acts('echo "a word" >&2; env > "$here/env"; training; echo \'{"saved": true}\'')
    outcome = study.turn()
    assert (outcome.state, outcome.stage, outcome.retries, outcome.lines) == (State.DONE, Stage.EVALUATION, 0, ())
    assert outcome.began <= outcome.ended
    trained, measured = study.calls
    recipe, run = study.dir.recipe("x"), study.dir.run("x-s0")
    assert trained.startswith(f"run {recipe} --set ACAI.weight=0.1 --seed 0 --dir {run} ")
    assert measured.startswith(f"eval {run} --with kmeans ")
    for call in (trained, measured):
        assert call.endswith("--threads 2 --device cpu")
    assert {"--wait", "--on-save-error", "stop", "--json"} < set(trained.split())
    environment = study.folder.joinpath("env").read_text().splitlines()
    assert {"MARK=this", "OMP_NUM_THREADS=2", f"HOME={os.environ['HOME']}"} <= set(environment)
    begun, said, evaluated = study.dir.log("x-s0").read_text().splitlines()
    assert f"acaikit {trained}" in begun and said == "a word" and f"acaikit {measured}" in evaluated
    assert not RunLock(study.dir.task_lock("x-s0")).holder_file.exists()


def test_what_is_done_is_not_done_again(study: OneRun) -> None:
    """Other arguments are another evaluation, and so are more samples."""
    train(study.dir.run("x-s0"), 64)
    for reason in ("first", "arguments", "samples"):
        if reason == "arguments":
            study.plan((*EVALUATION, "--set", "KMeans.restarts=2"))
        if reason == "samples":
            train(study.dir.run("x-s0"), 96)
        for _ in range(2):
            assert study.turn().state is State.DONE
            assert is_done(study.dir, study.dir.read(), "x-s0")
        assert (
            study.commands.count("eval") == len(study.commands) == ("first", "arguments", "samples").index(reason) + 1
        )
    study.plan(())
    assert study.turn().state is State.DONE
    assert len(study.calls) == 3


def test_an_unfinished_run_is_gone_on_with(study: OneRun) -> None:
    train(study.dir.run("x-s0"), 32)
    assert study.turn().state is State.DONE
    assert study.commands == ["run", "eval"]


@pytest.mark.parametrize("end", ["kill -KILL $$", "kill -40 $$", "exit 129", "exit 130", "exit 143"])
def test_what_a_signal_ended_is_started_again(study: OneRun, end: str) -> None:
    study.acts(end, "training", end)
    outcome = study.turn()
    assert (outcome.state, outcome.retries, outcome.lines) == (State.DONE, 2, ())
    assert study.commands == ["run", "run", "eval", "eval"]
    assert study.calls[0] == study.calls[1] and study.calls[2] == study.calls[3]


@pytest.mark.parametrize("stage", list(Stage))
def test_there_is_an_end_to_that(study: OneRun, stage: Stage) -> None:
    ready = ["training"] * (stage is Stage.EVALUATION)
    study.acts(*ready, *["echo 'so far' >&2; kill -KILL $$"] * (RETRIES + 1))
    outcome = study.turn()
    assert (outcome.state, outcome.stage, outcome.retries) == (State.FAILED, stage, RETRIES)
    assert outcome.lines[0] == "so far" and outcome.lines[-1].startswith("killed by")
    assert len(study.calls) == len(ready) + RETRIES + 1
    assert study.turn().state is State.DONE  # the next turn has retries of its own
    assert len(study.calls) == len(ready) + RETRIES + 3 - len(ready)


@pytest.mark.parametrize("code", [1, 2, 3, 127, 131])
def test_an_error_is_not_tried_again_and_its_last_lines_are_kept(study: OneRun, code: int) -> None:
    study.acts(f'seq 100 >&2; echo >&2; echo "ValueError: \' {code} \xe9 " >&2; echo NaN; exit {code}')
    outcome = study.turn()
    assert (outcome.state, outcome.stage, outcome.retries) == (State.FAILED, Stage.TRAINING, 0)
    assert [line.strip() for line in outcome.lines[-2:]] == ["100", f"ValueError: ' {code} \xe9"]
    assert len(outcome.lines) == LINES
    assert study.commands == ["run"]
    logged = study.dir.log("x-s0").read_text().splitlines()
    assert "NaN" in logged and [line for line in logged[1:] if line != "NaN"][:4] == ["1", "2", "3", "4"]


def test_a_failed_evaluation_costs_no_training(study: OneRun) -> None:
    study.acts("training", "echo 'no labels' >&2; exit 2")
    outcome = study.turn()
    assert (outcome.state, outcome.stage, outcome.lines) == (State.FAILED, Stage.EVALUATION, ("no labels",))
    again = study.turn()
    assert (again.state, again.lines) == (State.DONE, ())
    assert study.commands == ["run", "eval", "eval"]


def test_an_evaluation_that_failed_later_does_not_forget_an_earlier_one(study: OneRun) -> None:
    assert study.turn().state is State.DONE
    study.plan(("--with", "probe"))
    study.acts("exit 2")
    assert study.turn().state is State.FAILED
    study.plan(EVALUATION)
    assert study.turn().state is State.DONE
    assert study.commands == ["run", "eval", "eval"]


@pytest.mark.parametrize("stream", ["1", "2"])
def test_much_output_stops_nothing(study: OneRun, stream: str) -> None:
    """More than a pipe holds, in lines of any length."""
    study.acts(f"head -c 300000 /dev/zero | tr '\\0' x >&{stream}; echo >&{stream}; seq 30000 >&{stream}; training")
    assert study.turn().state is State.DONE


def test_an_outcome_can_be_read_however_long_the_lines_were(study: OneRun) -> None:
    study.acts("head -c 300000 /dev/zero | tr '\\0' x >&2; echo >&2; echo \"ValueError: x\" >&2; exit 1")
    assert study.turn().lines[-1] == "ValueError: x"


def test_another_worker_at_the_run_is_waited_for(study: OneRun, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []
    monkeypatch.setattr(lock, "LOOK_AGAIN", 0.01)
    monkeypatch.setattr(Worker, "_wait", lambda worker, held, wait=Worker._wait: [looks.append(0), wait(worker, held)])
    with RunLock(study.dir.task_lock("x-s0")):
        _, future = study.start()
        until(lambda: len(looks) > 2)
        assert study.calls == [] and study.dir.outcome("x-s0") is None
        train(study.dir.run("x-s0"), 64)
    assert future.result(LIMIT).state is State.DONE
    assert study.commands == ["eval"]

    before = study.dir.outcome("x-s0")
    with RunLock(study.dir.task_lock("x-s0")):
        looks.clear()
        worker, future = study.start()
        until(lambda: len(looks) > 2)
        worker.stop()
        assert future.result(LIMIT).state is State.STOPPED
        assert study.dir.outcome("x-s0") == before  # it is the other's to write


def test_a_worker_that_was_stopped_before_starts_nothing(study: OneRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.subprocess, "Popen", pytest.fail)
    worker = study.worker()
    worker.stop()
    outcome = worker()
    assert outcome.state is State.STOPPED
    assert study.calls == [] and study.dir.outcome("x-s0") == outcome


@pytest.mark.parametrize("stage", list(Stage))
def test_a_stop_ends_the_process_in_good_order(study: OneRun, stage: Stage) -> None:
    ready = ["training"] * (stage is Stage.EVALUATION)
    study.acts(*ready, 'echo $$ > "$here/process"; until_told "echo saved >&2; exit 143"')
    worker, future = study.start()
    study.await_process(len(ready) + 1)
    process = int(study.folder.joinpath("process").read_text())
    assert os.getsid(process) == process  # a terminal's Ctrl-C doesn't reach it
    running = study.dir.outcome("x-s0")
    assert (running.state, running.stage, running.ended) == (State.RUNNING, stage, "")
    assert RunLock(study.dir.task_lock("x-s0")).holder().pid == os.getpid()
    worker.stop()
    outcome = future.result(LIMIT)
    assert (outcome.state, outcome.stage, outcome.retries) == (State.STOPPED, stage, 0)
    assert study.dir.outcome("x-s0") == outcome and outcome.ended
    assert study.dir.log("x-s0").read_text().endswith("saved\n")
    assert len(study.calls) == len(ready) + 1
    assert study.turn().state is State.DONE


def test_a_stop_that_comes_with_the_end_of_training_leaves_the_evaluation_for_later(study: OneRun) -> None:
    study.acts('until_told "training; exit 0"')
    worker, future = study.start()
    study.await_process(1)
    worker.stop()
    outcome = future.result(LIMIT)
    assert outcome.state is State.STOPPED
    assert study.dir.outcome("x-s0") == outcome
    assert study.commands == ["run"]


def test_a_stop_that_comes_with_the_end_of_all_changes_nothing(study: OneRun) -> None:
    study.acts("training", 'until_told "exit 0"')
    worker, future = study.start()
    study.await_process(2)
    worker.stop()
    assert future.result(LIMIT).state is State.DONE
    assert study.turn().state is State.DONE
    assert study.commands == ["run", "eval"]


def test_a_second_stop_ends_the_process_at_once(study: OneRun) -> None:
    study.acts('until_told "echo heard >&2"')
    worker, future = study.start()
    study.await_process(1)
    worker.stop()
    until(lambda: "heard" in study.dir.log("x-s0").read_text())
    assert not future.done()
    worker.stop()
    outcome = future.result(LIMIT)
    assert outcome.state is State.STOPPED
    assert study.dir.outcome("x-s0") == outcome
    assert study.commands == ["run"]


def test_a_signals_handler_may_stop_it(study: OneRun) -> None:
    """In the thread that is at work."""
    study.acts("kill -USR1 $PPID; until_told 'exit 143'")
    worker = study.worker()
    before = signal.signal(signal.SIGUSR1, lambda number, frame: worker.stop())
    try:
        outcome = worker()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert outcome.state is State.STOPPED
    assert study.dir.outcome("x-s0") == outcome
    assert len(study.calls) == 1


def test_a_stop_while_the_process_is_made_reaches_it(study: OneRun, monkeypatch: pytest.MonkeyPatch) -> None:
    popen = processes.subprocess.Popen

    def stopped(*command: Any, **how: Any) -> Any:
        worker.stop()
        return popen(*command, **how)

    monkeypatch.setattr(processes.subprocess, "Popen", stopped)
    study.acts("until_told 'exit 143'")
    worker, future = study.start()
    assert future.result(LIMIT).state is State.STOPPED


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("a fault of acaikit's")])
def test_what_goes_wrong_in_the_worker_leaves_no_process_behind(
    study: OneRun, monkeypatch: pytest.MonkeyPatch, error: Any
) -> None:
    def fail(process: processes.Process, wait: Callable[[processes.Process], Ended] = processes.Process.wait) -> Ended:
        study.await_process(1)
        monkeypatch.setattr(processes.Process, "wait", wait)
        raise error

    monkeypatch.setattr(processes.Process, "wait", fail)
    study.acts("""until_told ': > "$here/ended"; exit 1'""")
    worker = study.worker()
    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            worker()
        assert study.dir.outcome("x-s0").state is State.STOPPED
    else:
        outcome = worker()
        assert (outcome, outcome.state) == (study.dir.outcome("x-s0"), State.FAILED)
        assert outcome.lines[-1] == "RuntimeError: a fault of acaikit's"
    assert (study.folder / "ended").exists()
    with RunLock(study.dir.task_lock("x-s0")):
        pass


@pytest.mark.parametrize("stopped_by", ["unsaved", "max-time"])
def test_a_run_that_can_not_be_saved_is_told_from_other_failures(study: OneRun, stopped_by: str) -> None:
    study.acts(f"""echo chatter; echo '{{"stopped_by": "{stopped_by}"}}'; echo why >&2; exit 1""")
    outcome = study.turn()
    assert outcome.state is (State.UNWRITABLE if stopped_by == "unsaved" else State.FAILED)
    assert (outcome.lines, len(study.calls)) == (("why",), 1)


def test_what_a_run_says_of_some_other_disk_is_no_fault_of_the_study(study: OneRun) -> None:
    study.acts(f"echo 'error: /dev/shm/x: {os.strerror(errno.ENOSPC)}' >&2; exit 2")
    assert study.turn().state is State.FAILED


def test_what_a_process_leaves_behind_ends_with_it(study: OneRun) -> None:
    """A child that lives on would keep what its parent had: a lock, the worker's ear, a GPU."""
    study.acts('sleep 600 & echo $! > "$here/child"; echo why >&2; exit 1')
    assert study.turn().lines == ("why",)
    until(lambda: not is_running(int((study.folder / "child").read_text())))


def test_a_run_that_is_trained_anew_is_measured_anew(study: OneRun) -> None:
    assert study.turn().state is State.DONE
    shutil.rmtree(study.dir.run("x-s0"))
    shutil.rmtree(study.folder / "trained")
    train(study.folder / "trained", 64, weights=2.0)
    assert not is_done(study.dir, study.dir.read(), "x-s0")
    assert study.turn().state is State.DONE
    assert study.commands == ["run", "eval"] * 2


def test_a_run_that_has_begun_keeps_its_threads(study: OneRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    train(study.dir.run("x-s0"), 32)
    study.acts('env > "$here/env"; training')
    assert study.turn().state is State.DONE
    trained, measured = study.calls
    assert "--threads" not in trained and measured.endswith("--threads 2 --device cpu")
    assert "OMP_NUM_THREADS" not in study.folder.joinpath("env").read_text()


def test_a_module_beside_the_study_is_not_taken_for_pythons() -> None:
    assert (sys.executable, "-P", "-m", "acaikit") == module.COMMAND


@pytest.mark.parametrize("write", [1, 2, 3])
def test_an_outcome_that_can_not_be_written(study: OneRun, write: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the beginning, between training and evaluation, at the end."""
    publish, left = outcomes.publish, iter(range(1, 9))

    def full(path: Path, data: bytes) -> None:
        if next(left) == write:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        publish(path, data)

    monkeypatch.setattr(outcomes, "publish", full)
    outcome = study.worker()()
    assert outcome.state is State.UNWRITABLE
    assert os.strerror(errno.ENOSPC) in outcome.lines[-1]
    assert study.commands == ["run", "eval"][: write - 1]


def test_a_study_that_can_not_be_written(study: OneRun, monkeypatch: pytest.MonkeyPatch) -> None:
    (study.dir.path / "tasks").touch()
    outcome = study.worker()()
    assert (outcome.state, study.calls) == (State.UNWRITABLE, [])
    (study.dir.path / "tasks").unlink()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(lock.FileLock, "acquire", full)
    outcome = study.worker()()
    assert (outcome, outcome.state, study.calls) == (study.dir.outcome("x-s0"), State.FAILED, [])


def test_a_run_that_the_plan_lacks(study: OneRun) -> None:
    assert Worker(study.dir.path, "y-s0", 1)().state is State.FAILED
    study.dir.plan_file.unlink()
    outcome = Worker(study.dir.path, "x-s0", 1)()
    assert (outcome.state, study.calls) == (State.FAILED, [])
    assert re.fullmatch(".*/study holds no study: .*", outcome.lines[-1])


def test_a_worker_is_the_same_after_pickling(study: OneRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another machine it may find itself in another folder."""
    monkeypatch.chdir(study.folder)
    study.acts("echo $MARK >&2; training")
    data = pickle.dumps(Worker(Path("study"), "x-s0", 2, ["--device", "cpu"], {"MARK": "this"}))
    monkeypatch.chdir("/")
    assert pickle.loads(data)().state is State.DONE
    assert f"--seed 0 --dir {study.dir.run('x-s0')} " in study.calls[0]
    assert study.calls[0].endswith("--threads 2 --device cpu")
    assert study.dir.log("x-s0").read_text().splitlines()[1] == "this"


DRIVER = """
import os, signal, sys, time
from pathlib import Path
from acaikit import cli
from acaikit.engine import Trainer

killed, at, go = (Path(sys.argv[1], name) for name in ("killed", "at", "go"))
sys.argv[1:] = sys.argv[2:]
step = Trainer.step

def interrupted(trainer):
    losses = step(trainer)
    if trainer.steps == 6 and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if trainer.steps == 9:
        at.touch()
        while not go.exists():
            time.sleep(0.01)
    return losses

Trainer.step = interrupted
cli.main()
"""


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict | list | tuple):
        pairs = a.items() if isinstance(a, dict) else enumerate(a)
        return len(a) == len(b) and all(same(value, b[key]) for key, value in pairs)
    if isinstance(a, torch.Tensor | np.ndarray):
        return a.dtype == b.dtype and np.asarray(a).tobytes() == np.asarray(b).tobytes()
    return bool(a == b)


def made(path: Path) -> Any:
    """Return all that a run's training has made."""
    directory = RunDir(path)
    latest = Checkpoints(directory.checkpoints, directory.read_run()["run_id"]).latest(report=pytest.fail)
    return latest, read_metrics(directory.metrics)


def test_a_run_that_was_killed_and_stopped_ends_in_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, study = tmp_path / "driver.py", StudyDir(tmp_path / "study")
    driver.write_text(DRIVER)
    monkeypatch.setattr(module, "COMMAND", (sys.executable, str(driver), str(tmp_path)))
    text = tiny.recipe(steps=12, every=4) + "Experiment.regularizers = [@ACAI()]\n"
    study.write(Plan("study", "study.gin", (Run("x-s3", "x", ("ACAI.weight=0.1",), 3),), ()), {"x": text})
    steps = Checkpoints(RunDir(study.run("x-s3")).checkpoints, "").steps
    worker = Worker(study.path, "x-s3", 1, ["--device", "cpu"])
    with ThreadPoolExecutor() as pool:
        future = pool.submit(worker)
        try:
            until(lambda: (tmp_path / "at").exists() or future.done())
            assert steps() == [4, 8] and (tmp_path / "killed").exists()
        finally:
            worker.stop()
            (tmp_path / "go").touch()
        outcome = future.result(LIMIT)
    assert (outcome.state, outcome.retries, steps()[-1]) == (State.STOPPED, 1, 9)
    with open_session(study.run("x-s3"), say=pytest.fail) as session:
        session.train([], lambda: False)

    config = read_recipe(str(study.recipe("x")), ["ACAI.weight=0.1", "Experiment.seed=3"])
    with open_session(tmp_path / "straight", config=config, say=pytest.fail) as session:
        session.train([], lambda: False)
    assert same(made(study.run("x-s3")), made(tmp_path / "straight"))
