"""Batches in memory, for programs that don't draw their own."""

from __future__ import annotations

from torch import Tensor

from acaikit.experiment import Experiment
from acaikit.rng import generator


def drawn(experiment: Experiment, count: int) -> list[tuple[Tensor, Tensor]]:
    """Return `count` batches ``(x, y)`` of the experiment's training stream: images in [-1, 1] and their labels."""
    stream = experiment.dataset.train(experiment.batch_size, generator(experiment.seed, "data"))
    pairs = [stream.next() for _ in range(count)]
    return [(x, y) for x, y in pairs if y is not None]
