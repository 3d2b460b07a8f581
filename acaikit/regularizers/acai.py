"""ACAI: adversarially constrained autoencoder interpolation (Berthelot et al. 2018, section 3)."""

from __future__ import annotations

import copy

import torch
from torch import Generator, Tensor

from acaikit import checks
from acaikit.critics import Critic, EncoderCritic
from acaikit.health import Sign, critic_spread
from acaikit.regularizer import Architecture, Regularizer
from acaikit.types import Extras, Step


class ACAI(Regularizer):
    """A critic guesses the mixing coefficient of interpolations; the autoencoder makes it guess zero.

    Parameters
    ----------
    weight : float
        lambda of equation 1.
    gamma : float
        gamma of equation 2, in [0, 1]: how much of the data is blended into the reconstruction shown to the critic.
    critic : Critic, optional
        Maps data to one number each. Left out, it is the encoder's architecture again, its outputs averaged.

    Raises
    ------
    UserError
        If `weight` is negative, `gamma` lies outside [0, 1] or `critic` is none.
    """

    critic: Critic

    def __init__(self, weight: float = 0.5, gamma: float = 0.2, critic: Critic | None = None) -> None:
        super().__init__()
        checks.number("ACAI.weight (lambda)", weight, at_least=0)
        checks.share("ACAI.gamma", gamma, one=True)
        self.weight, self.gamma = weight, gamma
        if critic is not None:
            checks.instance("ACAI.critic", critic, Critic)
            self.critic = critic

    def build(self, architecture: Architecture) -> None:
        """Give the critic the encoder's architecture, unless it was given one."""
        if self.critic is None:
            self.critic = EncoderCritic(copy.deepcopy(architecture.encoder))
        self.critic.build(architecture.data_shape)

    def prepare(self, step: Step, noise: Generator) -> Extras:
        """Decode mixes of each latent with that of another example: ``alpha ~ 0.5 - |u - 0.5|``, one per example."""
        u = torch.rand(len(step.z), generator=noise, device=step.z.device, dtype=step.z.dtype)
        alpha = 0.5 - (u - 0.5).abs()
        a = alpha.view(-1, *[1] * (step.z.dim() - 1))
        return {"alpha": alpha, "x_mix": step.decode(a * step.z + (1 - a) * step.z.flip(0))}

    def model_loss(self, step: Step) -> Tensor:
        """Equation 1, second term: ``lambda |d(x_mix)|^2``."""
        d, lam = self.critic, self.weight
        return lam * d(step.x_mix).square().mean()

    def own_loss(self, step: Step) -> Tensor:
        """Equation 2: ``|d(x_mix) - alpha|^2 + |d(gamma x + (1 - gamma) x_hat)|^2``."""
        d, gamma = self.critic, self.gamma
        blend = gamma * step.x + (1 - gamma) * step.x_hat
        return (d(step.x_mix) - step.alpha).square().mean() + d(blend).square().mean()

    def doubt(self, z: Tensor, x: Tensor) -> Tensor:
        """Return the alpha that the critic takes `x` to be mixed with, 0 for a reconstruction and 0.5 halfway."""
        return self.critic(x)

    def health(self, step: Step) -> dict[str, Sign]:
        """Return the spread of the critic's outputs for mixes and reconstructions: a constant critic is lost.

        Of a batch of one nothing can be told.
        """
        if len(step.z) == 1:
            return {}
        d = self.critic
        return {"critic_spread": critic_spread(torch.cat([d(step.x_mix), d(step.x_hat)]))}
