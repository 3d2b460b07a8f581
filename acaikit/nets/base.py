"""Encoders and decoders in the abstract, and what all of them share: the paper's slope and its initialisation.

A network is made in two moments. Its constructor takes what a recipe says (depth, scales, ...); `build` is told the
shapes, once the dataset is known, and makes the layers.
"""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from acaikit.errors import UserError
from acaikit.types import Shape

SLOPE = 0.2


def paper_init(layer: nn.Conv1d | nn.Conv2d | nn.Linear) -> None:
    """Draw weights ~ N(0, 1 / (fan_in (1 + 0.2^2))); biases are 0 (the authors' program)."""
    fan_in = layer.weight[0].numel()
    nn.init.normal_(layer.weight, std=(fan_in * (1 + SLOPE**2)) ** -0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class Linear(nn.Linear):
    """A dense layer with the paper's initialisation."""

    def reset_parameters(self) -> None:
        """Draw the weights as `paper_init` does."""
        paper_init(self)


class Unbuilt(nn.Sequential):
    """Stands where a network's layers will be: an ``nn.Sequential`` without layers would give back what it is given.

    Parameters
    ----------
    build : str
        What makes the layers, such as "ConvEncoder.build(data_shape)".
    """

    def __init__(self, build: str) -> None:
        super().__init__()
        self._build = build

    def forward(self, x: Tensor) -> Tensor:
        """Raise `UserError`."""
        raise UserError(f"a network without layers was called: {self._build} makes them")


class Encoder(nn.Module):
    """Maps data to features: ``[B, *data_shape] -> [B, *latent_shape]``."""

    @abstractmethod
    def build(self, data_shape: Shape) -> Shape:
        """Make the layers for data of one example's shape `data_shape`; return the latent's shape."""


class Decoder(nn.Module):
    """Maps latents to data: ``[B, *latent_shape] -> [B, *data_shape]``."""

    @abstractmethod
    def build(self, latent_shape: Shape, data_shape: Shape) -> None:
        """Make the layers between the two shapes, or raise `UserError` where they don't fit."""


def count_parameters(module: nn.Module) -> int:
    """Return the number of trainable numbers in `module`."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
