"""The dense pair, for data of any shape, and the dense layers that critics use too.

The paper has no such autoencoder; slope and initialisation are its convolutional pair's.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from acaikit import checks
from acaikit.errors import UserError
from acaikit.nets.base import SLOPE, Decoder, Encoder, Linear, Unbuilt
from acaikit.types import Shape


def dense(widths: Sequence[int]) -> nn.Sequential:
    """Return dense layers from each of `widths` (at least two) to the next, a leaky ReLU between every two layers."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [Linear(before, after), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers[:-1])


def hidden_widths(name: str, hidden: object) -> tuple[int, ...]:
    """Return the argument `hidden`, called `name` in messages, as a tuple of widths.

    Raises
    ------
    UserError
        If it is no sequence of whole numbers of at least 1.
    """
    if not isinstance(hidden, Sequence) or isinstance(hidden, str):
        raise UserError(f"{name} must be a list of widths such as [256, 256], not {checks.said(hidden)}")
    for width in hidden:
        checks.whole(f"{name}'s widths", width, 1, checks.SIZE)
    return tuple(hidden)


class MLPEncoder(Encoder):
    """A dense encoder: data of any shape, flattened, through hidden layers to a latent of `latent` numbers.

    Parameters
    ----------
    hidden : sequence of int
        Widths of the hidden layers, each followed by a leaky ReLU; none makes the encoder linear.
    latent : int
        Size of the latent.

    Raises
    ------
    UserError
        If a width or `latent` is no whole number of at least 1.
    """

    def __init__(self, hidden: Sequence[int] = (256, 256), latent: int = 16) -> None:
        super().__init__()
        self.hidden = hidden_widths("MLPEncoder.hidden", hidden)
        checks.whole("MLPEncoder.latent", latent, 1, checks.SIZE)
        self.latent = latent
        self.layers: nn.Sequential = Unbuilt("MLPEncoder.build(data_shape)")

    def build(self, data_shape: Shape) -> Shape:
        """Make the layers for data of any shape; return ``(latent,)``."""
        self.layers = dense((prod(data_shape), *self.hidden, self.latent))
        return (self.latent,)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features ``[B, latent]`` of data ``[B, *data_shape]``."""
        out: Tensor = self.layers(x.flatten(1))
        return out


class MLPDecoder(Decoder):
    """A dense decoder: latents of any shape, flattened, through hidden layers to data of any shape.

    Parameters
    ----------
    hidden : sequence of int
        Widths of the hidden layers, each followed by a leaky ReLU; none makes the decoder linear.

    Raises
    ------
    UserError
        If a width is no whole number of at least 1.
    """

    def __init__(self, hidden: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        self.hidden = hidden_widths("MLPDecoder.hidden", hidden)
        self.layers: nn.Sequential = Unbuilt("MLPDecoder.build(latent_shape, data_shape)")

    def build(self, latent_shape: Shape, data_shape: Shape) -> None:
        """Make the layers between any two shapes."""
        self.layers = nn.Sequential(
            *dense((prod(latent_shape), *self.hidden, prod(data_shape))), nn.Unflatten(1, data_shape)
        )

    def forward(self, z: Tensor) -> Tensor:
        """Return ``[B, *data_shape]``, what the likelihood reads, for latents ``[B, *latent_shape]``."""
        out: Tensor = self.layers(z.flatten(1))
        return out
