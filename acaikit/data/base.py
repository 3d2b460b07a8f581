"""The abstract dataset: an endless, resumable stream of training batches and a fixed test split."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from acaikit.errors import DataError
from acaikit.rng import generator
from acaikit.types import Shape

DRAWN = 10_000
"""Training examples that are drawn where all are asked for, and there is no end to them."""

Batch = tuple[Tensor, Tensor | None]


def to_unit(pixels: Tensor) -> Tensor:
    """Return float32 2 v / 255 - 1 of uint8 pixels; floats are taken to be in [-1, 1] already."""
    return pixels.float().mul_(2 / 255).sub_(1) if pixels.dtype == torch.uint8 else pixels


def cross(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Return `tensor` on `device`, without waiting for a GPU to get there."""
    return tensor.to(device, non_blocking=tensor.device.type == "cpu")


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
        """Return the examples at `index` on `device`, float32 in [-1, 1].

        They cross to `device` as they are kept, so uint8 pixels become floats there.
        """
        if isinstance(index, slice):
            # A copy: what is done to a batch never reaches the set.
            return to_unit(self.data[index].to(device, copy=self.data.dtype != torch.uint8))
        # Half the time of self.data[index] on a CPU; no GPU is waited for.
        return to_unit(cross(self.data.index_select(0, cross(index, self.data.device)), device))

    def resident(self, device: torch.device | str) -> Split:
        """Return the split on `device` where that is a GPU with room for it (half of what is free), else itself."""
        device = torch.device(device)
        if device.type != "cuda" or self.data.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
            return self
        return Split(self.data.to(device), None if self.labels is None else self.labels.to(device))

    def batches(self, size: int, device: torch.device | str = "cpu") -> Iterator[Batch]:
        """Yield every example once, in order, as ``(x, y)`` of at most `size`."""
        for start in range(0, len(self), size):
            rows = slice(start, start + size)
            yield self.examples(rows, device), None if self.labels is None else self.labels[rows].to(device, copy=True)


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
    """Batches of a split, in a new random order each epoch; one batch may end an epoch and begin the next.

    Raises
    ------
    DataError
        If the split has fewer examples than a batch.
    """

    def __init__(self, split: Split, batch_size: int, generator: Generator, device: torch.device | str) -> None:
        if len(split) < batch_size:
            raise DataError(
                f"the training set has {len(split)} examples, fewer than a batch of {batch_size}: "
                f"lower Experiment.batch_size"
            )
        self.split, self.batch_size, self.generator, self.device = split.resident(device), batch_size, generator, device
        self._shuffle()

    def _shuffle(self) -> None:
        # What the order was drawn from is all that a checkpoint needs of it: the order itself is megabytes.
        self.drawn_from = self.generator.get_state()
        self.order, self.cursor = torch.randperm(len(self.split), generator=self.generator), 0

    def next(self) -> Batch:
        """Return the next batch, ``batch_size`` long."""
        pieces, missing = [], self.batch_size
        while missing:
            if self.cursor == len(self.order):
                self._shuffle()
            piece = self.order[self.cursor : self.cursor + missing]
            self.cursor += len(piece)
            missing -= len(piece)
            pieces.append(piece)
        index = torch.cat(pieces)
        labels = self.split.labels
        x = self.split.examples(index, self.device)
        return x, None if labels is None else cross(labels[cross(index, labels.device)], self.device)

    def state_dict(self) -> dict[str, Any]:
        """Return what the epoch's order was drawn from, the position in it, and the number of examples."""
        return {"drawn_from": self.drawn_from, "cursor": self.cursor, "examples": len(self.split)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a saved position."""
        if state["examples"] != len(self.split):
            raise DataError(
                f"the run was trained on {state['examples']} examples, but the set now has {len(self.split)}"
            )
        if type(state["cursor"]) is not int or not 0 <= state["cursor"] <= len(self.split):
            raise DataError(f"no position among {len(self.split)} examples is {state['cursor']!r}")
        now = self.generator.get_state()
        self.generator.set_state(state["drawn_from"])
        self._shuffle()
        self.generator.set_state(now)
        self.cursor = state["cursor"]


class Dataset(ABC):
    """A source of training batches and a test split.

    Constructing a dataset reads no file, so that a recipe can be checked without its data.

    Attributes
    ----------
    shape : tuple of int
        One example's shape: ``(C, H, W)`` for images, ``(C, L)`` for sequences, ``(D,)`` for vectors.
    classes : int or None
        Number of classes, or None where there are no labels.
    class_names : tuple of str
        What the classes are called; empty where they have no names but their numbers.
    picture : tuple of int or None
        The shape in which an example is to be drawn, where it is another than its own.
    counts : mapping of str to int
        The numbers of examples in its splits, or in its files, where they are known before they are read.
    source : str
        The page that describes the set, where there is one.
    licence : str
        What its authors say of its use.
    digests : mapping of str to str
        A hash of each split's examples and labels, by which a run tells whether they are still those it began with;
        empty where they are drawn, or come with acaikit or a library.
    """

    shape: Shape
    classes: int | None = None
    class_names: tuple[str, ...] = ()
    picture: Shape | None = None
    counts: ClassVar[Mapping[str, int]] = {}
    source: ClassVar[str] = ""
    licence: ClassVar[str] = ""
    digests: Mapping[str, str] = {}

    @property
    def state(self) -> str:
        """Where the examples are at present, in a few words: here in acaikit or a library, which need no files."""
        return "built in"

    def prepare(self) -> None:  # noqa: B027 (most datasets have nothing to prepare)
        """Get everything that training needs from the network and the disk, which may take minutes the first time."""

    @abstractmethod
    def train(self, batch_size: int, generator: Generator, device: torch.device | str = "cpu") -> Stream:
        """Return the training stream on `device`, whose order comes from `generator` (on the CPU)."""

    def training(self, limit: int | None = None) -> Split:
        """Return the first `limit` training examples, or all where there are fewer, in the set's own order.

        Where they are drawn on the fly, `limit` are drawn (left out: 10,000), always the same ones. A dataset whose
        stream is one of its own, but has an end, overrides this.
        """
        stream = self.train(1, generator(0, "training examples"))
        if isinstance(stream, Shuffled):
            found = stream.split
            return Split(found.data[:limit], None if found.labels is None else found.labels[:limit])
        examples, labels = zip(*(stream.next() for _ in range(limit or DRAWN)), strict=True)
        return Split(torch.cat(examples), None if labels[0] is None else torch.cat(labels))

    @abstractmethod
    def test(self) -> Split:
        """Return the test split, always the same one."""
