from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.metrics import read_metrics
from acaikit.artifacts.rundir import RunDir
from acaikit.config import Config
from acaikit.data.base import Split
from acaikit.data.mnist import MNIST
from acaikit.data.prepared import Notes, Prepared
from acaikit.engine import Trainer
from acaikit.errors import RunError, UserError
from acaikit.runs import evaluation
from acaikit.runs import session as module
from acaikit.runs.opened import open_run
from acaikit.runs.provenance import check_data
from acaikit.runs.session import Session, State, check, open_session

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
    metrics = read_metrics(RunDir(path).metrics)
    assert metrics["step"].tolist() == [4, 8, 12]
    assert metrics["samples"].tolist() == [24, 48, 72]
    assert {"loss/reconstruction", "loss/ACAI", "loss/ACAI/critic", "loss/probe"} < set(metrics)
    assert {"factor/mean_distance", "probe/accuracy", "reconstruction/mse"} < set(metrics)
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


def test_an_epoch_goes_on_where_it_stopped(
    tmp_path: Path, recipe_file: Path, recipe: Recipe, train: Train, bits: Bits, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe_file.write_text(re.sub(r"(?m)^Lines.*\n", "", recipe_file.read_text()))
    digits = Split(
        torch.randint(0, 256, (20, 1, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8),
        torch.arange(20) % 10,
    )
    prepared = Prepared(tmp_path, {"train": digits, "test": digits}, Notes(""), {"train": "its hash"})
    monkeypatch.setattr(MNIST, "prepared", prepared)
    config = recipe("baseline", "Experiment.dataset = @MNIST()", "Experiment.evaluators = [@ProbeAccuracy()]")
    train(tmp_path / "straight", config)
    for _ in range(3):
        train(tmp_path / "halting", config, steps=4)
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
    hold = "import sys, filelock\nwith filelock.FileLock(sys.argv[1]):\n    print(flush=True)\n    sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(RunDir(path).lock_file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(RunError, match="is being trained by another process"):
            train(path)
        other.stdin.close()
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
    with monkeypatch.context() as patch:
        patch.setattr(*((Path, "replace") if broken == "replace" else (os, broken)), full)
        session = train(path, say=lines.append, steps=4)
    assert session.trainer.steps == 9
    assert [line.split(" could not be ")[0] for line in lines] == [
        "the metrics of step 8",
        "the checkpoint of step 8",
        "the checkpoint of step 9",
    ]
    assert all("No space left on device" in line for line in lines)
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
    ("every", "expected"), [(600.0, [[], [], []]), (1.5, [[], [], [3]]), (-1.0, [[1], [1, 2], [1, 2, 3]])]
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
    monkeypatch.setattr(module, "time", Seconds())
    monkeypatch.setattr(module, "SAVE_EVERY", every)
    train(tmp_path / "run", recipe(), steps=3, callbacks=[watcher])
    assert watcher.seen == expected


def test_other_conditions_are_said(
    tmp_path: Path, recipe: Recipe, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "run", recipe(), steps=1)
    now = {**module.fingerprint(torch.device("cpu")), "threads": 7}
    monkeypatch.setattr(module, "fingerprint", lambda _: now)
    lines: list[str] = []
    train(tmp_path / "run", say=lines.append)
    assert len(lines) == 1
    assert "threads 1 -> 7" in lines[0]


TEMPORARY = ".{}.123.0123456789abcdef.tmp"


def test_what_a_killed_process_left_is_removed(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    path = tmp_path / "run"
    train(path, recipe(), steps=5)
    left = [path / TEMPORARY.format("run.h5")]
    left += [folder / TEMPORARY.format("a.h5") for folder in (RunDir(path).checkpoints, RunDir(path).metrics)]
    for file in left:
        file.touch()
    train(path)
    assert not any(file.exists() for file in left)


def test_a_process_killed_before_the_run_was_written_leaves_no_obstacle(
    tmp_path: Path, recipe: Recipe, train: Train
) -> None:
    path = tmp_path / "run"
    path.mkdir()
    for name in (".lock", TEMPORARY.format("run.h5")):
        (path / name).touch()
    assert train(path, recipe()).trainer.finished
    assert not (path / TEMPORARY.format("run.h5")).exists()


def test_a_checkpoint_that_does_not_fit(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    session = train(tmp_path / "run", recipe(), steps=1)
    state = session.trainer.state_dict()
    del state["model"]["encoder.layers.0.weight"]
    session.checkpoints.save(2, state)
    with pytest.raises(UserError, match="doesn't fit the experiment"):
        train(tmp_path / "run")
