"""acaikit itself: the trainer's steps, with the data that it draws and the probe that it trains."""

from __future__ import annotations

from collections.abc import Callable

from acaikit.engine import Trainer
from acaikit.experiment import Experiment


def program(experiment: Experiment, batches: int, threads: int) -> Callable[[], None]:
    """Return what takes as many steps as there are batches."""
    trainer = Trainer(experiment)

    def train() -> None:
        for _ in range(batches):
            trainer.step()

    return train
