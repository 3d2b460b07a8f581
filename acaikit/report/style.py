"""How the pictures look. All lengths are in output pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

STYLE: dict[str, Any] = {
    "font": "DejaVu Sans",
    "dpi": 192,  # 16 columns of images come out 6.6 inches wide; n / 192 * 192 is exact in floating point
    "title": 25,
    "text": 19,  # 7.1 points
    "tile": 56,  # the width aimed at for an image among many: the nearest integer scale is taken
    "plot": 98,  # and for a plot among many
    "pad": 6,  # white around each tile; frames are drawn inside it
    "gap": 16,  # white between groups of rows
    "apart": 44,  # white between pages in one file
    "frame": 3,
    "curve": 2.2,
    "margin": 28,
    "ink": "#1a1a1a",
    "muted": "#5c5c5c",
    "accent": "#d55e00",  # Okabe and Ito's vermilion: told from grey with any colour vision
    "edge": "#d4d4d4",  # a hairline, so that white tiles show on white paper
    "curves": {  # Okabe and Ito's
        "black": "#1a1a1a",
        "vermilion": "#d55e00",
        "blue": "#0072b2",
        "green": "#009e73",
        "pink": "#cc79a7",
        "orange": "#e69f00",
        "sky blue": "#56b4e9",
    },
}


def points(length: float) -> float:
    """Return a length in points, matplotlib's unit of text and lines."""
    return length * 72 / float(STYLE["dpi"])


def levels(colour: str) -> NDArray[np.uint8]:
    """Return the red, green and blue of a colour of the style, or of any that matplotlib knows; uint8 [3]."""
    return np.rint(np.multiply(to_rgb(STYLE.get(colour, colour)), 255)).astype(np.uint8)
