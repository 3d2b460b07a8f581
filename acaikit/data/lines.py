"""The lines benchmark's data: a line from the centre, whose angle is the one true factor (paper, section 4.1)."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Generator, Tensor

from acaikit import checks
from acaikit.data.base import Batch, Dataset, Split, Stream

TURN = 2 * math.pi
CHUNK = 512


def render(angles: Tensor | ArrayLike, height: int = 32, width: int = 32) -> Tensor:
    """Draw one line per angle, two pixels wide and anti-aliased along the rows.

    Parameters
    ----------
    angles : Tensor or array_like
        ``[N]``, radians.
    height, width : int
        The image's sides in pixels.

    Returns
    -------
    Tensor
        float32 ``[N, 1, height, width]`` in [-1, 1], on the device of `angles`.
    """
    flat = torch.as_tensor(angles, dtype=torch.float64).reshape(-1)
    if not len(flat):
        return torch.empty(0, 1, height, width, device=flat.device)
    return torch.cat([_render(chunk, height, width) for chunk in torch.split(flat, CHUNK)])


def _render(angles: Tensor, height: int, width: int) -> Tensor:
    x0, y0 = torch.full_like(angles, height / 2), torch.full_like(angles, width / 2)
    x1 = x0 + (x0 - 1) * torch.cos(-angles)
    y1 = y0 + (y0 - 1) * torch.sin(-angles)
    # Drawn row by row, a line must be steep: a flat one is drawn with swapped coordinates and transposed.
    flat = (y1 - y0).abs() < (x1 - x0).abs()
    x0, y0, x1, y1 = (torch.where(flat, a, b) for a, b in ((y0, x0), (x0, y0), (y1, x1), (x1, y1)))
    down = y1 < y0
    x0, y0, x1, y1 = (torch.where(down, a, b) for a, b in ((x1, x0), (y1, y0), (x0, x1), (y0, y1)))
    dy = y1 - y0
    slope = torch.where(dy == 0, 0.0, (x1 - x0) / dy)
    left = x0 - 1

    side = max(height, width)
    rows = torch.arange(side, dtype=angles.dtype, device=angles.device)
    x0, y0, y1, slope = (v.unsqueeze(1) for v in (left, y0, y1, slope))
    drawn = (rows >= y0.trunc()) & (rows < y1.ceil())
    weight = torch.where(rows < y0.ceil(), y0.ceil() - y0, 1.0) * drawn
    start = (x0 + (rows - y0 - 0.5) * slope).unsqueeze(2)
    pixels = rows
    coverage = (torch.minimum(start + 2, pixels + 1) - torch.maximum(start, pixels)).clamp_(min=0)
    image = (2 * coverage * weight.unsqueeze(2) - 1).clamp_(-1, 1)
    image = torch.where(flat.view(-1, 1, 1), image.transpose(1, 2), image)
    return image[:, None, :height, :width].float()


def label(angles: Tensor) -> Tensor:
    """Return int64 floor(10 L / (2 pi)), the tenth of the circle that each angle ``[N]`` in [0, 2 pi) lies in."""
    return (angles.double() * 10 / TURN).floor().long().clamp_(0, 9)


class _Drawn(Stream):
    """Lines at fresh uniform angles, without end; the generator's state is the whole position."""

    def __init__(self, lines: Lines, batch_size: int, generator: Generator, device: torch.device | str) -> None:
        self.lines, self.batch_size, self.generator, self.device = lines, batch_size, generator, device

    def next(self) -> Batch:
        angles = TURN * torch.rand(self.batch_size, generator=self.generator, dtype=torch.float64)
        return self.lines.render(angles.to(self.device)), label(angles).to(self.device)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class Lines(Dataset):
    """Lines at uniform angles, drawn on the fly; the label is the tenth of the circle.

    Parameters
    ----------
    height, width : int
        The image's sides in pixels, at least 4.
    test_size : int
        Number of test images, at least 2, drawn with a fixed seed of their own.

    Raises
    ------
    UserError
        If a size is too small.
    """

    classes = 10

    def __init__(self, height: int = 32, width: int = 32, test_size: int = 5000) -> None:
        checks.whole("Lines.height", height, at_least=4)
        checks.whole("Lines.width", width, at_least=4)
        checks.whole("Lines.test_size", test_size, at_least=2)
        self.height, self.width, self.test_size = height, width, test_size
        self.shape = (1, height, width)

    def render(self, angles: Tensor) -> Tensor:
        """Draw lines at `angles` ``[N]``, in radians; float32 ``[N, 1, height, width]``."""
        return render(angles, self.height, self.width)

    @cached_property
    def test_angles(self) -> Tensor:
        """The true angles of the test images, float64 ``[test_size]`` in [0, 2 pi)."""
        return torch.from_numpy(np.random.default_rng(0).uniform(0, TURN, self.test_size))

    def train(self, batch_size: int, generator: Generator, device: torch.device | str = "cpu") -> Stream:
        """Return an endless stream of fresh lines."""
        return _Drawn(self, batch_size, generator, device)

    def test(self) -> Split:
        """Return the fixed test lines."""
        return Split(self.render(self.test_angles), label(self.test_angles))
