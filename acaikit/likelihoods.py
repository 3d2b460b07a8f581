"""Likelihoods: how the decoder's output is compared with the data, and what it looks like beside them."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch.nn.functional as F
from torch import Tensor


class Likelihood(ABC):
    """Reads the decoder's raw output, ``[B, *data shape]``."""

    @abstractmethod
    def loss(self, output: Tensor, x: Tensor) -> Tensor:
        """Return the scalar reconstruction loss of `output` against data `x` in [-1, 1]."""

    @abstractmethod
    def image(self, output: Tensor) -> Tensor:
        """Return what `output` looks like, on the data's scale of [-1, 1]."""


class MSE(Likelihood):
    """Mean squared error over every element: mean (x - x_hat)^2 (paper, section 2)."""

    def loss(self, output: Tensor, x: Tensor) -> Tensor:
        """Return the mean over the batch and an example's elements."""
        return F.mse_loss(output, x)

    def image(self, output: Tensor) -> Tensor:
        """Return `output` itself."""
        return output


class Bernoulli(Likelihood):
    """-log p of (x + 1) / 2 under Bernoullis whose logits are the decoder's output (paper, VAE)."""

    def loss(self, output: Tensor, x: Tensor) -> Tensor:
        """Return the sum over an example's elements, averaged over the batch, in nats."""
        total = F.binary_cross_entropy_with_logits(output, (x + 1) / 2, reduction="sum")
        return total / len(x)

    def image(self, output: Tensor) -> Tensor:
        """Return the mean 2 sigmoid(logits) - 1."""
        return 2 * output.sigmoid() - 1
