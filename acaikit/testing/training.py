"""The rules that keep a training run repeatable, whichever part is checked by it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.engine import Trainer
from acaikit.testing.fixtures import STEPS
from acaikit.testing.rules import NotConforming
from acaikit.testing.side_effects import undrawn
from acaikit.testing.states import copied, difference

LOOK_FOR = "look for a division by zero, or a logarithm, a root or a norm of what may be 0"
MakeTrainer = Callable[[int], Trainer]
"""Makes a trainer with new parts, from a seed."""


def check_seeded(make: MakeTrainer, what: str, instead: str) -> None:
    """Train twice with torch's global generator in different states, and see that nothing drew from a global one.

    A message calls what is checked `what`, and says what to do `instead` of drawing there.
    """
    runs = []
    for global_seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(global_seed)
            trainer = make(0)
            with undrawn(what, instead):
                _steps(trainer)
        runs.append(trainer)
    _same_state(
        runs[0],
        runs[1],
        "two runs with one seed differ. Weights are drawn through reset_parameters(): a module with parameters or "
        "buffers of its own needs that method",
    )


def check_resumed(make: MakeTrainer) -> None:
    """Save, restore into a new trainer, continue, and compare with never having stopped, bit for bit."""
    straight = make(0)
    _steps(straight)
    with tempfile.TemporaryDirectory() as folder:
        files = Checkpoints(Path(folder), run_id="check")
        files.save(straight.steps, straight.state_dict())
        restored: Any = files.load(straight.steps)
    resumed = make(1)  # whatever is not restored keeps the wrong seed's value
    resumed.load_state_dict(restored)
    for trainer in (straight, resumed):
        _steps(trainer)
    _same_state(
        straight,
        resumed,
        "a restored run goes on differently: state belongs in parameters and in buffers (register_buffer)",
    )


def check_losses(make: MakeTrainer) -> None:
    """Train a few steps, and see that every loss is finite, and every gradient."""
    trainer = make(0)
    trainer.on_nan = "skip"  # which loss it is, and of what value, is said here
    for step in range(1, STEPS + 1):
        for name, loss in trainer.step().items():
            if not loss.isfinite():
                raise NotConforming(f"the loss {name!r} is {loss.item()} after {step} steps: {LOOK_FOR}")
        if trainer.skipped:
            raise NotConforming(f"a gradient is not finite after {step} steps: {LOOK_FOR}")


def _steps(trainer: Trainer) -> None:
    trainer.on_nan = "skip"  # that losses are finite is a rule of its own
    for _ in range(STEPS):
        trainer.step()


def _same_state(a: Trainer, b: Trainer, message: str) -> None:
    path = difference(copied(a.state_dict(), "state"), copied(b.state_dict(), "state"))
    if path is not None:
        raise NotConforming(f"{message} (first difference: {path})")
