"""ACAI written by hand in eager PyTorch, on batches drawn beforehand and without a probe."""

from __future__ import annotations

from collections.abc import Callable

import torch

from acaikit.experiment import Experiment
from benchmarks.by_hand import ByHand
from benchmarks.peers.batches import drawn


def program(experiment: Experiment, batches: int, threads: int) -> Callable[[], None]:
    """Return what trains on each of the batches."""
    by_hand = ByHand(experiment, "cpu", lean=True)
    images = [x.contiguous(memory_format=torch.channels_last) for x, _ in drawn(experiment, batches)]

    def train() -> None:
        for x in images:
            by_hand.step(x)

    return train
