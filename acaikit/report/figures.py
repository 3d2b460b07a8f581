"""The pictures of a run and of its data: paths through latent space, reconstructions and samples, as PNG files.

Each source pixel becomes an exact square of output pixels: the mosaic is composed here and placed on the page unscaled.
All lengths are in output pixels. The same arguments give the same bytes, as long as matplotlib stays the same.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from math import ceil, floor, sqrt
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Affine2D, Bbox, IdentityTransform

from acaikit.artifacts.publish import publish

STYLE: dict[str, Any] = {
    "font": "DejaVu Sans",
    "dpi": 192,  # 16 columns come out 6.6 inches wide; n / 192 * 192 is exact in floating point
    "title": 25,
    "text": 18,
    "tile": 56,  # the width aimed at: the nearest integer scale is taken
    "pad": 6,  # white around each tile; frames are drawn inside it
    "frame": 3,
    "margin": 28,
    "ink": "#1a1a1a",
    "muted": "#5c5c5c",
    "accent": "#d55e00",  # Okabe and Ito's vermilion: told from grey with any colour vision
    "edge": "#d4d4d4",  # a hairline, so that white tiles show on white paper
    "curves": ("#1a1a1a", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),  # Okabe and Ito's
}


def interpolation(paths: np.ndarray, file: Path, *, title: str, labels: Sequence[str] | None = None) -> None:
    """Draw one row for each pair and one column for each step along its path; the two ends are framed.

    Parameters
    ----------
    paths : numpy.ndarray
        Floats [P, N, C, H, W] in [-1, 1], values outside are clipped; P from 1, N from 2, C 1 (grey) or 3 (RGB).
    file, title : Path, str
        The PNG file to write, replaced if it is there, and its heading: what is shown, and of which run.
    labels : sequence of str, optional
        P names, written to the left of the rows.

    Raises
    ------
    ValueError
        If ``paths`` has another shape, is not of floats or holds NaN, or if there are not P ``labels``.
    """
    tiles = _tiles("paths", paths, "[P, N, C, H, W]")
    rows, steps = tiles.shape[:2]
    if steps < 2:
        raise ValueError(f"paths must have at least 2 steps (N), got shape {paths.shape}")
    if labels is not None and len(labels) != rows:
        raise ValueError(f"labels must name each of the {rows} pairs, got {len(labels)}")
    mosaic = np.concatenate([_row(row, framed=(0, steps - 1)) for row in tiles])
    high, wide, pad = len(mosaic) / rows, mosaic.shape[1] / steps, STYLE["pad"]
    texts = [_text(pad, len(mosaic) + 54, title, "left", "ink", "title")]
    texts += [_text(-8, high * (rows - i - 0.5), name, "right", "ink") for i, name in enumerate(labels or ())]
    for i in range(steps):
        alpha = {0: "α = 0", steps - 1: "α = 1"}.get(i, f"{i / (steps - 1):.2f}")
        texts.append(_text(wide * (i + 0.5), -12, alpha))
    for x, end in ((wide / 2, "x₁"), (wide * (steps - 0.5), "x₂")):
        texts.append(_text(x, len(mosaic) + 12, end, "center", "accent"))
    note = "Framed: reconstructions of the two ends, x₁ and x₂. Between: decoded codes along the path, α from 0 to 1."
    texts += [_text(pad, -48 - 26 * i, s, "left") for i, s in enumerate(_wrapped(note, mosaic))]
    _save(mosaic, texts, file)


def reconstruction(originals: np.ndarray, reconstructions: np.ndarray, file: Path, *, title: str) -> None:
    """Draw originals above their reconstructions; more than 16 are wrapped to several double rows.

    Parameters
    ----------
    originals, reconstructions : numpy.ndarray
        Floats [M, C, H, W] each, in [-1, 1], values outside are clipped; M from 1, C 1 (grey) or 3 (RGB).
    file, title
        As for `interpolation`.

    Raises
    ------
    ValueError
        If the shapes are others or differ, or if the values are not floats or hold NaN.
    """
    if originals.shape != reconstructions.shape:
        raise ValueError(f"originals {originals.shape} and reconstructions {reconstructions.shape} differ in shape")
    upper, lower = (_tiles("images", images, "[M, C, H, W]") for images in (originals, reconstructions))
    doubles = ceil(len(upper) / 16)
    columns = ceil(len(upper) / doubles)  # rows of nearly equal length
    high, wide = upper.shape[1] + 2 * STYLE["pad"], upper.shape[2] + 2 * STYLE["pad"]
    mosaic = np.full((doubles * (2 * high + 16) - 16, columns * wide, 3), 255, np.uint8)
    texts = [_text(STYLE["pad"], len(mosaic) + 32, title, "left", "ink", "title")]
    for i in range(2 * doubles):
        name, tiles = ("reconstruction", lower) if i % 2 else ("input", upper)
        top, first = i * high + i // 2 * 16, i // 2 * columns
        row = _row(tiles[first : first + columns])
        mosaic[top : top + high, : row.shape[1]] = row
        texts.append(_text(-8, len(mosaic) - top - high / 2, name, "right", "ink"))
    _save(mosaic, texts, file)


def samples(
    examples: np.ndarray, labels: np.ndarray | None, class_names: Sequence[str], file: Path, *, title: str
) -> None:
    """Draw examples, a row per class with its name at the left, or a plain grid where there are no labels.

    Images are drawn as they are. Sequences and vectors are drawn as lines over their positions, a colour per channel.

    Parameters
    ----------
    examples : numpy.ndarray
        Floats in [-1, 1], values outside are clipped: images [N, C, H, W] with C 1 (grey) or 3 (RGB), sequences
        [N, C, L] or vectors [N, D]; nothing empty.
    labels : numpy.ndarray or None
        Integers [N]; a class without examples gets no row.
    class_names : sequence of str
        The name of each label; a label beyond them is written as its number.
    file, title
        As for `interpolation`.

    Raises
    ------
    ValueError
        If ``examples`` has another shape, is not of floats or holds NaN, or if there are not N ``labels``.
    """
    if labels is not None and len(labels) != len(examples):
        raise ValueError(f"labels must be one for each of the {len(examples)} examples, got {len(labels)}")
    classes = _by_class(labels, class_names) if labels is not None else {"": np.arange(len(examples))}
    most = max(map(len, classes.values()), default=0)
    columns = max(1, most if labels is not None else ceil(sqrt(most)))
    curves, side = examples.ndim < 4, max(columns, len(classes))  # a few are drawn larger
    tiles = _axes(examples, 1080 / side) if curves else _tiles("examples", examples, "[N, C, H, W]", 620 / side)
    high, wide = (n + 2 * STYLE["pad"] for n in tiles.shape[1:3])
    columns = max(1, min(columns, 16, 1100 // wide))
    blocks = {name: np.array_split(rows, ceil(len(rows) / columns)) for name, rows in classes.items()}
    gap = 16 if any(len(lines) > 1 for lines in blocks.values()) else 0
    height = sum(len(lines) * high + gap for lines in blocks.values()) - gap
    mosaic = np.full((height, wide * max(len(lines[0]) for lines in blocks.values()), 3), 255, np.uint8)
    artists: list[Artist] = [_text(STYLE["pad"], height + 32, title, "left", "ink", "title")]
    top = 0
    for name, lines in blocks.items():
        artists.append(_text(-8, height - top - len(lines) * high / 2, shorten(name), "right", "ink"))
        for line in lines:
            row = _row(tiles[line])
            mosaic[top : top + high, : row.shape[1]] = row
            for i, example in enumerate(examples[line] if curves else ()):
                artists += _curves(example, wide * (i + 0.5), height - top - high / 2, tiles.shape[2], tiles.shape[1])
            top += high
        top += gap
    if curves:
        note = f"Up: values from −1 to 1, with a hairline at 0. Across: {examples.shape[-1]:,} positions."
        artists += [_text(STYLE["pad"], -20 - 26 * i, s, "left") for i, s in enumerate(_wrapped(note, mosaic))]
    _save(mosaic, artists, file)


def _by_class(labels: np.ndarray, class_names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the positions of each class's examples, by its name; two classes of one name stay apart."""
    found: dict[str, np.ndarray] = {}
    for label in np.unique(labels):
        name = class_names[label] if label < len(class_names) else str(label)
        found[name if name not in found else f"{name} ({label})"] = np.flatnonzero(labels == label)
    return found


def _axes(examples: np.ndarray, width: float) -> np.ndarray:
    """Check vectors or sequences, and return a white tile [h, w, 3] with a line at 0 for each, about `width` wide."""
    if examples.ndim not in (2, 3) or 0 in examples.shape:
        raise ValueError(
            f"examples must be [N, C, H, W], [N, C, L] or [N, D] with nothing empty, got shape {examples.shape}"
        )
    _check_floats("examples", examples)
    wide = round(min(300, max(98, width - 2 * STYLE["pad"])))
    high = wide // 4 * 2 + 1
    tiles = np.full((len(examples), high, wide, 3), 255, np.uint8)
    tiles[:, high // 2] = np.rint(np.multiply(to_rgb(STYLE["edge"]), 255))
    return tiles


def _curves(example: np.ndarray, x: float, y: float, width: int, height: int) -> list[Artist]:
    """Draw a vector [D] or a sequence [C, L] around the middle ``(x, y)``, a line per channel."""
    channels, length = np.atleast_2d(example), example.shape[-1]
    across = x + width * ((np.arange(length) + 0.5) / length - 0.5)
    dots = {"marker": "o", "markersize": 5 * 72 / STYLE["dpi"]} if length <= 32 else {}
    return [
        Line2D(
            across,
            y + np.clip(values, -1, 1) * (height / 2 - 6),
            linewidth=2.2 * 72 / STYLE["dpi"],
            color=STYLE["curves"][i % len(STYLE["curves"])],
            transform=IdentityTransform(),
            solid_joinstyle="round",
            **dots,
        )
        for i, values in enumerate(channels)
    ]


def shorten(name: str, most: int = 28) -> str:
    """Return a name that fits beside a row, with its middle left out where it is too long."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-(most // 2 - 1) :]}"


def _wrapped(note: str, mosaic: np.ndarray) -> list[str]:
    return wrap(note, max(44, mosaic.shape[1] // 10))


def _tiles(name: str, images: np.ndarray, axes: str, wanted: float = 0) -> np.ndarray:
    """Check images [..., C, H, W] and enlarge them to uint8 [..., h, w, 3], about `wanted` wide: one to four tiles."""
    if images.ndim != len(axes.split(",")) or 0 in images.shape or images.shape[-3] not in (1, 3):
        raise ValueError(f"{name} must be {axes} with C 1 or 3 and nothing empty, got shape {images.shape}")
    _check_floats(name, images)
    levels = np.rint((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8)
    scale = max(1, round(min(4 * STYLE["tile"], max(STYLE["tile"], wanted)) / images.shape[-1]))
    pixels = np.moveaxis(levels, -3, -1).repeat(scale, axis=-3).repeat(scale, axis=-2)
    return np.broadcast_to(pixels, (*pixels.shape[:-1], 3))


def _check_floats(name: str, values: np.ndarray) -> None:
    if not np.issubdtype(values.dtype, np.floating) or np.isnan(values).any():
        raise ValueError(f"{name} must be floats in [-1, 1] without NaN, got {values.dtype}")


def _row(tiles: np.ndarray, framed: Sequence[int] = ()) -> np.ndarray:
    """Set uint8 tiles [K, h, w, 3] side by side, each in its white pad, with a frame or hairline around its pixels."""
    pad, cells = STYLE["pad"], []
    for i, tile in enumerate(tiles):
        line, colour = (STYLE["frame"], STYLE["accent"]) if i in framed else (1, STYLE["edge"])
        cell = np.pad(tile, ((pad, pad), (pad, pad), (0, 0)), constant_values=255)
        cell[pad - line : line - pad, pad - line : line - pad] = np.rint(np.multiply(to_rgb(colour), 255))
        cell[pad:-pad, pad:-pad] = tile
        cells.append(cell)
    return np.concatenate(cells, axis=1)


def _text(x: float, y: float, words: str, align: str = "center", colour: str = "muted", size: str = "text") -> Text:
    """Make a text with its middle at ``y`` and its ``align`` edge at ``x``, right of and above the mosaic's corner."""
    weight, points = "bold" if size == "title" else "normal", STYLE[size] * 72 / STYLE["dpi"]
    font = FontProperties(family=STYLE["font"], size=points, weight=weight)
    text = Text(x, y, " ".join(words.split()), color=STYLE[colour], fontproperties=font, transform=IdentityTransform())
    text.set(horizontalalignment=align, verticalalignment="center_baseline", usetex=False, parse_math=False)
    return text


def _save(mosaic: np.ndarray, artists: Sequence[Artist], file: Path) -> None:
    """Write the mosaic uint8 [h, w, 3] and what stands on and around it as a PNG file that has room for them all."""
    figure = Figure(dpi=STYLE["dpi"], facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)
    for artist in artists:
        figure.add_artist(artist)
    page = [Bbox.from_bounds(0, 0, mosaic.shape[1], len(mosaic))]
    box = Bbox.union(page + [artist.get_window_extent(canvas.get_renderer()) for artist in artists])
    left, bottom = (STYLE["margin"] - floor(low) for low in box.min)
    width, height = left + ceil(box.x1) + STYLE["margin"], bottom + ceil(box.y1) + STYLE["margin"]
    figure.set_size_inches(width / STYLE["dpi"], height / STYLE["dpi"])
    for artist in artists:
        artist.set_transform(Affine2D().translate(left, bottom))
    figure.figimage(mosaic, left, bottom, origin="upper")
    png = io.BytesIO()
    canvas.print_png(png, metadata={"Software": None})
    publish(file, png.getvalue())
