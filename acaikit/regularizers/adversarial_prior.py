"""Adversarial autoencoder: latents shaped like N(0, I) by a critic (Makhzani et al. 2015)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from acaikit import checks
from acaikit.critics import Critic, DenseCritic
from acaikit.health import Sign, critic_spread
from acaikit.regularizer import Architecture, Regularizer
from acaikit.types import Extras, Step


def _bce(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


class AdversarialPrior(Regularizer):
    """A critic tells latents from samples of N(0, I); the encoder makes them alike.

    Parameters
    ----------
    weight : float
        Weight of the encoder's term; 1 in the paper.
    critic : Critic, optional
        Maps latents to one logit each. Left out, it is dense 100, dense 100, dense 1.

    Raises
    ------
    UserError
        If `weight` is negative or `critic` is none.
    """

    critic: Critic
    prior = True

    def __init__(self, weight: float = 1.0, critic: Critic | None = None) -> None:
        super().__init__()
        checks.number("AdversarialPrior.weight", weight, at_least=0)
        self.weight = weight
        self.critic = DenseCritic() if critic is None else critic
        checks.instance("AdversarialPrior.critic", self.critic, Critic)

    def build(self, architecture: Architecture) -> None:
        """Make the critic's layers for the model's latents."""
        self.critic.build(architecture.latent_shape)

    def prepare(self, step: Step, noise: Generator) -> Extras:
        """Draw as many samples of the prior as there are latents."""
        return {"n": torch.randn(step.z.shape, generator=noise, device=step.z.device, dtype=step.z.dtype)}

    def model_loss(self, step: Step) -> Tensor:
        """Return BCE(d(z), 1)."""
        d = self.critic
        return self.weight * _bce(d(step.z), 1.0)

    def own_loss(self, step: Step) -> Tensor:
        """Return BCE(d(z), 0) + BCE(d(n), 1)."""
        d = self.critic
        return _bce(d(step.z), 0.0) + _bce(d(step.n), 1.0)

    def doubt(self, z: Tensor, x: Tensor) -> Tensor:
        """Return the probability, in the critic's view, that `z` is no sample of the prior."""
        return (-self.critic(z)).sigmoid()

    def health(self, step: Step) -> dict[str, Sign]:
        """Return the spread of the critic's logits for latents and samples of the prior: a constant critic is lost.

        Of a batch of one nothing can be told.
        """
        if len(step.z) == 1:
            return {}
        d = self.critic
        return {"critic_spread": critic_spread(torch.cat([d(step.z), d(step.n)]))}
