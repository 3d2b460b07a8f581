"""A page of tiles with words around them, as a PNG, PDF or SVG file; several pages in one file stand in a column.

The tiles' pixels are composed here and placed unscaled. All lengths are in output pixels, right of and above the lower
left corner of the tiles; words and curves stay words and curves in a PDF or SVG file.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
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

from acaikit.report import output
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
        """Write a heading, its last line `above` the tiles."""
        lines = wrap(" ".join(words.split()), max(36, self.width // 14), break_on_hyphens=False)
        for i, line in enumerate(reversed(lines)):
            self.write(STYLE["pad"], self.height + above + 34 * i, line.removesuffix(" ·"), "left", "ink", "title")

    def name(self, words: str, middle: float) -> None:
        """Write what a row is called at its left, around `middle` below the upper edge."""
        self.write(-8, self.height - middle, words, "right", "ink")

    def note(self, *paragraphs: str, below: float = 20) -> None:
        """Write paragraphs, the first line `below` the tiles."""
        lines = [
            line for words in paragraphs for line in wrap(words, max(44, self.width // 10), break_on_hyphens=False)
        ]
        for i, line in enumerate(lines):
            self.write(STYLE["pad"], -below - 26 * i, line, "left")

    def save(self, file: Path) -> None:
        """Write the page alone; see `save`."""
        save([self], file)

    def draw(self, figure: Figure, renderer: Any) -> Bbox:
        """Put the words and curves on a figure, and return the room that they and the tiles take."""
        for artist in self._artists:
            figure.add_artist(artist)
        boxes = [artist.get_window_extent(renderer) for artist in self._artists]
        return Bbox.union([Bbox.from_bounds(0, 0, self.width, self.height), *boxes])

    def move(self, figure: Figure, left: int, bottom: int) -> None:
        """Give the tiles, and everything around them, their place on the figure."""
        # In inches, so that it is the same place whatever the dots per inch of the file's format.
        place = Affine2D().translate(left, bottom).scale(1 / STYLE["dpi"]) + figure.dpi_scale_trans
        for artist in self._artists:
            artist.set_transform(artist.get_transform() + place)
        figure.figimage(self._pixels, left, bottom, origin="upper")


def save(pages: Sequence[Page], file: Path) -> None:
    """Write pages below each other to a file that has room for everything, replacing the file if it is there.

    Parameters
    ----------
    pages : sequence of Page
        At least one; a page can be saved once.
    file : Path
        Its ending is .png, .pdf or .svg.

    Raises
    ------
    UserError
        If it has another ending.
    OSError
        If it can't be written.
    """
    figure = Figure(dpi=STYLE["dpi"], facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)
    boxes = [page.draw(figure, canvas.get_renderer()) for page in pages]
    left = STYLE["margin"] - min(floor(box.x0) for box in boxes)
    width = left + max(ceil(box.x1) for box in boxes) + STYLE["margin"]
    bottom = STYLE["margin"]
    for page, box in reversed([*zip(pages, boxes, strict=True)]):
        page.move(figure, left, bottom - floor(box.y0))
        bottom += ceil(box.y1) - floor(box.y0) + STYLE["apart"]
    height = bottom - STYLE["apart"] + STYLE["margin"]
    figure.set_size_inches(width / STYLE["dpi"], height / STYLE["dpi"])
    output.save(figure, file)
