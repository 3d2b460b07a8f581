"""Denoising autoencoder: reconstruct the clean data from a noisy copy (Vincent et al. 2010)."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from acaikit import checks
from acaikit.regularizer import Regularizer


class Denoising(Regularizer):
    """The encoder sees x + n in training, n ~ N(0, std^2); the target stays x.

    Parameters
    ----------
    std : float
        Standard deviation of the noise, on the data's scale of [-1, 1].

    Raises
    ------
    UserError
        If `std` is negative.
    """

    def __init__(self, std: float = 1.0) -> None:
        super().__init__()
        checks.number("Denoising.std", std, at_least=0)
        self.std = std

    def corrupt(self, x: Tensor, noise: Generator | None) -> Tensor:
        """Return x + n in training, x at evaluation."""
        if noise is None:
            return x
        return x + self.std * torch.randn(x.shape, generator=noise, device=x.device, dtype=x.dtype)
