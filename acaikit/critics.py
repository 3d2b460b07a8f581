"""Critics: networks that give each example one number."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from acaikit import checks
from acaikit.nets import Encoder, dense, hidden_widths
from acaikit.types import Shape


class Critic(nn.Module):
    """Maps examples (data or latents) to one number each: ``[B, *shape] -> [B]``."""

    @abstractmethod
    def build(self, shape: Shape) -> None:
        """Make the layers for examples of `shape`."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return one number per example, ``[B]``."""
        out: Tensor = super().__call__(x)
        return out


class EncoderCritic(Critic):
    """ACAI's critic: an encoder whose outputs are averaged into one number per example (paper, section 3.2).

    Parameters
    ----------
    encoder : Encoder
        The network; the paper gives it the architecture of the autoencoder's own encoder.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        checks.instance("EncoderCritic.encoder", encoder, Encoder)
        self.encoder = encoder

    def build(self, shape: Shape) -> None:
        """Make the encoder's layers for data of `shape`."""
        self.encoder.build(shape)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean over the encoder's outputs, ``[B]``."""
        out: Tensor = self.encoder(x)
        return out.flatten(1).mean(1)


class DenseCritic(Critic):
    """AAE's critic: dense layers on the flattened latent, one logit at the end (paper, section 4).

    Parameters
    ----------
    hidden : sequence of int
        Widths of the hidden layers, each followed by a leaky ReLU.
    """

    def __init__(self, hidden: Sequence[int] = (100, 100)) -> None:
        super().__init__()
        self.hidden = hidden_widths("DenseCritic.hidden", hidden)
        self.layers = nn.Sequential()

    def build(self, shape: Shape) -> None:
        """Make the layers for examples of `shape`, flattened."""
        self.layers = dense((prod(shape), *self.hidden, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return one logit per example, ``[B]``."""
        out: Tensor = self.layers(x.flatten(1))
        return out.squeeze(1)
