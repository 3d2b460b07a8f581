"""AEAI: autoencoder interpolation by shaping the latent space (Oring, Yakhini, Hel-Or 2021, arXiv 2008.01487)."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from acaikit import checks
from acaikit.critics import Critic, EncoderCritic
from acaikit.regularizers import Architecture, Regularizer
from acaikit.types import Extras, Step


class AEAI(Regularizer):
    """Interpolations look real, encode to where they were decoded from, and move slowly.

    For two examples i and j of a batch and a ~ U[0, 1], z(a) = (1 - a) z_i + a z_j and x(a) = g(z(a)). Every term is a
    mean, over the batch and over the elements of an image or a latent, so that weights don't depend on their sizes.

    Parameters
    ----------
    adversarial : float
        Weight of -log D(x(a)).
    cycle : float
        Weight of |z(a) - f(g(z(a)))|^2.
    smoothness : float
        Weight of |d x(a) / d a|^2.
    critic : Critic, optional
        D, which maps data to one logit each, positive for real data. Left out, it is the encoder's architecture again,
        its outputs averaged.

    Raises
    ------
    UserError
        If a weight is negative or `critic` is none.
    """

    recordable = True
    critic: Critic

    def __init__(
        self, adversarial: float = 0.01, cycle: float = 0.1, smoothness: float = 0.001, critic: Critic | None = None
    ) -> None:
        super().__init__()
        for name, weight in {"adversarial": adversarial, "cycle": cycle, "smoothness": smoothness}.items():
            checks.number(f"AEAI.{name}", weight, at_least=0)
        self.adversarial, self.cycle, self.smoothness = adversarial, cycle, smoothness
        if critic is not None:
            checks.instance("AEAI.critic", critic, Critic)
            self.critic = critic

    def build(self, architecture: Architecture) -> None:
        """Give the critic the encoder's architecture, unless it was given one."""
        if self.critic is None:
            self.critic = EncoderCritic(copy.deepcopy(architecture.encoder))
        self.critic.build(architecture.data_shape)

    def prepare(self, step: Step, noise: Generator) -> Extras:
        """Decode z(a), where j is i's place in the reversed batch; extras z_a, x_a and velocity, which is d x(a) / d a.

        Of a single example the mix is the example itself.
        """
        a = torch.rand(len(step.z), generator=noise, device=step.z.device, dtype=step.z.dtype)
        direction = step.z.flip(0) - step.z
        z_a = step.z + a.view(-1, *[1] * (step.z.dim() - 1)) * direction
        if not self.smoothness:
            return {"z_a": z_a, "x_a": step.decode(z_a)}
        # Of the two passes of a finite difference each would have a dropout's noise of its own.
        pushed = torch.func.jvp(step.decode, (z_a,), (direction,))
        return {"z_a": z_a, "x_a": pushed[0], "velocity": pushed[1]}

    def model_loss(self, step: Step) -> Tensor:
        """Return the weighted sum of the three terms, without computing those of weight 0."""
        d = self.critic
        loss = step.z.new_zeros(())
        if self.adversarial:
            loss = loss - self.adversarial * F.logsigmoid(d(step.x_a)).mean()
        if self.cycle:
            loss = loss + self.cycle * F.mse_loss(step.encode(step.x_a), step.z_a)
        if self.smoothness:
            loss = loss + self.smoothness * step.velocity.square().mean()
        return loss

    def own_loss(self, step: Step) -> Tensor:
        """Return -log D(x) - log(1 - D(x(a)))."""
        d = self.critic
        return -F.logsigmoid(d(step.x)).mean() - F.logsigmoid(-d(step.x_a)).mean()

    def doubt(self, z: Tensor, x: Tensor) -> Tensor:
        """Return the critic's logit that `x` is an interpolation: positive where it holds that to be likelier."""
        return -self.critic(x)
