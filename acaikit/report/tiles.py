"""From examples to tiles: an image becomes its pixels, a sequence or vector becomes curves over a hairline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from acaikit.report.style import STYLE, levels, points


@dataclass(frozen=True)
class Tiles:
    """Tiles of one size, in the order of their examples.

    Attributes
    ----------
    pixels : ndarray
        uint8 ``[N, h, w, 3]``.
    curves : list of list of Line2D
        What is drawn on each tile, in output pixels right of and above its middle; nothing on images.
    note : str
        How to read them; empty for images.
    """

    pixels: NDArray[np.uint8]
    curves: list[list[Line2D]]
    note: str = ""

    @property
    def cell(self) -> tuple[int, int]:
        """Height and width of a tile with the white around it."""
        high, wide = self.pixels.shape[1:3]
        return high + 2 * STYLE["pad"], wide + 2 * STYLE["pad"]


def tiles(
    name: str, examples: np.ndarray, axes: str = "N", *, width: float = 0, behind: np.ndarray | None = None
) -> Tiles:
    """Make a tile of each example.

    Each pixel of an image becomes a square of an integer number of pixels. A sequence or vector becomes a line over its
    positions, a colour per channel.

    Parameters
    ----------
    name : str
        What the examples are called in an error message.
    examples : ndarray
        Floats in [-1, 1], values outside are clipped: images ``[..., C, H, W]`` with C 1 (grey) or 3 (RGB), sequences
        ``[..., C, L]`` or vectors ``[..., D]``; nothing empty.
    axes : str
        The axes that number the examples: "P, N" for ``[P, N, C, H, W]``. The tiles come in a row.
    width : float
        About how wide an image is to be, in output pixels; taken as 56 if it is less, and as 224 if it is more. A plot
        is wider by three quarters, as far as 300.
    behind : ndarray, optional
        For sequences and vectors, of the shape of `examples`: what is drawn pale behind them.

    Raises
    ------
    ValueError
        If `examples` has another shape, is not of floats or holds NaN.
    """
    lead = axes.count(",") + 1
    shape = examples.shape[lead:]
    if not 1 <= len(shape) <= 3 or 0 in examples.shape or (len(shape) == 3 and shape[0] not in (1, 3)):
        raise ValueError(
            f"{name} must be images [{axes}, C, H, W] with C 1 or 3, sequences [{axes}, C, L] or vectors [{axes}, D], "
            f"with nothing empty, got shape {examples.shape}"
        )
    layers = [examples] if behind is None else [behind, examples]
    for layer in layers:
        if not np.issubdtype(layer.dtype, np.floating) or np.isnan(layer).any():
            raise ValueError(f"{name} must be floats in [-1, 1] without NaN, got {layer.dtype}")
    flat = [np.clip(layer, -1, 1).reshape(-1, *shape) for layer in layers]
    return _images(flat[-1], width) if len(shape) == 3 else _plots(flat, width)


def _images(examples: np.ndarray, width: float) -> Tiles:
    """Enlarge images [N, C, H, W] by an integer."""
    scale = max(1, round(min(4 * STYLE["tile"], max(STYLE["tile"], width)) / examples.shape[-1]))
    pixels = np.rint((examples + 1) * 127.5).astype(np.uint8)
    pixels = np.moveaxis(pixels, -3, -1).repeat(scale, axis=-3).repeat(scale, axis=-2)
    return Tiles(np.broadcast_to(pixels, (*pixels.shape[:-1], 3)), [[] for _ in examples])


def _plots(layers: list[np.ndarray], width: float) -> Tiles:
    """Plot sequences [N, C, L] or vectors [N, D], the first layer pale behind the last where there are two."""
    count, length = len(layers[0]), layers[0].shape[-1]
    wide = round(min(300, max(STYLE["plot"], 1.75 * width - 2 * STYLE["pad"])))
    high = wide // 4 * 2 + 1
    pixels = np.full((count, high, wide, 3), 255, np.uint8)
    pixels[:, high // 2] = levels("edge")
    curves: list[list[Line2D]] = [[] for _ in range(count)]
    for layer in layers:
        for drawn, example in zip(curves, layer, strict=True):
            drawn += _curves(np.atleast_2d(example), high, wide, pale=layer is not layers[-1])
    channels = len(np.atleast_2d(layers[0][0]))
    note = f"Up: values from −1 to 1, with a hairline at 0. Across: {length:,} position{'s' * (length > 1)}."
    if channels > 1:
        again = ", and again" * (channels > len(STYLE["curves"]))
        note += f" {channels:,} channels: {', '.join([*STYLE['curves']][:channels])}{again}."
    return Tiles(pixels, curves, note)


def _curves(example: np.ndarray, high: int, wide: int, *, pale: bool) -> Iterator[Line2D]:
    """Draw [C, L] around the origin, a line per channel."""
    length, width = example.shape[-1], STYLE["curve"] * (2.5 if pale else 1)
    across = wide * ((np.arange(length) + 0.5) / length - 0.5)
    dots: dict[str, Any] = {"marker": "o", "markersize": points(2.8 + width)} if wide >= 10 * length else {}
    for values, named in zip(example, cycle(STYLE["curves"].values()), strict=False):
        colour = np.array(to_rgb(named))
        yield Line2D(
            across,
            values * (high / 2 - 6),
            linewidth=points(width),
            color=tuple(0.3 * colour + 0.7 if pale else colour),
            solid_joinstyle="round",
            **dots,
        )
