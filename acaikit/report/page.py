"""A page of tiles with words around them, as a PNG file.

The tiles' pixels are composed here and placed unscaled. All lengths are in output pixels, right of and above the lower
left corner of the tiles. The same page gives the same bytes, as long as matplotlib stays the same.
"""

from __future__ import annotations

import io
from collections.abc import Collection
from math import ceil, floor
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.transforms import Affine2D, Bbox, IdentityTransform

from acaikit.artifacts.publish import publish
from acaikit.report.style import STYLE, levels, points
from acaikit.report.tiles import Tiles


class Page:
    """A white page.

    Parameters
    ----------
    height, width : int
        The room for the tiles; the page grows with the words around them.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self._pixels = np.full((height, width, 3), 255, np.uint8)
        self._artists: list[Artist] = []

    def row(self, tiles: Tiles, chosen: Collection[int], top: int, framed: Collection[int] = ()) -> None:
        """Set the `chosen` tiles side by side, `top` below the upper edge, each with a frame or a hairline around it.

        `framed` are the places in the row, from 0, that get the frame.
        """
        pad, (high, wide) = STYLE["pad"], tiles.cell
        for place, i in enumerate(chosen):
            cell = self._pixels[top : top + high, wide * place : wide * (place + 1)]
            line, colour = (STYLE["frame"], "accent") if place in framed else (1, "edge")
            cell[pad - line : line - pad, pad - line : line - pad] = levels(colour)
            cell[pad:-pad, pad:-pad] = tiles.pixels[i]
            middle = Affine2D().translate(wide * (place + 0.5), self.height - top - high / 2)
            for curve in tiles.curves[i]:
                curve.set_transform(middle)
                self._artists.append(curve)

    def write(
        self, x: float, y: float, words: str, align: str = "center", colour: str = "muted", size: str = "text"
    ) -> None:
        """Write one line with its middle at `y` and its `align` edge at `x`."""
        weight = "bold" if size == "title" else "normal"
        font = FontProperties(family=STYLE["font"], size=points(STYLE[size]), weight=weight)
        transform = IdentityTransform()
        text = Text(x, y, " ".join(words.split()), color=STYLE[colour], fontproperties=font, transform=transform)
        text.set(horizontalalignment=align, verticalalignment="center_baseline", usetex=False, parse_math=False)
        self._artists.append(text)

    def title(self, words: str, above: float = 32) -> None:
        """Write a heading, `above` the tiles."""
        self.write(STYLE["pad"], self.height + above, words, "left", "ink", "title")

    def name(self, words: str, middle: float) -> None:
        """Write what a row is called at its left, around `middle` below the upper edge."""
        self.write(-8, self.height - middle, words, "right", "ink")

    def note(self, *paragraphs: str, below: float = 20) -> None:
        """Write paragraphs, the first line `below` the tiles."""
        lines = [line for words in paragraphs for line in wrap(words, max(44, self.width // 10))]
        for i, line in enumerate(lines):
            self.write(STYLE["pad"], -below - 26 * i, line, "left")

    def save(self, file: Path) -> None:
        """Write the page as a PNG file that has room for everything, replacing the file if it is there."""
        figure = Figure(dpi=STYLE["dpi"], facecolor="white")
        canvas: Any = FigureCanvasAgg(figure)
        for artist in self._artists:
            figure.add_artist(artist)
        boxes = [artist.get_window_extent(canvas.get_renderer()) for artist in self._artists]
        box = Bbox.union([Bbox.from_bounds(0, 0, self.width, self.height), *boxes])
        left, bottom = (STYLE["margin"] - floor(low) for low in box.min)
        width, height = left + ceil(box.x1) + STYLE["margin"], bottom + ceil(box.y1) + STYLE["margin"]
        figure.set_size_inches(width / STYLE["dpi"], height / STYLE["dpi"])
        for artist in self._artists:
            artist.set_transform(artist.get_transform() + Affine2D().translate(left, bottom))
        figure.figimage(self._pixels, left, bottom, origin="upper")
        png = io.BytesIO()
        canvas.print_png(png, metadata={"Software": None})
        publish(file, png.getvalue())
