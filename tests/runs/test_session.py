from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from acaikit.artifacts import lock, metrics
from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.lock import Held, RunLock
from acaikit.artifacts.metrics import read_metrics
from acaikit.artifacts.rundir import RunDir
from acaikit.config import Config
from acaikit.divergence import Diverged
from acaikit.engine import Trainer
from acaikit.errors import RunError, UserError
from acaikit.runs import evaluation, saving, training
from acaikit.runs import session as opening
from acaikit.runs.opened import open_run
from acaikit.runs.provenance import check_data
from acaikit.runs.session import Session, State, check, in_turn, open_session

Recipe = Callable[..., Config]
Train = Callable[..., Session]
Bits = Callable[[Path], dict[str, Any]]


def steps_of(path: Path) -> list[int]:
    return Checkpoints(RunDir(path).checkpoints, "").steps()


def test_a_new_run(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    path, config = tmp_path / "deep" / "run", recipe("acai", "Experiment.seed = 3")
    with open_session(path, config=config, overrides=["Experiment.seed = 3"], say=pytest.fail) as session:
        assert session.state is State.NEW
        assert (session.trainer.steps, session.trainer.budget) == (0, 72)
        session.train([], lambda: False)
        assert session.trainer.finished
    info = RunDir(path).read_run()
    assert info["resolved"] == config.resolved
    assert (info["seed"], info["overrides"]) == (3, ["Experiment.seed = 3"])
    table = read_metrics(RunDir(path).metrics)
    assert table["step"].tolist() == [4, 8, 12]
    assert table["samples"].tolist() == [24, 48, 72]
    assert {"loss/reconstruction", "loss/ACAI", "loss/ACAI/critic", "loss/probe"} < set(table)
    assert {"factor/mean_distance", "probe/accuracy", "reconstruction/mse", "health/latent_scale"} < set(table)
    assert steps_of(path) == [4, 8, 12]

    before = {file: file.stat().st_mtime_ns for file in path.rglob("*") if file.name != ".lock"}
    assert train(path, config).state is State.FINISHED
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*") if file.name != ".lock"} == before


@pytest.mark.parametrize("model", ["baseline", "dropout", "denoising", "vae", "aae", "vqvae", "acai"])
def test_a_run_stopped_twice_ends_in_the_same_bits(
    model: str, tmp_path: Path, recipe: Recipe, train: Train, bits: Bits
) -> None:
    train(tmp_path / "straight", recipe(model))
    # Neither stop falls on an evaluation: the sums of losses since the last one go on too.
    assert train(tmp_path / "halting", recipe(model), steps=3).trainer.steps == 3
    session = train(tmp_path / "halting", steps=6)
    assert (session.state, session.trainer.steps) == (State.UNFINISHED, 9)
    train(tmp_path / "halting", recipe(model))
    assert bits(tmp_path / "halting") == bits(tmp_path / "straight")


def test_a_run_goes_on_and_is_measured_only_with_the_examples_that_it_began_with(
    tmp_path: Path, recipe: Recipe, train: Train
) -> None:
    file, path = tmp_path / "x.npz", tmp_path / "run"

    def write(train_seed: int, test_seed: int) -> None:
        pixels = [np.random.default_rng(s).integers(0, 256, (40, 1, 8, 8), np.uint8) for s in (train_seed, test_seed)]
        y = np.arange(40) % 2
        np.savez(file, x=pixels[0], y=y, x_test=pixels[1], y_test=y)

    write(0, 1)
    data = [
        f"Arrays.path = {str(file)!r}",
        "Experiment.dataset = @Arrays()",
        "Experiment.evaluators = [@ProbeAccuracy()]",
    ]
    config = recipe("baseline", *data)
    train(path, config, steps=4)
    write(0, 1)  # the same examples in a new file
    train(path, config, steps=2)
    run = open_run(path)
    check_data(run.path, run.info, run.experiment.dataset)
    evaluation.measure(run, run.experiment.evaluators[0], evaluation.destination(path, None), pytest.fail)
    for seeds, changed in (((0, 2), "test"), ((3, 1), "train"), ((3, 2), "train and test")):
        write(*seeds)
        with pytest.raises(RunError, match=f"was begun with other {changed} examples than Arrays has now"):
            train(path, config, steps=4)
        with pytest.raises(RunError, match=f"was begun with other {changed} examples than Arrays has now"):
            check_data(path, open_run(path).info, open_run(path).experiment.dataset)


def test_a_longer_budget_continues_the_same_run(tmp_path: Path, recipe: Recipe, train: Train, bits: Bits) -> None:
    train(tmp_path / "straight", recipe("acai", "Experiment.samples = 120"))
    train(tmp_path / "extended", recipe("acai"))
    with open_session(tmp_path / "extended", say=pytest.fail) as session:
        session.extend(120)
    with open_session(tmp_path / "extended", say=pytest.fail) as session:
        assert (session.state, session.trainer.budget) == (State.UNFINISHED, 120)
        session.train([], lambda: False)
    assert bits(tmp_path / "extended") == bits(tmp_path / "straight")


def test_a_budget_can_only_grow(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    train(tmp_path / "run", recipe())
    with open_session(tmp_path / "run", say=pytest.fail) as session:
        with pytest.raises(RunError, match="has a budget of 72 samples already"):
            session.extend(71)
        session.extend(72)
        assert (session.state, session.trainer.budget) == (State.FINISHED, 72)
        session.extend(73)
        assert (session.state, session.trainer.budget) == (State.UNFINISHED, 73)


def test_another_experiment_is_refused(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    path = tmp_path / "run"
    train(path, recipe("acai"), steps=1)
    other = recipe("acai", "ACAI.weight = 0.25", "Lines.test_size = 14")
    for attempt in (lambda: check(path, other), lambda: train(path, other)):
        with pytest.raises(RunError, match="holds another experiment") as caught:
            attempt()
        said = str(caught.value)
        assert "ACAI.weight: 0.5 -> 0.25" in said
        assert "Lines.test_size: 12 -> 14" in said
        assert f"acaikit resume {path}" in said
    check(path, recipe("acai"))
    check(path, None)


def test_a_folder_of_something_else_is_refused(tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").touch()
    (tmp_path / "file").touch()
    for path in (tmp_path / "photos", tmp_path / "file"):
        with (
            pytest.raises(RunError, match="exists and is no run"),
            open_session(path, config=recipe(), say=pytest.fail),
        ):
            pass
    assert [file.name for file in (tmp_path / "photos").iterdir()] == ["cat.png"]


def test_only_a_run_can_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no run"), open_session(tmp_path / "none", say=pytest.fail):
        pass
    assert not (tmp_path / "none").exists()


def test_a_run_has_one_process(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    path = tmp_path / "run"
    train(path, recipe(), steps=1)
    with RunLock(RunDir(path).lock_file), pytest.raises(RunError, match=rf"is being trained by process {os.getpid()} "):
        train(path)
    assert train(path).trainer.finished


@pytest.mark.parametrize("broken", ["write", "fsync", "replace"])
def test_a_full_disk_costs_no_more_than_the_last_steps(
    broken: str, tmp_path: Path, recipe: Recipe, train: Train, bits: Bits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    train(tmp_path / "straight", recipe())
    path = tmp_path / "full"
    train(path, recipe(), steps=5)
    lines: list[str] = []
    with open_session(path, say=lines.append) as session, monkeypatch.context() as patch:
        patch.setattr(*((Path, "replace") if broken == "replace" else (os, broken)), full)
        session.train([], lambda: session.trainer.steps == 9)
    assert [line.split(" (")[0] for line in lines] == ["the metrics of step 8 could not be saved"]
    assert all("No space left on device" in line for line in lines)
    assert not session.saved
    assert steps_of(path) == [4, 5]
    assert not list(path.rglob("*.tmp"))
    train(path)
    assert bits(path) == bits(tmp_path / "straight")


def test_no_space_for_the_first_checkpoint(
    tmp_path: Path, recipe: Recipe, train: Train, bits: Bits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    train(tmp_path / "straight", recipe())
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", full)
        train(tmp_path / "full", recipe(), steps=5, say=lambda _: None)
    assert train(tmp_path / "full").state is State.NEW
    assert bits(tmp_path / "full") == bits(tmp_path / "straight")


def spoil(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(("spoiled", "resumed_from"), [([9], 8), ([8, 9], 4)])
def test_damaged_checkpoints_are_passed_over(
    spoiled: list[int], resumed_from: int, tmp_path: Path, recipe: Recipe, train: Train, bits: Bits
) -> None:
    train(tmp_path / "straight", recipe("vqvae"))
    path = tmp_path / "damaged"
    train(path, recipe("vqvae"), steps=9)
    for step in spoiled:
        spoil(RunDir(path).checkpoints / f"step-{step:09d}.h5")
    lines: list[str] = []
    with open_session(path, say=lines.append) as session:
        assert session.trainer.steps == resumed_from
        assert session.state is State.UNFINISHED
        session.train([], lambda: False)
    assert [line.split(":")[0] for line in lines] == [
        f"checkpoint of step {step} passed over" for step in spoiled[::-1]
    ]
    assert len(list(RunDir(path).quarantine.iterdir())) == len(spoiled)
    assert bits(path) == bits(tmp_path / "straight")


def test_a_run_without_a_readable_checkpoint_is_left_alone(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    path = tmp_path / "damaged"
    train(path, recipe(), steps=9)
    rows = read_metrics(RunDir(path).metrics)["step"].tolist()
    for step in (4, 8, 9):
        spoil(RunDir(path).checkpoints / f"step-{step:09d}.h5")
    for _ in range(2):
        with pytest.raises(RunError, match="no checkpoint left that can be read"):
            train(path, say=lambda _: None)
    assert read_metrics(RunDir(path).metrics)["step"].tolist() == rows


def test_a_default_written_out_is_the_same_experiment(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    path = tmp_path / "run"
    train(path, recipe(), steps=1)
    check(path, recipe("acai", "Experiment.seed = 0", "ACAI.gamma = 0.2"))
    with pytest.raises(RunError, match=r"Experiment.seed: 0 -> 1"):
        check(path, recipe("acai", "Experiment.seed = 1"))


class Watcher:
    """Notes which checkpoints there are after each step, and fails at one."""

    def __init__(self, path: Path, fail_at: int = -1) -> None:
        self.path, self.fail_at = path, fail_at
        self.seen: list[list[int]] = []

    def on_step(self, trainer: Trainer, losses: dict[str, torch.Tensor]) -> None:
        self.seen.append(steps_of(self.path))
        if trainer.steps == self.fail_at:
            raise KeyboardInterrupt

    def on_row(self, *_: object) -> None:
        pass


def test_nothing_is_saved_after_an_exception(tmp_path: Path, recipe: Recipe, train: Train, bits: Bits) -> None:
    train(tmp_path / "straight", recipe())
    path = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        train(path, recipe(), callbacks=[Watcher(path, fail_at=7)])
    assert steps_of(path) == [4]
    train(path)
    assert bits(path) == bits(tmp_path / "straight")


@pytest.mark.parametrize(
    ("every", "expected"), [(600.0, [[], [], []]), (1.5, [[], [], [2]]), (-1.0, [[0], [0, 1], [0, 1, 2]])]
)
def test_a_checkpoint_is_saved_after_a_long_time(
    every: float,
    expected: list[list[int]],
    tmp_path: Path,
    recipe: Recipe,
    train: Train,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Seconds:
        """A clock by which each step takes a second."""

        def monotonic(self) -> float:
            return float(len(watcher.seen))

    watcher = Watcher(tmp_path / "run")
    monkeypatch.setattr(saving, "time", Seconds())
    monkeypatch.setattr(saving, "SAVE_EVERY", every)
    train(tmp_path / "run", recipe(), steps=3, callbacks=[watcher])
    assert watcher.seen == expected


def test_other_conditions_are_said(
    tmp_path: Path, recipe: Recipe, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "run", recipe(), steps=1)
    now = {**training.fingerprint(torch.device("cpu")), "threads": 7}
    monkeypatch.setattr(training, "fingerprint", lambda *given: now)
    lines: list[str] = []
    train(tmp_path / "run", say=lines.append)
    assert lines == [
        "this run was trained under other conditions, so its bits may differ from here on:",
        "threads 1 -> 7: sums are split differently; --threads 1 gives the same bits",
    ]


TEMPORARY = ".{}.123.0123456789abcdef.tmp"


def test_what_a_killed_process_left_is_removed(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    path = tmp_path / "run"
    train(path, recipe(), steps=5)
    left = [path / TEMPORARY.format("run.h5")]
    left += [folder / TEMPORARY.format("a.h5") for folder in (RunDir(path).checkpoints, RunDir(path).metrics)]
    for file in left:
        file.touch()
    # Nobody has a lock for these: what a process that still runs writes there stays.
    living = TEMPORARY.format("a.h5").replace(".123.", f".{os.getpid()}.")
    dead, elsewhere = (TEMPORARY.format(f"{n}.h5").replace(".123.", f".{2**31 - 1}.") for n in "bc")
    RunDir(path).eval.mkdir()
    for name in (living, dead, elsewhere):
        (RunDir(path).eval / name).touch()
    for name in (living, dead):
        os.utime(RunDir(path).eval / name, (0, time.time() - 90_000))
    train(path)
    assert not any(file.exists() for file in left)
    # A process that isn't known may be one of another host.
    assert {file.name for file in RunDir(path).eval.iterdir()} == {living, elsewhere}


def test_a_process_killed_before_the_run_was_written_leaves_no_obstacle(
    tmp_path: Path, recipe: Recipe, train: Train
) -> None:
    path = tmp_path / "run"
    path.mkdir()
    for name in (".lock", ".holder", TEMPORARY.format("run.h5")):
        (path / name).touch()
    assert train(path, recipe()).trainer.finished
    assert not (path / TEMPORARY.format("run.h5")).exists()


def test_a_checkpoint_that_does_not_fit(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    session = train(tmp_path / "run", recipe(), steps=1)
    state = session.trainer.state_dict()
    del state["model"]["encoder.layers.0.weight"]
    session.checkpoints.save(2, state)
    lines: list[str] = []
    assert train(tmp_path / "run", say=lines.append, steps=0).trainer.steps == 1
    assert lines[0].startswith("checkpoint of step 2 passed over: the checkpoint doesn't fit the experiment")
    # Where none fits it is no file's fault.
    session.checkpoints.save(1, state)
    session.checkpoints.save(2, state)
    with pytest.raises(UserError, match="no checkpoint of the model that its config describes"):
        train(tmp_path / "run")
    assert steps_of(tmp_path / "run") == [1, 2]


CHEAP = ("baseline", "Experiment.evaluators = []")


def test_a_damaged_run_file_is_said_with_what_is_still_there(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    path = tmp_path / "run"
    train(path, recipe(*CHEAP), steps=5)
    for harm, said in ((spoil, "run.h5 is broken"), (Path.unlink, "holds no run: there is no run.h5 in it")):
        harm(RunDir(path).run_file)
        for config in (None, recipe(*CHEAP)):
            with pytest.raises(RunError) as caught:
                train(path, config)
            assert f"{said}" in str(caught.value) and "put a copy of it back" in str(caught.value)
            left = (
                "2 checkpoints (the newest of step 5), 1 file of metrics, 0 files of evaluations, 0 files of pictures"
            )
            assert str(caught.value).endswith(left)


def test_damaged_metrics_cost_their_rows_and_not_the_training(
    tmp_path: Path, recipe: Recipe, train: Train, bits: Bits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "SEAL_ROWS", 1)
    path = tmp_path / "run"
    train(path, recipe(*CHEAP), steps=9)
    spoil(RunDir(path).metrics / "part-000001.h5")
    lines: list[str] = []
    assert train(path, say=lines.append).trainer.finished
    assert len(lines) == 2
    assert "part-000001.h5" in lines[0] and "the rows of the part before it are kept" in lines[0]
    assert lines[1] == "metrics: 1 of the rows up to step 9 are missing, and stay so"
    assert read_metrics(RunDir(path).metrics)["step"].tolist() == [4, 12]
    assert [file.name for file in RunDir(path).quarantine.iterdir()] == ["part-000001.h5"]


def failing(real: Callable[..., Any], error: Exception, times: int) -> Callable[..., Any]:
    """Fail the first times, then do it."""
    left = [error] * times

    def call(*args: object, **more: object) -> Any:
        if left:
            raise left.pop()
        return real(*args, **more)

    return call


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError()])
def test_a_failure_is_said_once_and_its_end_too_and_no_row_is_lost(
    error: Exception, tmp_path: Path, recipe: Recipe, train: Train, bits: Bits, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "straight", recipe(*CHEAP))
    lines: list[str] = []
    with monkeypatch.context() as patch:
        for kind, method in ((Checkpoints, "save"), (metrics.Metrics, "append")):
            patch.setattr(kind, method, failing(getattr(kind, method), error, 2))
        session = train(tmp_path / "run", recipe(*CHEAP), say=lines.append)
    assert session.saved
    assert [re.sub(r" \(.*", "", line) for line in lines] == [
        "the metrics of step 4 could not be saved",
        "the metrics of step 4 could be saved again, after it had failed 2 times",
        "the checkpoint of step 8 could not be saved",
        "the checkpoint of step 12 could be saved again, after it had failed 2 times",
    ]
    assert bits(tmp_path / "run") == bits(tmp_path / "straight")


def test_a_run_can_stop_where_it_can_not_save(tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    error = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(Checkpoints, "save", failing(Checkpoints.save, error, 1))
    path, lines = tmp_path / "run", []
    with open_session(path, config=recipe(*CHEAP), say=lines.append, stop_unsaved=True) as session:
        session.train([], lambda: False)
    assert (session.trainer.steps, session.given_up, session.saved) == (4, True, True)
    assert steps_of(path) == [4]


def test_saving_that_costs_too_much_is_left_out_at_rows(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [0.0]
    monkeypatch.setattr(saving, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    save = Checkpoints.save

    def slow(*args: Any) -> None:
        seconds[0] += 2
        save(*args)

    monkeypatch.setattr(Checkpoints, "save", slow)
    watcher = Watcher(tmp_path / "run")
    # From the second row on 2 s of saving must be 2 % of the time.
    watcher.on_row = lambda trainer, *_: seconds.__setitem__(0, 50.0 if trainer.steps == 4 else 100.0)
    with open_session(tmp_path / "run", config=recipe(*CHEAP, "Experiment.samples = 90"), say=pytest.fail) as session:
        session.train([watcher], lambda: False)
    assert [max(steps, default=0) for steps in watcher.seen] == [0] * 4 + [4] * 8 + [12] * 3
    assert steps_of(tmp_path / "run") == [4, 12, 15]


def test_a_save_can_be_asked_for(tmp_path: Path, recipe: Recipe) -> None:
    lines: list[str] = []
    watcher = Watcher(tmp_path / "run")
    with open_session(tmp_path / "run", config=recipe(*CHEAP), say=lines.append) as session:
        session.save_soon()
        session.train([watcher], lambda: session.trainer.steps == 2)
    assert watcher.seen == [[0], [0]]
    assert lines == ["saved on request at step 0, 0 of 72 samples"]


def test_the_log_tells_the_runs_story(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    path = tmp_path / "run"
    for steps in (5, 0, 3, None, None):
        train(path, recipe(*CHEAP), steps=steps)
    said = [line.partition(" ")[2] for line in RunDir(path).log_file.read_text().splitlines()]
    assert [line for line in said if not line.startswith("warning")] == [
        "begun at step 0, 0 of 72 samples on cpu, on-nan stop, precision float32",
        "stopped at step 5, 30 of 72 samples, saved",
        "continued at step 5, 30 of 72 samples on cpu, on-nan stop, precision float32",
        "stopped at step 5, 30 of 72 samples, saved",
        "continued at step 5, 30 of 72 samples on cpu, on-nan stop, precision float32",
        "stopped at step 8, 48 of 72 samples, saved",
        "continued at step 8, 48 of 72 samples on cpu, on-nan stop, precision float32",
        "finished at step 12, 72 of 72 samples, saved",
    ]


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the weights become NaN in the steps that are named, as often as is said."""

    def set_up(at: int, times: int = 100) -> None:
        step, left = Trainer.step, [None] * times

        def poisoned(trainer: Trainer) -> dict[str, torch.Tensor]:
            if trainer.steps + 1 == at and left:
                left.pop()
                next(iter(trainer.model.parameters())).data.fill_(float("nan"))
            return step(trainer)

        monkeypatch.setattr(Trainer, "step", poisoned)

    return set_up


def test_divergence_leaves_the_last_good_checkpoint(
    tmp_path: Path, recipe: Recipe, train: Train, bits: Bits, poison: Callable[..., None]
) -> None:
    train(tmp_path / "straight", recipe(*CHEAP))
    poison(7, times=1)
    path = tmp_path / "run"
    with pytest.raises(Diverged) as caught:
        train(path, recipe(*CHEAP))
    assert caught.value.step == 7
    assert steps_of(path) == [4]
    assert "diverged: training diverged in step 7" in RunDir(path).log_file.read_text()
    train(path)
    assert bits(path) == bits(tmp_path / "straight")


@pytest.mark.parametrize("at", [6, 8, 12])
def test_weights_that_diverge_are_never_saved(
    at: int, tmp_path: Path, recipe: Recipe, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at a stop, nor at a row or the scheduled end."""
    step = Trainer.step

    def poisoned(trainer: Trainer) -> dict[str, Tensor]:
        losses = step(trainer)
        if trainer.steps == at:
            next(iter(trainer.model.parameters())).data.fill_(float("inf"))
        return losses

    monkeypatch.setattr(Trainer, "step", poisoned)
    config = recipe(*CHEAP)
    with pytest.raises(Diverged):
        train(tmp_path / "run", config, steps=at)
    assert steps_of(tmp_path / "run") == list(range(4, at, 4))
    assert open_run(tmp_path / "run").finished is False


@pytest.mark.parametrize("at", [3, 7])
def test_rewinding_goes_on_with_other_draws(
    at: int, tmp_path: Path, recipe: Recipe, train: Train, bits: Bits, poison: Callable[..., None]
) -> None:
    """From the newest checkpoint, or from the start where there is none; and such a run resumes bit for bit."""
    train(tmp_path / "straight", recipe(*CHEAP))
    for name, halt in (("whole", 99), ("halting", 10)):
        poison(at, times=2)
        path, lines = tmp_path / name, []
        with open_session(path, config=recipe(*CHEAP), say=lines.append, on_nan="rewind") as session:
            session.train([], lambda session=session, halt=halt: session.trainer.steps >= halt)
        back = at // 4 * 4
        assert [line.rpartition("; ")[2] for line in lines] == [
            f"going back to step {back}, and on from there with other draws"
        ] * 2
        assert session.trainer.rewinds == 2
    assert train(tmp_path / "halting").trainer.on_nan == "rewind"
    assert bits(tmp_path / "whole") == bits(tmp_path / "halting")
    assert bits(tmp_path / "whole") != bits(tmp_path / "straight")
    assert read_metrics(RunDir(path).metrics)["step"].tolist() == [4, 8, 12]


def test_rewinding_keeps_the_precision_that_was_asked_for(
    tmp_path: Path, recipe: Recipe, train: Train, poison: Callable[..., None]
) -> None:
    train(tmp_path / "run", recipe(*CHEAP), steps=4)
    poison(6, times=1)
    lines: list[str] = []
    with open_session(tmp_path / "run", say=lines.append, on_nan="rewind", precision="bf16") as session:
        session.train([], lambda: session.trainer.steps >= 7)
    assert lines[-1].endswith("going back to step 4, and on from there with other draws")
    assert session.trainer.precision == "bf16"


@pytest.mark.parametrize(("asked", "kept"), [("bf16", "bf16"), (None, "tf32")])
def test_a_run_without_a_checkpoint_goes_on_in_the_precision_in_which_it_began(
    tmp_path: Path, recipe: Recipe, asked: str | None, kept: str
) -> None:
    with open_session(tmp_path / "run", config=recipe(*CHEAP), precision=asked):
        pass
    with open_session(tmp_path / "run") as session:
        assert session.trainer.precision == kept


def test_a_run_killed_before_it_had_a_folder_of_checkpoints(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    with open_session(tmp_path / "run", config=recipe(*CHEAP)):
        pass
    (tmp_path / "run/checkpoints").rmdir()
    train(tmp_path / "run", steps=4)
    assert steps_of(tmp_path / "run") == [4]


def test_rewinding_gives_up(tmp_path: Path, recipe: Recipe, poison: Callable[..., None]) -> None:
    poison(7)
    lines: list[str] = []
    with (
        pytest.raises(Diverged),
        open_session(tmp_path / "run", config=recipe(*CHEAP), say=lines.append, on_nan="rewind") as session,
    ):
        session.train([], lambda: False)
    assert len(lines) == training.REWINDS
    assert steps_of(tmp_path / "run") == [4]


def test_a_run_that_another_process_began_meanwhile_is_looked_at_again(
    tmp_path: Path, recipe: Recipe, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the first look and the lock the data are got, which may take minutes."""
    path, prepare = tmp_path / "run", [lambda: train(path, recipe(*CHEAP), steps=1)]

    def trainer(*args: Any) -> Trainer:
        if prepare:
            prepare.pop()()
        return Trainer(*args)

    monkeypatch.setattr(opening, "Trainer", trainer)
    with pytest.raises(RunError, match=r"another experiment(.|\n)*Experiment.seed: 0 -> 2"):
        train(path, recipe(*CHEAP, "Experiment.seed = 2"))
    assert not prepare and steps_of(path) == [1]
    other = tmp_path / "other"
    train(other, recipe(*CHEAP, "Experiment.seed = 3"), steps=1)
    prepare.append(lambda: [path.rename(tmp_path / "away"), other.rename(path)])
    with pytest.raises(RunError, match="another experiment"):  # the config was that of the run that was there before
        train(path)


def test_who_waits_his_turn_finds_what_was_done_meanwhile(
    tmp_path: Path, recipe: Recipe, train: Train, bits: Bits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice: another process comes first where the lock is free for a moment."""
    path, config, others, told = tmp_path / "run", recipe(*CHEAP), ExitStack(), []
    looks = iter(range(9))

    def sleep(seconds: float) -> None:
        if next(looks) in (1, 3):
            others.close()

    def opened() -> AbstractContextManager[Session]:
        if not path.joinpath("run.h5").exists():
            other = others.enter_context(open_session(path, config=config))
            other.train([], lambda: other.trainer.steps == 2)
        return open_session(path, config=config, say=pytest.fail)

    monkeypatch.setattr(lock.time, "sleep", sleep)
    others.enter_context(RunLock(RunDir(path).lock_file))
    with in_turn(path, config, opened, told.append) as session:
        assert (session.state, session.trainer.steps) == (State.UNFINISHED, 2)
        session.train([], lambda: False)
    assert [line.split(" (")[0] for line in told] == [
        f"{path} is being trained by process {os.getpid()} on {socket.gethostname()}"
    ]
    assert told[0].endswith("; waiting for it to end") and next(looks) == 4
    train(tmp_path / "straight", config)
    assert bits(path) == bits(tmp_path / "straight")
    with in_turn(path, None, lambda: open_session(path), pytest.fail) as session:
        assert session.state is State.FINISHED


def test_what_fails_in_ones_turn_is_not_tried_again(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    path = tmp_path / "run"
    with pytest.raises(RunError, match="holds no run"), in_turn(path, None, lambda: open_session(path)):
        pass
    with pytest.raises(ZeroDivisionError), in_turn(path, recipe(*CHEAP), lambda: 1 / 0):  # the data can't be had
        pass
    assert not path.exists()
    train(path, recipe(*CHEAP), steps=1)
    with pytest.raises(Held), in_turn(path, None, lambda: open_session(path)):
        raise Held(path, None)
    with RunLock(RunDir(path).lock_file), pytest.raises(RunError, match="another experiment"):
        in_turn(path, recipe(*CHEAP, "Experiment.seed = 2"), pytest.fail, pytest.fail).__enter__()


@pytest.mark.parametrize("name", ["checkpoints", "metrics", "eval", "figures", "quarantine"])
def test_a_folder_that_is_a_link_is_refused_and_what_it_leads_to_left_alone(
    name: str, tmp_path: Path, recipe: Recipe, train: Train
) -> None:
    path, mine = tmp_path / "run", tmp_path / "mine"
    train(path, recipe(*CHEAP), steps=5)
    train(mine, recipe(*CHEAP), steps=5)
    (path / name).rename(tmp_path / "kept") if (path / name).exists() else None
    (mine / name).mkdir(exist_ok=True)
    (mine / name / TEMPORARY.format("a.h5")).touch()
    before = sorted((file, file.stat().st_mtime_ns) for file in mine.rglob("*"))
    (path / name).symlink_to(mine / name)
    for attempt in (lambda: train(path), lambda: train(path, recipe(*CHEAP)), lambda: open_run(path)):
        with pytest.raises(RunError, match=rf"{name} is a symbolic link"):
            attempt()
    assert sorted((file, file.stat().st_mtime_ns) for file in mine.rglob("*")) == before


def test_a_run_directory_may_be_a_link(tmp_path: Path, recipe: Recipe, train: Train, bits: Bits) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    train(tmp_path / "run", recipe(*CHEAP), steps=5)
    assert train(tmp_path / "run").trainer.finished
    assert steps_of(tmp_path / "disk") == [5, 8, 12]


def test_a_checkpoint_of_another_run_is_passed_over_and_not_moved(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    path, other = tmp_path / "run", tmp_path / "other"
    train(path, recipe(*CHEAP), steps=5)
    train(other, recipe(*CHEAP))
    foreign = RunDir(path).checkpoints / "step-000000012.h5"
    shutil.copy(RunDir(other).checkpoints / foreign.name, foreign)
    lines: list[str] = []
    assert train(path, steps=0, say=lines.append).trainer.steps == 5
    assert len(lines) == 1 and "belongs to run" in lines[0] and "moved" not in lines[0]
    assert foreign.exists() and not RunDir(path).quarantine.exists()
    for step in (4, 5):
        (RunDir(path).checkpoints / f"step-{step:09d}.h5").unlink()
    with pytest.raises(RunError, match="no checkpoint left that can be read"):
        train(path, say=lines.append)
    assert foreign.exists()


def test_lost_checkpoints_cost_no_metrics(tmp_path: Path, recipe: Recipe, train: Train, bits: Bits) -> None:
    path = tmp_path / "run"
    train(path, recipe(*CHEAP), steps=9)
    rows = (RunDir(path).metrics / "part-000000.h5").read_bytes()
    shutil.rmtree(RunDir(path).checkpoints)
    for _ in range(2):
        with pytest.raises(RunError, match="no checkpoint left that can be read") as caught:
            train(path)
    assert "acaikit run RECIPE --dir FOLDER" in str(caught.value)
    assert (RunDir(path).metrics / "part-000000.h5").read_bytes() == rows


def test_a_process_killed_between_its_first_row_and_its_first_checkpoint_loses_nothing(
    tmp_path: Path, recipe: Recipe, train: Train, bits: Bits
) -> None:
    train(tmp_path / "straight", recipe(*CHEAP))
    train(tmp_path / "run", recipe(*CHEAP), steps=4)
    (RunDir(tmp_path / "run").checkpoints / "step-000000004.h5").unlink()
    assert train(tmp_path / "run").state is State.NEW
    assert bits(tmp_path / "run") == bits(tmp_path / "straight")


def test_a_run_whose_checkpoints_could_never_be_saved_begins_anew_and_loses_no_row(
    tmp_path: Path, recipe: Recipe, train: Train, bits: Bits
) -> None:
    train(tmp_path / "straight", recipe(*CHEAP))
    run = RunDir(tmp_path / "run")
    train(run.path, recipe(*CHEAP), steps=9)
    for file in run.checkpoints.iterdir():
        file.unlink()
    rows, lines = (run.metrics / "part-000000.h5").read_bytes(), list[str]()
    assert train(run.path, say=lines.append).state is State.NEW
    assert lines == [f"no checkpoint was ever saved: begun anew; the 2 rows so far are in {run.quarantine}"]
    assert (run.quarantine / "part-000000.h5").read_bytes() == rows
    assert bits(run.path) == bits(tmp_path / "straight")


def test_older_checkpoints_that_are_damaged_are_not_kept_for_sound_ones(
    tmp_path: Path, recipe: Recipe, train: Train
) -> None:
    path = tmp_path / "run"
    train(path, recipe(*CHEAP), steps=9)
    spoil(RunDir(path).checkpoints / "step-000000004.h5")
    spoil(RunDir(path).checkpoints / "step-000000008.h5")
    lines: list[str] = []
    train(path, say=lines.append)
    assert [line.partition(":")[0] for line in lines] == [f"checkpoint of step {step} is of no use" for step in (4, 8)]
    assert len(list(RunDir(path).quarantine.iterdir())) == 2
    assert steps_of(path) == [9, 12]


@pytest.mark.parametrize(
    ("bindings", "measured"),
    [([], 2), (["Experiment.evaluate_every = 4"], 9), (["Experiment.evaluate_every = 20"], 2)],
    ids=["every fourth step", "each step", "out of step"],
)
def test_lost_metrics_are_said(
    bindings: list[str], measured: int, tmp_path: Path, recipe: Recipe, train: Train
) -> None:
    path = tmp_path / "run"
    train(path, recipe(*CHEAP, *bindings), steps=9)
    train(path, steps=0)  # none is missing
    assert len(read_metrics(RunDir(path).metrics)["step"]) == measured
    shutil.rmtree(RunDir(path).metrics)
    lines: list[str] = []
    train(path, steps=0, say=lines.append)
    assert lines == [f"metrics: {measured} of the rows up to step 9 are missing, and stay so"]


@pytest.mark.parametrize("how", ["moved", "replaced", "without run.h5"])
@pytest.mark.parametrize("at", [6, 12], ids=["before a row", "at the end"])
def test_a_run_that_is_no_longer_there_is_not_written_to(how: str, at: int, tmp_path: Path, recipe: Recipe) -> None:
    path, lines = tmp_path / "run", []
    watcher = Watcher(path)

    def lose(trainer: Trainer, *_: object) -> None:
        if trainer.steps != at:
            return
        if how == "without run.h5":
            RunDir(path).run_file.unlink()
        else:
            path.rename(tmp_path / "away")
        if how == "replaced":
            (path / "checkpoints").mkdir(parents=True)
            (path / "run.h5").touch()

    setattr(watcher, "on_step" if at == 6 else "on_row", lose)
    with open_session(path, config=recipe(*CHEAP), say=lines.append) as session:
        session.train([watcher], lambda: False)
    # At the end all had been saved, but where it is now isn't known.
    assert (session.trainer.steps, session.saved) == (8 if at == 6 else 12, False)
    assert session.given_up is (at == 6)
    assert len(lines) == 1 and "moved, removed or replaced" in lines[0]
    if how == "moved":
        assert not path.exists()
    if how == "replaced":
        assert sorted(file.name for file in path.rglob("*")) == ["checkpoints", "run.h5"]
    last = (path if how == "without run.h5" else tmp_path / "away") / "checkpoints"
    assert max(file.name for file in last.iterdir()) == f"step-{4 if at == 6 else 12:09d}.h5"
