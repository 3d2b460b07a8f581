"""Dropout on the latent (Srivastava et al. 2014), the paper's "dropout" autoencoder."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from acaikit import checks
from acaikit.regularizer import Regularizer


class LatentDropout(Regularizer):
    """The decoder reads the latent with entries set to zero at random, the others scaled by 1 / (1 - p).

    Parameters
    ----------
    p : float
        Probability of dropping an entry, in [0, 1).

    Raises
    ------
    UserError
        If `p` lies outside [0, 1).
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        checks.share("LatentDropout.p", p, one=False)
        self.p = p

    def emit(self, z: Tensor, noise: Generator | None) -> Tensor:
        """Return dropout(z) in training, z at evaluation."""
        if noise is None:
            return z
        keep = torch.rand(z.shape, generator=noise, device=z.device, dtype=z.dtype) >= self.p
        return z * keep / (1 - self.p)
