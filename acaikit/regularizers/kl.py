"""Variational autoencoder: a Gaussian posterior held near N(0, I) (Kingma and Welling 2013)."""

from __future__ import annotations

from math import prod

import torch
from torch import Generator, Tensor

from acaikit import checks
from acaikit.health import Sign
from acaikit.nets import Linear
from acaikit.regularizer import Architecture, Regularizer
from acaikit.types import Emitted, Step

ACTIVE = 0.01
"""Variance of a unit's mean over the data above which it says something of them (Burda et al. 2016, appendix C)."""


class KL(Regularizer):
    """The latent is a sample of N(mu, sigma^2), both linear in the features; at evaluation it is mu.

    Parameters
    ----------
    weight : float
        Weight of the KL term; 1 gives the evidence lower bound when the likelihood is `Bernoulli`.

    Raises
    ------
    UserError
        If `weight` is negative.
    """

    mu: Linear
    log_var: Linear
    prior = True

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        checks.number("KL.weight", weight, at_least=0)
        self.weight = weight

    def build(self, architecture: Architecture) -> None:
        """Make the two linear maps d_z -> d_z."""
        d_z = prod(architecture.latent_shape)
        self.mu, self.log_var = Linear(d_z, d_z), Linear(d_z, d_z)

    def posterior(self, h: Tensor, noise: Generator | None) -> Emitted:
        """Return z = mu + sigma eps in training, mu at evaluation; extras mu and log_var, ``[B, d_z]``."""
        mu, log_var = self.mu(h.flatten(1)), self.log_var(h.flatten(1))
        z = mu
        if noise is not None:
            eps = torch.randn(mu.shape, generator=noise, device=mu.device, dtype=mu.dtype)
            z = mu + (0.5 * log_var).exp() * eps
        return z.view(h.shape), {"mu": mu, "log_var": log_var}

    def model_loss(self, step: Step) -> Tensor:
        """Return KL(N(mu, sigma^2) | N(0, I)) = 0.5 sum(mu^2 + sigma^2 - 1 - log sigma^2), averaged over the batch."""
        mu, log_var = step.mu, step.log_var
        kl = 0.5 * (mu.square() + log_var.exp() - 1 - log_var).sum(1)
        return self.weight * kl.mean()

    def health(self, step: Step) -> dict[str, Sign]:
        """Return the number of active units: the entries of mu whose variance over the batch is above 0.01.

        With none the posterior has collapsed. That some fall idle is in order: a model drops those that it has no use
        for, and data of one factor leave a few of 64. Of a batch of one nothing can be told.
        """
        batch, d_z = step.mu.shape
        if batch == 1:
            return {}
        active = int((step.mu.var(0) > ACTIVE).sum())
        wrong = f"the posterior has collapsed: none of {d_z} latent units is active; lower KL.weight"
        return {"active_units": Sign(active, None if active else wrong)}
