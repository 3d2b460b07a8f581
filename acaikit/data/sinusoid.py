"""Sequences whose one true factor is a phase: the lines benchmark's idea in one dimension."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from acaikit import checks
from acaikit.data.rendered import Factor, Rendered
from acaikit.errors import UserError


class Sinusoid(Rendered):
    """Waves of one frequency under a Hann window, whose phase is the one factor; the label is the tenth of the turn.

    Sample n of the wave of phase p is ``w (1 + cos(2 pi cycles t - p)) - 1``, where ``t = (n + 1/2) / length`` and the
    window is ``w = sin(pi t)^2``. A growing phase moves the wave to the right, the window stays.

    Each wave is ``w - 1 + cos(p) a + sin(p) b``, where ``a = w cos(2 pi cycles t)`` and ``b = w sin(2 pi cycles t)``.
    These two are linearly independent while `cycles` is below half of `length`, so no two phases look the same.

    The waves lie on an ellipse around ``w - 1``. A cross-dissolve leaves the ellipse, and Mean Distance sees that. It
    would not if the ellipse were around zero: every mixture of two waves would then be a wave again, only lower, at a
    cosine distance of 0. Smoothness says less here: a dissolve's phase moves rather evenly.

    Parameters
    ----------
    length : int
        Number of samples, at least 4.
    cycles : int
        Periods in the whole sequence, at least 1 and below half of `length`.
    test_size : int
        Number of test sequences, at least 2, drawn with a fixed seed of their own.

    Raises
    ------
    UserError
        If a number is out of range.
    """

    def __init__(self, length: int = 64, cycles: int = 4, test_size: int = 5000) -> None:
        checks.whole("Sinusoid.length", length, at_least=4)
        checks.whole("Sinusoid.cycles", cycles, at_least=1)
        if 2 * cycles >= length:
            raise UserError(
                f"Sinusoid.cycles = {cycles} needs a length above {2 * cycles}, not {length}: with two samples per "
                f"cycle or fewer, different phases look the same"
            )
        self.length, self.cycles = length, cycles
        super().__init__((1, length), Factor.turn("phase"), test_size)

    def render(self, values: Tensor) -> Tensor:
        """Draw waves of the phases `values` ``[N]``, in radians; float32 ``[N, 1, length]``."""
        t = (torch.arange(self.length, dtype=torch.float64, device=values.device) + 0.5) / self.length
        window = torch.sin(math.pi * t) ** 2
        wave = torch.cos(2 * math.pi * self.cycles * t - values.double().view(-1, 1, 1))
        return (window * (1 + wave) - 1).float()
