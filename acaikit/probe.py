"""The probe: one linear layer that reads the detached code, trained in tandem (paper, section 4.2)."""

from __future__ import annotations

from math import prod

from torch import Tensor, nn

from acaikit.nets import Linear
from acaikit.rng import initialise
from acaikit.types import Shape


class Probe(nn.Module):
    """One linear layer from the flattened code to classes.

    Parameters
    ----------
    latent_shape : tuple of int
        One code's shape.
    classes : int
        Number of classes.
    seed : int
        The weights are drawn from (seed, "probe").
    """

    def __init__(self, latent_shape: Shape, classes: int, seed: int = 0) -> None:
        super().__init__()
        self.layer = Linear(prod(latent_shape), classes)
        initialise(self, seed, "probe")

    def forward(self, code: Tensor) -> Tensor:
        """Return logits ``[B, classes]`` for codes ``[B, *latent_shape]``."""
        out: Tensor = self.layer(code.flatten(1))
        return out
