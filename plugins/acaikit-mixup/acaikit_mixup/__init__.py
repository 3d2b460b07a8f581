"""AMR: adversarial mixup resynthesis (Beckham et al. 2019, arXiv 1903.02709)."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from acaikit import checks
from acaikit.critics import Critic, EncoderCritic
from acaikit.errors import UserError
from acaikit.regularizers import Architecture, Regularizer
from acaikit.types import Extras, Step

SCHEMES = ("convex", "bernoulli")


class AMR(Regularizer):
    """Reconstructions and decoded mixes of k latents look real.

    An example's latent h is mixed with those of its k - 1 neighbours in the batch. Every term is a mean, over the batch
    and over a latent's elements.

    Parameters
    ----------
    adversarial : float
        Weight of -log D(x_hat) - log D(g(h_mix)); 1 / lambda of the paper, where lambda weighs the reconstruction.
    consistency : float
        Weight of |h_mix - f(g(h_mix))|^2.
    k : int
        How many latents make a mix, at least 2.
    scheme : str
        "convex": a weighted mean of the latents, weights ~ Dirichlet(1, ..., 1). "bernoulli": each channel is that of
        one latent, all equally likely. Channels lie along a latent's first axis; those of a vector are its numbers.
    critic : Critic, optional
        D, which maps data to one logit each, positive for real data. Left out, it is the encoder's architecture again,
        its outputs averaged.

    Raises
    ------
    UserError
        If a weight is negative, `k` is below 2, `scheme` is another or `critic` is none.
    """

    recordable = True
    critic: Critic

    def __init__(
        self,
        adversarial: float = 0.01,
        consistency: float = 0.0,
        k: int = 2,
        scheme: str = "convex",
        critic: Critic | None = None,
    ) -> None:
        super().__init__()
        checks.number("AMR.adversarial", adversarial, at_least=0)
        checks.number("AMR.consistency", consistency, at_least=0)
        checks.whole("AMR.k", k, at_least=2)
        if scheme not in SCHEMES:
            raise UserError(f"AMR.scheme must be 'convex' or 'bernoulli', not {checks.said(scheme)}")
        self.adversarial, self.consistency, self.k, self.scheme = adversarial, consistency, k, scheme
        if critic is not None:
            checks.instance("AMR.critic", critic, Critic)
            self.critic = critic

    def build(self, architecture: Architecture) -> None:
        """Give the critic the encoder's architecture, unless it was given one."""
        if self.critic is None:
            self.critic = EncoderCritic(copy.deepcopy(architecture.encoder))
        self.critic.build(architecture.data_shape)

    def shares(self, h: Tensor, noise: Generator) -> Tensor:
        """Return each of k latents' share in the channels of the mixes ``[B, k, C]``; C is 1 where channels are alike.

        In the dtype of the latents `h` ``[B, C, ...]``, in [0, 1]; they sum to 1 over the k.
        """
        if self.scheme == "bernoulli":
            picked = torch.randint(self.k, h.shape[:2], generator=noise, device=h.device)
            each = torch.arange(self.k, device=h.device).view(1, -1, 1)  # F.one_hot would look at the numbers first
            return (picked.unsqueeze(1) == each).to(h.dtype)
        # Exponential variables over their sum are Dirichlet(1, ..., 1); torch.distributions takes no generator.
        e = torch.empty(len(h), self.k, 1, device=h.device, dtype=h.dtype).exponential_(generator=noise)
        return e / e.sum(1, keepdim=True)

    def prepare(self, step: Step, noise: Generator) -> Extras:
        """Mix and decode; extras h_mix and x_mix. In a batch of fewer than k some latents are taken twice."""
        h = step.z
        latents = torch.stack([h.roll(j, 0) for j in range(self.k)], 1)
        shares = self.shares(h, noise)
        h_mix = (shares.view(*shares.shape, *[1] * (h.dim() - 2)) * latents).sum(1)
        return {"h_mix": h_mix, "x_mix": step.decode(h_mix)}

    def model_loss(self, step: Step) -> Tensor:
        """Return the weighted sum of the terms, without computing those of weight 0."""
        d = self.critic
        loss = step.z.new_zeros(())
        if self.adversarial:
            fooled = F.logsigmoid(d(step.x_hat)).mean() + F.logsigmoid(d(step.x_mix)).mean()
            loss = loss - self.adversarial * fooled
        if self.consistency:
            loss = loss + self.consistency * F.mse_loss(step.encode(step.x_mix), step.h_mix)
        return loss

    def own_loss(self, step: Step) -> Tensor:
        """Return -log D(x) - log(1 - D(x_hat)) - log(1 - D(g(h_mix)))."""
        d = self.critic
        made = F.logsigmoid(-d(step.x_hat)).mean() + F.logsigmoid(-d(step.x_mix)).mean()
        return -F.logsigmoid(d(step.x)).mean() - made

    def doubt(self, z: Tensor, x: Tensor) -> Tensor:
        """Return the critic's logit that `x` was decoded: positive where it holds that to be likelier than data."""
        return -self.critic(x)
