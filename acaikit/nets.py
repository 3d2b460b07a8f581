"""Encoders and decoders: the abstract parts, and the paper's convolutional pair (section 3.2 and appendix).

A network is made in two moments. Its constructor takes what a recipe says (depth, scales, ...); `build` is told the
shapes, once the dataset is known, and makes the layers.
"""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise

import torch
from torch import Tensor, nn

from acaikit import checks
from acaikit.errors import UserError
from acaikit.types import Shape

SLOPE = 0.2


def paper_init(layer: nn.Conv2d | nn.Linear) -> None:
    """Draw weights ~ N(0, 1 / (fan_in (1 + 0.2^2))); biases are 0 (the authors' program)."""
    fan_in = layer.weight[0].numel()
    nn.init.normal_(layer.weight, std=(fan_in * (1 + SLOPE**2)) ** -0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class Conv(nn.Conv2d):
    """A "same" convolution with the paper's initialisation."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 3) -> None:
        super().__init__(channels_in, channels_out, kernel, padding=kernel // 2)

    def reset_parameters(self) -> None:
        """Draw the weights as `paper_init` does."""
        paper_init(self)


class Linear(nn.Linear):
    """A dense layer with the paper's initialisation."""

    def reset_parameters(self) -> None:
        """Draw the weights as `paper_init` does."""
        paper_init(self)


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


class ConvEncoder(Encoder):
    """The paper's encoder: 1x1 conv, `scales` blocks of two 3x3 convs and a 2x2 average pool, two closing convs.

    Parameters
    ----------
    depth : int
        Channels of the first block; each block doubles them.
    scales : int
        Number of blocks; the image's sides shrink by ``2**scales``.
    latent : int
        Channels of the latent.
    """

    def __init__(self, depth: int = 16, scales: int = 4, latent: int = 16) -> None:
        super().__init__()
        for name, size in {"depth": depth, "scales": scales, "latent": latent}.items():
            checks.whole(f"ConvEncoder.{name}", size, at_least=1)
        self.depth, self.scales, self.latent = depth, scales, latent
        self.layers = nn.Sequential()

    def build(self, data_shape: Shape) -> Shape:
        """Make the layers for images ``[C, H, W]``; return ``(latent, H / 2**scales, W / 2**scales)``.

        Raises
        ------
        UserError
            If the data are not images, or ``2**scales`` doesn't divide their sides.
        """
        colors, height, width = _image_shape(data_shape, "ConvEncoder")
        factor = 2**self.scales
        if height % factor or width % factor:
            raise UserError(
                f"ConvEncoder.scales = {self.scales} needs images whose sides are multiples of {factor}; "
                f"the dataset's are {height} x {width}"
            )
        layers: list[nn.Module] = [Conv(colors, self.depth, kernel=1)]
        channels = [self.depth, *(self.depth * 2**s for s in range(self.scales))]
        for before, after in pairwise(channels):
            layers += [
                Conv(before, after),
                nn.LeakyReLU(SLOPE),
                Conv(after, after),
                nn.LeakyReLU(SLOPE),
                nn.AvgPool2d(2),
            ]
        top = self.depth * 2**self.scales
        layers += [Conv(channels[-1], top), nn.LeakyReLU(SLOPE), Conv(top, self.latent)]
        self.layers = nn.Sequential(*layers)
        return self.latent, height // factor, width // factor

    def forward(self, x: Tensor) -> Tensor:
        """Return the features ``[B, latent, H / 2**scales, W / 2**scales]`` of images ``[B, C, H, W]``."""
        out: Tensor = self.layers(x)
        return out


class ConvDecoder(Decoder):
    """The paper's decoder: `scales` blocks of two 3x3 convs and a 2x nearest upsampling, two closing convs.

    Parameters
    ----------
    depth : int
        Channels of the last block; each block before it has twice as many.
    scales : int
        Number of blocks; the latent's sides grow by ``2**scales``.
    """

    def __init__(self, depth: int = 16, scales: int = 4) -> None:
        super().__init__()
        for name, size in {"depth": depth, "scales": scales}.items():
            checks.whole(f"ConvDecoder.{name}", size, at_least=1)
        self.depth, self.scales = depth, scales
        self.layers = nn.Sequential()

    def build(self, latent_shape: Shape, data_shape: Shape) -> None:
        """Make the layers from ``[c, h, w]`` to ``[C, h * 2**scales, w * 2**scales]``.

        Raises
        ------
        UserError
            If the two shapes are not images whose sides differ by ``2**scales``.
        """
        latent, rows, columns = _image_shape(latent_shape, "ConvDecoder")
        colors, height, width = _image_shape(data_shape, "ConvDecoder")
        factor = 2**self.scales
        if (rows * factor, columns * factor) != (height, width):
            raise UserError(
                f"ConvDecoder.scales = {self.scales} turns the encoder's latent of {rows} x {columns} into an image of "
                f"{rows * factor} x {columns * factor}, but the dataset's images are {height} x {width}: give encoder "
                f"and decoder the same scales"
            )
        layers: list[nn.Module] = []
        channels = [latent, *(self.depth * 2**s for s in reversed(range(self.scales)))]
        for before, after in pairwise(channels):
            layers += [Conv(before, after), nn.LeakyReLU(SLOPE), Conv(after, after), nn.LeakyReLU(SLOPE)]
            layers += [nn.Upsample(scale_factor=2, mode="nearest")]
        layers += [Conv(channels[-1], self.depth), nn.LeakyReLU(SLOPE), Conv(self.depth, colors)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Return ``[B, C, H, W]``, what the likelihood reads, for latents ``[B, c, h, w]``."""
        out: Tensor = self.layers(z)
        return out


def _image_shape(shape: Shape, who: str) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise UserError(f"{who} works on images [C, H, W]; here it meets data of shape {list(shape)}")
    return shape[0], shape[1], shape[2]


def count_parameters(module: nn.Module) -> int:
    """Return the number of trainable numbers in `module`."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def channels_last(x: Tensor) -> Tensor:
    """Return `x` in the memory layout that convolutions run fastest in; anything but images is left as it is."""
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x
