"""VQ-VAE: a quantised latent with a codebook of moving averages (van den Oord et al. 2017, appendix A.1)."""

from __future__ import annotations

from math import prod

import torch
from torch import Generator, Tensor, nn

from acaikit import checks
from acaikit.health import Sign
from acaikit.nets import Linear
from acaikit.regularizer import Architecture, Regularizer
from acaikit.types import Emitted, Step

DEAD = 0.01
"""Share of the codebook's mean count below which an entry is dead."""


class VQEMA(Regularizer):
    """The decoder reads the latent through `vectors` entries of one shared codebook.

    u = Linear(z) is read as vectors of size d_z, each replaced by its nearest codebook entry with a straight-through
    gradient; then ReLU, Linear to `hidden`, ReLU, Linear to d_z.

    Parameters
    ----------
    weight : float
        beta, the weight of the commitment term.
    entries : int
        Size K of the codebook.
    vectors : int
        How many entries describe one latent.
    hidden : int
        Width of the layer between the codebook and the decoder.
    decay : float
        Decay of the moving averages, in [0, 1).

    Raises
    ------
    UserError
        If a size is below 1, `weight` is negative or `decay` lies outside [0, 1).
    """

    emit_draws = False
    to_vectors: Linear
    from_vectors: nn.Sequential
    codebook: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(
        self, weight: float = 10.0, entries: int = 2**14, vectors: int = 10, hidden: int = 512, decay: float = 0.999
    ) -> None:
        super().__init__()
        checks.number("VQEMA.weight (beta)", weight, at_least=0)
        for name, size in {"entries": entries, "vectors": vectors, "hidden": hidden}.items():
            checks.whole(f"VQEMA.{name}", size, 1, checks.SIZE)
        checks.share("VQEMA.decay", decay, one=False)
        self.weight, self.entries, self.vectors, self.hidden, self.decay = weight, entries, vectors, hidden, decay

    def build(self, architecture: Architecture) -> None:
        """Make the layers and the codebook ``[entries, d_z]`` for the model's latents."""
        d_z = prod(architecture.latent_shape)
        self.to_vectors = Linear(d_z, self.vectors * d_z)
        self.from_vectors = nn.Sequential(
            nn.ReLU(), Linear(self.vectors * d_z, self.hidden), nn.ReLU(), Linear(self.hidden, d_z)
        )
        self.register_buffer("codebook", torch.empty(self.entries, d_z))
        self.register_buffer("counts", torch.empty(self.entries))
        self.register_buffer("sums", torch.empty(self.entries, d_z))

    def reset_parameters(self) -> None:
        """Draw the codebook from N(0, 1 / d_z), every entry counted once."""
        nn.init.normal_(self.codebook, std=self.codebook.shape[1] ** -0.5)
        nn.init.ones_(self.counts)
        self.sums.copy_(self.codebook)

    def emit(self, z: Tensor, noise: Generator | None) -> Emitted:
        """Quantise; extras u and q ``[B, vectors, d_z]``, index int64 ``[B, vectors]``."""
        u = self.to_vectors(z.flatten(1)).view(len(z), self.vectors, -1)
        index = self._nearest(u.detach())
        q = self.codebook[index]
        # The quantiser itself is a step function: its gradient is defined to be the identity.
        straight_through = u + (q - u).detach()
        e: Tensor = self.from_vectors(straight_through.flatten(1))
        return e.view(z.shape), {"u": u, "q": q, "index": index}

    def _nearest(self, u: Tensor) -> Tensor:
        """Return argmin_k |u - e_k|^2 = argmin_k |e_k|^2 - 2 u.e_k, int64 ``[B, vectors]``."""
        squared = self.codebook.square().sum(1)
        distance = torch.addmm(squared, u.flatten(0, 1), self.codebook.T, alpha=-2)
        return distance.argmin(1).view(u.shape[:2])

    def model_loss(self, step: Step) -> Tensor:
        """Return the commitment beta mean (u - q)^2; the codebook has no gradient."""
        return self.weight * (step.u - step.q).square().mean()

    def after_step(self, step: Step) -> None:
        """Move counts and sums toward this batch's; an entry is its sum over its smoothed count."""
        index, u = step.index.flatten(), step.u.flatten(0, 1)
        keep, k = self.decay, self.entries
        self.counts.mul_(keep).index_add_(0, index, torch.ones_like(u[:, 0]), alpha=1 - keep)
        self.sums.mul_(keep).index_add_(0, index, u, alpha=1 - keep)
        n = self.counts.sum()
        smoothed = (self.counts + 1e-5) / (n + k * 1e-5) * n
        torch.div(self.sums, smoothed.unsqueeze(1), out=self.codebook)

    def health(self, step: Step) -> dict[str, Sign]:
        """Return the share of dead entries, those that are chosen less than a hundredth as often as the mean entry is.

        Every entry begins with a count of 1, and one that is never chosen loses it by the decay alone: none is dead
        until it had some thousand steps to be chosen in, with a decay of 0.999.
        """
        share = (self.counts < DEAD * self.counts.mean()).float().mean().item()
        wrong = f"{share:.0%} of the codebook is dead: lower VQEMA.entries"
        return {"dead_codes": Sign(share, wrong if share > 0.5 else None)}
