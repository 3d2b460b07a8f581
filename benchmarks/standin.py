"""Random images in place of a set that would have to be downloaded: a step takes as long on them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Generator

from acaikit.config import build, read_recipe
from acaikit.data import Dataset, Split, Stream
from acaikit.data.base import Shuffled
from acaikit.data.stored import Stored
from acaikit.experiment import Experiment
from acaikit.types import Shape

EXAMPLES = 20_000


class StandIn(Dataset):
    """Random uint8 pixels, and labels where there are classes."""

    def __init__(self, shape: Shape, classes: int | None) -> None:
        self.shape, self.classes = shape, classes

    def train(self, batch_size: int, generator: Generator, device: torch.device | str = "cpu") -> Stream:
        """Return shuffled batches."""
        return Shuffled(self.test(), batch_size, generator, device)

    def test(self) -> Split:
        """Return what is trained on, too."""
        draw = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (EXAMPLES, *self.shape), dtype=torch.uint8, generator=draw)
        labels = None if self.classes is None else torch.randint(self.classes, (EXAMPLES,), generator=draw)
        return Split(pixels, labels)


def experiment_of(recipe: str) -> Experiment:
    """Return a recipe's experiment, on a `StandIn` where its examples come from files."""
    experiment: Experiment = build(read_recipe(recipe))
    data = experiment.dataset
    return replace(experiment, dataset=StandIn(data.shape, data.classes)) if isinstance(data, Stored) else experiment
