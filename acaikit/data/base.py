"""The abstract dataset: an endless, resumable stream of training batches and a fixed test split."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from acaikit.errors import DataError
from acaikit.types import Shape

Batch = tuple[Tensor, Tensor | None]


def to_unit(pixels: Tensor) -> Tensor:
    """Return float32 2 v / 255 - 1 of uint8 pixels; floats are taken to be in [-1, 1] already."""
    return pixels.float().mul_(2 / 255).sub_(1) if pixels.dtype == torch.uint8 else pixels


@dataclass(frozen=True)
class Split:
    """A fixed set of examples.

    Attributes
    ----------
    data : Tensor
        ``[N, *shape]``, uint8 pixels or float32 in [-1, 1].
    labels : Tensor or None
        int64 ``[N]``.
    """

    data: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.data)

    def examples(self, index: Tensor | slice, device: torch.device | str = "cpu") -> Tensor:
        """Return the examples at `index` on `device`, float32 in [-1, 1]."""
        return to_unit(self.data[index].to(device))

    def batches(self, size: int, device: torch.device | str = "cpu") -> Iterator[Batch]:
        """Yield every example once, in order, as ``(x, y)`` of at most `size`."""
        for start in range(0, len(self), size):
            rows = slice(start, start + size)
            yield self.examples(rows, device), None if self.labels is None else self.labels[rows].to(device)


class Stream(ABC):
    """An endless stream of training batches whose position can be saved."""

    @abstractmethod
    def next(self) -> Batch:
        """Return the next ``(x, y)``: float32 ``[B, *shape]`` in [-1, 1], and int64 ``[B]`` or None."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return the position, apart from the generator's state."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a saved position."""


class Shuffled(Stream):
    """Batches of a split, in a new random order each epoch; one batch may end an epoch and begin the next."""

    def __init__(self, split: Split, batch_size: int, generator: Generator, device: torch.device | str) -> None:
        if len(split) < 1:
            raise DataError("the training set is empty")
        self.split, self.batch_size, self.generator, self.device = split, batch_size, generator, device
        self.order = self._shuffle()
        self.cursor = 0

    def _shuffle(self) -> Tensor:
        return torch.randperm(len(self.split), generator=self.generator)

    def next(self) -> Batch:
        """Return the next batch, ``batch_size`` long."""
        pieces, missing = [], self.batch_size
        while missing:
            if self.cursor == len(self.order):
                self.order, self.cursor = self._shuffle(), 0
            piece = self.order[self.cursor : self.cursor + missing]
            self.cursor += len(piece)
            missing -= len(piece)
            pieces.append(piece)
        index = torch.cat(pieces)
        labels = self.split.labels
        return self.split.examples(index, self.device), None if labels is None else labels[index].to(self.device)

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch's permutation and the position in it."""
        return {"order": self.order, "cursor": self.cursor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a saved position."""
        if len(state["order"]) != len(self.split):
            raise DataError(
                f"the run was trained on {len(state['order'])} examples, but the set now has {len(self.split)}"
            )
        self.order, self.cursor = state["order"], state["cursor"]


class Dataset(ABC):
    """A source of training batches and a test split.

    Constructing a dataset reads no file, so that a recipe can be checked without its data.

    Attributes
    ----------
    shape : tuple of int
        One example's shape, ``(C, H, W)`` for images.
    classes : int or None
        Number of classes, or None where there are no labels.
    """

    shape: Shape
    classes: int | None = None

    @abstractmethod
    def train(self, batch_size: int, generator: Generator, device: torch.device | str = "cpu") -> Stream:
        """Return the training stream on `device`, whose order comes from `generator` (on the CPU)."""

    @abstractmethod
    def test(self) -> Split:
        """Return the test split, always the same one."""
