"""The paper's convolutional pair (section 3.2 and appendix), for sequences as for images.

How many axes follow the channels says which convolution and which pooling to use; nothing else differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from acaikit import checks
from acaikit.errors import UserError
from acaikit.nets.base import SLOPE, Decoder, Encoder, Unbuilt, paper_init
from acaikit.nets.chain import Chain
from acaikit.types import Shape

SCALES = 30
"""The most halvings that a side of at most 2**31 - 1 allows."""


class Conv1d(nn.Conv1d):
    """A convolution over sequences with the paper's initialisation."""

    def reset_parameters(self) -> None:
        """Draw the weights as `paper_init` does."""
        paper_init(self)


class Conv2d(nn.Conv2d):
    """A convolution over images with the paper's initialisation."""

    def reset_parameters(self) -> None:
        """Draw the weights as `paper_init` does."""
        paper_init(self)


@dataclass(frozen=True)
class Grid:
    """What a convolutional network works on: data that have channels and one or two axes along which to convolve.

    Attributes
    ----------
    name, extents : str
        What messages call such data, and their sizes along the axes.
    conv, pool : type
        The layers that fit.
    """

    name: str
    extents: str
    conv: type[Conv1d] | type[Conv2d]
    pool: type[nn.AvgPool1d] | type[nn.AvgPool2d]

    def same(self, channels_in: int, channels_out: int, kernel: int = 3) -> nn.Module:
        """Return a convolution with "same" zero padding."""
        return self.conv(channels_in, channels_out, kernel, padding=kernel // 2)


GRIDS = {1: Grid("sequences", "lengths", Conv1d, nn.AvgPool1d), 2: Grid("images", "sides", Conv2d, nn.AvgPool2d)}


class ConvEncoder(Encoder):
    """The paper's encoder: 1x1 conv, `scales` blocks of two 3x3 convs and a 2x2 average pool, two closing convs.

    On sequences the same with kernels of 1 and 3 and pools of 2.

    Parameters
    ----------
    depth : int
        Channels of the first block; each block doubles them.
    scales : int
        Number of blocks; the sides shrink by ``2**scales``.
    latent : int
        Channels of the latent.

    Raises
    ------
    UserError
        If one of them is no whole number of at least 1, or `scales` is above 30.
    """

    def __init__(self, depth: int = 16, scales: int = 4, latent: int = 16) -> None:
        super().__init__()
        checks.whole("ConvEncoder.depth", depth, 1, checks.SIZE)
        checks.whole("ConvEncoder.scales", scales, 1, SCALES)
        checks.whole("ConvEncoder.latent", latent, 1, checks.SIZE)
        self.depth, self.scales, self.latent = depth, scales, latent
        self.layers: nn.Sequential = Unbuilt("ConvEncoder.build(data_shape)")

    def build(self, data_shape: Shape) -> Shape:
        """Make the layers for images ``[C, H, W]`` or sequences ``[C, L]``.

        Returns
        -------
        tuple of int
            ``(latent, H / 2**scales, W / 2**scales)`` or ``(latent, L / 2**scales)``.

        Raises
        ------
        UserError
            If the data are neither, or ``2**scales`` doesn't divide their sides.
        """
        grid, channels_in, sides = _on_grid(data_shape, "ConvEncoder", "data", "MLPEncoder")
        factor = 2**self.scales
        if any(side % factor for side in sides):
            raise UserError(
                f"ConvEncoder.scales = {self.scales} needs {grid.name} whose {grid.extents} are multiples of {factor}; "
                f"those of Experiment.dataset are {_by(sides)}"
            )
        layers: list[nn.Module] = [grid.same(channels_in, self.depth, kernel=1)]
        channels = [self.depth, *(self.depth * 2**s for s in range(self.scales))]
        for before, after in pairwise(channels):
            layers += [
                grid.same(before, after),
                nn.LeakyReLU(SLOPE),
                grid.same(after, after),
                nn.LeakyReLU(SLOPE),
                grid.pool(2),
            ]
        top = self.depth * 2**self.scales
        layers += [grid.same(channels[-1], top), nn.LeakyReLU(SLOPE), grid.same(top, self.latent)]
        self.layers = Chain(*layers)
        return self.latent, *(side // factor for side in sides)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features ``[B, *latent_shape]`` of data ``[B, *data_shape]``."""
        out: Tensor = self.layers(x)
        return out


class ConvDecoder(Decoder):
    """The paper's decoder: `scales` blocks of two 3x3 convs and a 2x nearest upsampling, two closing convs.

    On sequences the same with kernels of 3.

    Parameters
    ----------
    depth : int
        Channels of the last block; each block before it has twice as many.
    scales : int
        Number of blocks; the latent's sides grow by ``2**scales``.

    Raises
    ------
    UserError
        If one of them is no whole number of at least 1, or `scales` is above 30.
    """

    def __init__(self, depth: int = 16, scales: int = 4) -> None:
        super().__init__()
        checks.whole("ConvDecoder.depth", depth, 1, checks.SIZE)
        checks.whole("ConvDecoder.scales", scales, 1, SCALES)
        self.depth, self.scales = depth, scales
        self.layers: nn.Sequential = Unbuilt("ConvDecoder.build(latent_shape, data_shape)")

    def build(self, latent_shape: Shape, data_shape: Shape) -> None:
        """Make the layers from ``[c, h, w]`` to ``[C, h * 2**scales, w * 2**scales]``, or ``[c, l]`` to ``[C, ...]``.

        Raises
        ------
        UserError
            If the two shapes are not both images or both sequences, whose sides differ by ``2**scales``.
        """
        grid, channels_out, sides = _on_grid(data_shape, "ConvDecoder", "data", "MLPDecoder")
        grid_in, channels_in, small = _on_grid(latent_shape, "ConvDecoder", "latents", "MLPDecoder")
        grown = tuple(side * 2**self.scales for side in small)
        if grown != sides:
            raise UserError(
                f"ConvDecoder.scales = {self.scales} turns the encoder's latents of {_by(small)} into {grid_in.name} "
                f"of {_by(grown)}, but the dataset's {grid.name} are {_by(sides)}: "
                f"ConvEncoder.scales must be the same"
            )
        layers: list[nn.Module] = []
        channels = [channels_in, *(self.depth * 2**s for s in reversed(range(self.scales)))]
        for before, after in pairwise(channels):
            layers += [grid.same(before, after), nn.LeakyReLU(SLOPE), grid.same(after, after), nn.LeakyReLU(SLOPE)]
            layers += [nn.Upsample(scale_factor=2, mode="nearest")]
        layers += [grid.same(channels[-1], self.depth), nn.LeakyReLU(SLOPE), grid.same(self.depth, channels_out)]
        self.layers = Chain(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Return ``[B, *data_shape]``, what the likelihood reads, for latents ``[B, *latent_shape]``."""
        out: Tensor = self.layers(z)
        return out


def _on_grid(shape: Shape, who: str, what: str, instead: str) -> tuple[Grid, int, Shape]:
    """Return the grid that `shape` lies on, its channels and its sides."""
    grid = GRIDS.get(len(shape) - 1)
    if grid is None:
        raise UserError(
            f"{who} works on images [C, H, W] and sequences [C, L]; here it meets {what} of shape {list(shape)}: "
            f"{instead} takes any shape"
        )
    return grid, shape[0], shape[1:]


def _by(sides: Sequence[int]) -> str:
    return " x ".join(map(str, sides))
