"""A run takes no more memory the longer it lasts: rows, signs of health, evaluations and checkpoints in between.

`python -m benchmarks.memory --growth` does the same over 100,000 steps.
"""

from __future__ import annotations

import gc
import mmap
import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from faults import tiny
from torch import Tensor

from acaikit.config import read_recipe
from acaikit.engine import Trainer
from acaikit.runs.session import Session, open_session
from acaikit.types import Scores

STEPS, EVERY, SETTLED = 160, 40, 40
"""A run's steps, those from row to row, and those before memory is looked at."""
BOUNDS = {"tensors": 0.05, "traced": 200, "resident": 16_384}
"""What is growth, in tensors and bytes per step: what the interpreter's free lists and the heap take on is less."""

Leak = Callable[[Trainer], None]


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def live_tensors() -> int:
    return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())


class Watched:
    """Leaks at every step, has a checkpoint saved with every row, and looks at the memory then."""

    def __init__(self, session: Session, leak: Leak) -> None:
        self.session, self.leak = session, leak
        self.seen = np.full((STEPS // EVERY, 1 + len(BOUNDS)), np.nan)  # made beforehand: looking takes no memory

    def on_step(self, trainer: Trainer, losses: dict[str, Tensor]) -> None:
        self.leak(trainer)

    def on_row(self, trainer: Trainer, losses: dict[str, float], scores: Scores) -> None:
        self.session.save()
        gc.collect()
        now = trainer.steps, live_tensors(), tracemalloc.get_traced_memory()[0], resident()
        self.seen[trainer.steps // EVERY - 1] = now

    def growing(self) -> set[str]:
        """Return what grows by more than its bound, by a straight line through what was seen."""
        step, *columns = self.seen[self.seen[:, 0] > SETTLED].T
        slopes = {name: np.polyfit(step, column, 1)[0] for name, column in zip(BOUNDS, columns, strict=True)}
        return {name for name, slope in slopes.items() if slope > BOUNDS[name]}


def nothing() -> Leak:
    return lambda trainer: None


def a_log_a_graph_and_pages() -> Leak:
    log: list[dict[str, float]] = []
    mean = torch.zeros((), requires_grad=True)
    pages: list[mmap.mmap] = []

    def leak(trainer: Trainer) -> None:
        nonlocal mean
        log.append({"reconstruction": trainer.samples / 7, "ACAI": trainer.samples / 3})
        mean = mean + (mean * torch.ones(4)).mean()  # as of losses that nobody detached
        pages.append(mmap.mmap(-1, 2**16))  # beside the heap, which may have room from before
        pages[-1].write(b"x" * 2**16)

    return leak


@pytest.fixture
def traced() -> Iterator[None]:
    gc.freeze()  # what is there already needn't be looked through at every row
    tracemalloc.start()
    yield
    tracemalloc.stop()
    gc.unfreeze()


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    ("leak", "grows"),
    [(nothing, set()), (a_log_a_graph_and_pages, set(BOUNDS))],
    ids=["nothing", "a log, a graph and pages"],
)
def test_what_a_step_keeps_is_all_that_grows(leak: Callable[[], Leak], grows: set[str], tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.gin"
    recipe.write_text(tiny.recipe(STEPS, EVERY))
    config = read_recipe(str(recipe), [*tiny.MODELS["vae+acai"], "ConvEncoder.depth = 1", "ConvDecoder.depth = 1"])
    with open_session(tmp_path / "run", config=config, say=pytest.fail) as session:
        watched = Watched(session, leak())
        session.train([watched], lambda: False)
    assert watched.growing() == grows
