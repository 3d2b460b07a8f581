"""Real processes, killed and stopped: what they leave behind is always a run that ends in the same bits."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.rundir import RunDir
from acaikit.config import read_recipe
from acaikit.runs.session import Session

pytestmark = pytest.mark.slow

Train = Callable[..., Session]
Bits = Callable[[Path], dict[str, Any]]
Process = subprocess.Popen[str]


@pytest.fixture
def long_recipe(recipe_file: Path) -> Path:
    """300 steps, a checkpoint after every 10."""
    file = recipe_file.with_name("long.gin")
    bindings = [
        "Experiment.samples = 1800",
        "Experiment.evaluate_every = 60",
        "Experiment.regularizers = [@Denoising()]",
    ]
    file.write_text("\n".join([f"include '{recipe_file.name}'", *bindings, ""]))
    return file


def start(recipe: Path, path: Path) -> Process:
    command = [sys.executable, "-m", "acaikit", "run", str(recipe), "--dir", str(path), "--device", "cpu"]
    return subprocess.Popen(
        [*command, "--threads", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    )


def without_warnings(errors: str) -> str:
    """What was said beside warnings about so small a model's health."""
    return "".join(line for line in errors.splitlines(keepends=True) if not line.startswith("warning at step"))


def newest(path: Path) -> int:
    return max(Checkpoints(RunDir(path).checkpoints, "").steps(), default=0)


def written(path: Path) -> list[int]:
    """When the metrics were last written to."""
    return [file.stat().st_mtime_ns for file in RunDir(path).metrics.glob("*.h5")]


def ended(process: Process, within: float) -> bool:
    """Wait a little; say whether the process has ended."""
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        return False
    return True


def wait(process: Process, until: Callable[[], bool], longer: float = 0.0) -> None:
    while not until():
        assert not ended(process, 0.001), process.communicate()
    assert not ended(process, longer)


def test_a_run_killed_again_and_again_ends_in_the_same_bits(
    tmp_path: Path, long_recipe: Path, train: Train, bits: Bits
) -> None:
    path, moments = tmp_path / "killed", random.Random(0)
    for moment in ("folder", "checkpoint", "row"):
        process, reached = start(long_recipe, path), newest(path)
        if moment == "folder":  # as soon as the run's folder is there
            wait(process, path.exists)
        else:  # somewhere after a new checkpoint
            wait(process, lambda reached=reached: newest(path) > reached, moments.uniform(0, 0.05))
        if moment == "row":  # between a row and the checkpoint that follows it
            before = written(path)
            wait(process, lambda before=before: written(path) != before)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert 0 < newest(path) < 300
    train(path, read_recipe(str(long_recipe)))
    train(tmp_path / "straight", read_recipe(str(long_recipe)))
    assert bits(path) == bits(tmp_path / "straight")
    assert not list(path.rglob("*.tmp"))


def test_signals_stop_in_good_order(tmp_path: Path, long_recipe: Path, train: Train, bits: Bits) -> None:
    path, moments = tmp_path / "stopped", random.Random(0)
    process = start(long_recipe, path)
    process.stdout.readline()
    process.stdout.close()  # as head -1 does
    process.send_signal(signal.SIGUSR1)
    log = RunDir(path).log_file
    wait(process, lambda: log.exists() and "saved on request" in log.read_text())
    process.send_signal(signal.SIGHUP)
    _, errors = process.communicate()
    assert process.returncode == 129
    assert re.fullmatch(r"saved on request at step \d+, [\d,]+ of 1,800 samples\n", without_warnings(errors))
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process, reached = start(long_recipe, path), newest(path)
        wait(process, lambda reached=reached: newest(path) > reached, moments.uniform(0, 0.05))
        process.send_signal(number)
        said, errors = process.communicate()
        assert process.returncode == code
        assert f"stopped at {6 * newest(path):,} of 1,800 samples, saved" in said
        assert f"continue with: acaikit resume {path} --threads 1 --device cpu\n" in said
        assert without_warnings(errors) == ""
    assert train(path).trainer.finished
    train(tmp_path / "straight", read_recipe(str(long_recipe)))
    assert bits(path) == bits(tmp_path / "straight")
