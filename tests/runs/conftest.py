"""Runs so small that they take a moment: 8x8 lines, 12 steps of 6 samples, a row every 4 steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faults import tiny

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.metrics import read_metrics
from acaikit.artifacts.rundir import RunDir
from acaikit.config import Config, read_recipe
from acaikit.engine import Callback
from acaikit.runs.session import Session, open_session

RECIPE = tiny.recipe(steps=12, every=4) + "Experiment.learning_rate = 1e-2\n"


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.gin"
    file.write_text(RECIPE)
    return file


@pytest.fixture
def recipe(recipe_file: Path) -> Callable[..., Config]:
    """Read the recipe of a model, with further bindings above it."""

    def read(model: str = "acai", *bindings: str) -> Config:
        return read_recipe(str(recipe_file), [*tiny.MODELS[model], *bindings])

    return read


@pytest.fixture
def train() -> Callable[..., Session]:
    """Open a run, train some steps or to the end, and close it."""

    def train(
        path: Path,
        config: Config | None = None,
        steps: int | None = None,
        callbacks: Sequence[Callback] = (),
        say: Callable[[str], None] = pytest.fail,
    ) -> Session:
        asked = count()
        with open_session(path, config=config, say=say) as session:
            session.train(callbacks, lambda: steps is not None and next(asked) >= steps)
        return session

    return train


def flat(tree: Any, path: str = "") -> dict[str, Any]:
    match tree:
        case dict():
            items = list(tree.items())
        case list() | tuple():
            items = list(enumerate(tree))
        case torch.Tensor() | np.ndarray():
            array = np.ascontiguousarray(tree)
            return {path: (str(array.dtype), array.shape, array.tobytes())}
        case _:
            return {path: tree}
    return {k: v for key, value in items for k, v in flat(value, f"{path}/{key}").items()}


@pytest.fixture
def bits() -> Callable[[Path], dict[str, Any]]:
    """Return every bit that a run's training has made: its newest checkpoint whole, and its metrics."""

    def bits(path: Path) -> dict[str, Any]:
        directory = RunDir(path)
        checkpoints = Checkpoints(directory.checkpoints, directory.read_run()["run_id"])
        step, state = checkpoints.latest(report=pytest.fail)
        return flat({"step": step, "state": state, "metrics": read_metrics(directory.metrics)})

    return bits
