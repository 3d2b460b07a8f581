"""Datasets drawn from one known factor: what lies between two of their examples is known too."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from acaikit import checks
from acaikit.captured import Captured, CudaGraphs, plain, recordable
from acaikit.data.base import DRAWN, Batch, Dataset, Split, Stream, cross
from acaikit.memory import check_memory
from acaikit.rng import generator
from acaikit.types import Shape

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Factor:
    """A number that examples are drawn from, in [low, high).

    Attributes
    ----------
    name : str
        What it is: "angle".
    low, high : float
        Its range, `low` below `high`.
    periodic : bool
        Whether `high` is `low` again; the period is `span`.
    unit : str
        The unit in which an error is told: "deg".
    scale : float
        How many of those units make 1: 180 / pi where values are radians and errors are told in degrees.
    """

    name: str
    low: float
    high: float
    periodic: bool
    unit: str
    scale: float = 1.0

    @classmethod
    def turn(cls, name: str) -> Factor:
        """Return a whole turn: radians in [0, 2 pi), periodic, errors told in degrees."""
        return cls(name, 0.0, 2 * math.pi, periodic=True, unit="deg", scale=180 / math.pi)

    @property
    def span(self) -> float:
        """The length of the range."""
        return self.high - self.low

    def intervals(self, count: int) -> int:
        """Return between how many of `count` evenly spaced values the range is divided: a circle has no last one."""
        return count if self.periodic else count - 1

    def grid(self, count: int, device: torch.device | str = "cpu") -> Tensor:
        """Return float64 ``[count]`` evenly spaced values, `count` at least 2, from `low` up.

        A periodic factor's end just before `high`, the others end at `high`.
        """
        steps = torch.arange(count, dtype=torch.float64, device=device)
        return self.low + self.span * steps / self.intervals(count)

    def difference(self, a: Floats, b: Floats) -> Floats:
        """Return how far `a` is from `b`, at least 0; on a circle the shorter way, at most half of `span`."""
        apart = a - b
        return np.abs((apart + self.span / 2) % self.span - self.span / 2 if self.periodic else apart)

    def unwrap(self, values: Floats) -> Floats:
        """Return `values` ``[P, N]`` without jumps above half of `span` along N where the factor is periodic."""
        # A step of exactly half a period is no jump, whatever its last bit says.
        return np.unwrap(values, (0.5 + 1e-10) * self.span, axis=1, period=self.span) if self.periodic else values


class Rendered(Dataset):
    """Examples drawn on the fly from uniform values of one factor; the label is the tenth of its range.

    A subclass says how an example is drawn, in `render`.

    Parameters
    ----------
    shape : tuple of int
        One example's shape.
    factor : Factor
        What an example is drawn from.
    test_size : int
        Number of test examples, at least 2, drawn with a fixed seed of their own.

    Raises
    ------
    UserError
        If `test_size` is below 2 or above 2**31 - 1.
    """

    classes = 10

    def __init__(self, shape: Shape, factor: Factor, test_size: int) -> None:
        checks.whole(f"{type(self).__name__}.test_size", test_size, 2, checks.SIZE)
        self.shape, self.factor, self.test_size = shape, factor, test_size

    @abstractmethod
    def render(self, values: Tensor) -> Tensor:
        """Draw the examples of `values`, float64 ``[N]``: float32 ``[N, *shape]`` in [-1, 1] on the same device."""

    @property
    def state(self) -> str:
        """``drawn on the fly``."""
        return "drawn on the fly"

    def label(self, values: Tensor) -> Tensor:
        """Return int64 ``[N]``, 0 to 9: the tenth of the factor's range that each of `values` ``[N]`` lies in."""
        along = values.double() - self.factor.low
        return (along * self.classes / self.factor.span).floor().long().clamp_(0, self.classes - 1)

    @cached_property
    def test_factors(self) -> Tensor:
        """The true values of the test examples, float64 ``[test_size]`` in the factor's range."""
        return torch.from_numpy(np.random.default_rng(0).uniform(self.factor.low, self.factor.high, self.test_size))

    def train(self, batch_size: int, generator: Generator, device: torch.device | str = "cpu") -> Stream:
        """Return an endless stream of fresh examples."""
        return _Drawn(self, batch_size, generator, device)

    def training(self, limit: int | None = None) -> Split:
        """Return `limit` examples (left out: 10,000), drawn with a fixed seed that is not that of the test split."""
        factor, draw = self.factor, generator(0, "training examples")
        values = factor.low + factor.span * torch.rand(limit or DRAWN, generator=draw, dtype=torch.float64)
        return Split(self.render(values), self.label(values))

    def test(self) -> Split:
        """Return the fixed test examples; raise `UserError` where they need more memory than there is."""
        size = f"{type(self).__name__}.test_size"
        check_memory(f"{size} = {self.test_size:,}", 4 * self.test_size * prod(self.shape), f"lower {size}")
        return Split(self.render(self.test_factors), self.label(self.test_factors))


class _Drawn(Stream):
    """Examples of fresh uniform values, without end; the generator's state is the whole position."""

    def __init__(self, dataset: Rendered, batch_size: int, generator: Generator, device: torch.device | str) -> None:
        self.dataset, self.batch_size, self.generator, self.device = dataset, batch_size, generator, device
        # Drawing takes many small operations, which a GPU does faster from a recording.
        recorder = CudaGraphs(torch.device(device)) if torch.device(device).type == "cuda" else None
        obstacle = None if recordable(dataset) else f"{type(dataset).__name__} may keep something on the host"
        self._make = Captured(self._drawn, recorder, held=lambda: plain([dataset]), obstacle=obstacle)

    def next(self) -> Batch:
        factor = self.dataset.factor
        values = factor.low + factor.span * torch.rand(self.batch_size, generator=self.generator, dtype=torch.float64)
        x, y = self._make(cross(values, self.device))
        # A recording draws the next batch into the same memory.
        return (x, y) if self._make.recorder is None else (x.clone(), y.clone())

    def _drawn(self, values: Tensor) -> tuple[Tensor, Tensor]:
        return self.dataset.render(values), self.dataset.label(values)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass
