"""The pictures of a run and of its data: paths through latent space, reconstructions and samples, each as a page.

An example is an image, a sequence or a vector; `tiles` says how each looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np

from acaikit.report.page import Page
from acaikit.report.style import STYLE
from acaikit.report.tiles import tiles

MOST = 16
"""Tiles in a row at most, where their number is not given."""


def interpolation(paths: np.ndarray, *, title: str, labels: Sequence[str] | None = None) -> Page:
    """Draw one row for each pair and one column for each step along its path; the two ends are framed.

    Parameters
    ----------
    paths : numpy.ndarray
        Floats in [-1, 1], values outside are clipped, of P pairs and N steps: images [P, N, C, H, W] with C 1 (grey) or
        3 (RGB), sequences [P, N, C, L] or vectors [P, N, D]; P from 1, N from 2.
    title : str
        The heading: what is shown, and of which run.
    labels : sequence of str, optional
        P names, written to the left of the rows.

    Returns
    -------
    Page
        To be saved.

    Raises
    ------
    ValueError
        If ``paths`` has another shape, is not of floats or holds NaN, or if there are not P ``labels``.
    """
    note = "Framed: reconstructions of the two ends, x₁ and x₂. Between: decoded codes along the path, α from 0 to 1."
    return _strips(paths, title, labels, note, 0)


def strips(
    paths: np.ndarray, *, title: str, labels: Sequence[str], notes: Sequence[str], data_space: np.ndarray | None = None
) -> Page:
    """Draw one row for each model, all between the same two examples (paper, figure 3).

    Parameters
    ----------
    paths, title, labels
        As for `interpolation`, of P models in place of P pairs.
    notes : sequence of str
        Paragraphs below the rows.
    data_space : numpy.ndarray, optional
        A path of N steps that no model made, set apart above the others.

    Returns
    -------
    Page
        To be saved.

    Raises
    ------
    ValueError
        As for `interpolation`.
    """
    note = "Framed: each model's reconstructions of the two ends, x₁ and x₂. Between: decoded codes, α from 0 to 1."
    if data_space is None:
        return _strips(paths, title, labels, note, 0, *notes)
    first = "Data space: (1 − α) x₁ + α x₂, framed: the two test examples themselves."
    both = np.concatenate([data_space[None].astype(paths.dtype), paths])
    return _strips(both, title, ["data space", *labels], f"{first} {note}", 1, *notes)


def _strips(paths: np.ndarray, title: str, labels: Sequence[str] | None, note: str, apart: int, *notes: str) -> Page:
    """Draw a row for each path, the first `apart` of them set apart from the others."""
    shown = tiles("paths", paths, "P, N")
    rows, steps = paths.shape[:2]
    if steps < 2:
        raise ValueError(f"paths must have at least 2 steps (N), got shape {paths.shape}")
    if labels is not None and len(labels) != rows:
        raise ValueError(f"labels must name each of the {rows} pairs, got {len(labels)}")
    high, wide = shown.cell
    tops = [i * high + (i >= apart > 0) * STYLE["gap"] for i in range(rows)]
    page = Page(tops[-1] + high, steps * wide)
    page.title(title, above=54)
    for i, top in enumerate(tops):
        page.row(shown, range(i * steps, (i + 1) * steps), top, framed=(0, steps - 1))
    for name, top in zip(labels or (), tops, strict=False):
        page.name(name, top + high / 2)
    for i in range(steps):
        alpha = {0: "α = 0", steps - 1: "α = 1"}.get(i, f"{i / (steps - 1):.2f}")
        page.write(wide * (i + 0.5), -12, alpha)
    for i, end in ((0, "x₁"), (steps - 1, "x₂")):
        page.write(wide * (i + 0.5), page.height + 12, end, colour="accent")
    page.note(note, shown.note, *notes, below=48)
    return page


def reconstruction(originals: np.ndarray, reconstructions: np.ndarray, *, title: str) -> Page:
    """Draw originals with their reconstructions.

    Images stand above their reconstructions; more than 16 are wrapped to several double rows. Sequences and vectors are
    drawn pale behind theirs; more than 8 are wrapped to several rows.

    Parameters
    ----------
    originals, reconstructions : numpy.ndarray
        Floats in [-1, 1] of one shape, values outside are clipped: images [M, C, H, W] with C 1 (grey) or 3 (RGB),
        sequences [M, C, L] or vectors [M, D]; M from 1.
    title : str
        As for `interpolation`.

    Returns
    -------
    Page
        To be saved.

    Raises
    ------
    ValueError
        If the shapes are others or differ, or if the values are not floats or hold NaN.
    """
    if originals.shape != reconstructions.shape:
        raise ValueError(f"originals {originals.shape} and reconstructions {reconstructions.shape} differ in shape")
    if originals.ndim > 3:
        most, note = MOST, ""
        lines = {"input": tiles("originals", originals), "reconstruction": tiles("reconstructions", reconstructions)}
    else:
        overlaid = tiles("examples", reconstructions, width=2 * STYLE["tile"], behind=originals)
        most, note = MOST // 2, f"Pale: input. Over it: reconstruction. {overlaid.note}"
        lines = {"": overlaid}
    high, wide = next(iter(lines.values())).cell
    groups = ceil(len(originals) / most)
    columns = ceil(len(originals) / groups)  # rows of nearly equal length
    group, gap = high * len(lines), STYLE["gap"] if len(lines) > 1 else 0
    page = Page(groups * (group + gap) - gap, columns * wide)
    page.title(title)
    for i in range(groups):
        chosen = range(len(originals))[i * columns : (i + 1) * columns]
        for j, (name, shown) in enumerate(lines.items()):
            top = i * (group + gap) + j * high
            page.row(shown, chosen, top)
            page.name(name, top + high / 2)
    page.note(note)
    return page


def samples(examples: np.ndarray, labels: np.ndarray | None, class_names: Sequence[str], *, title: str) -> Page:
    """Draw examples, a row per class with its name at the left, or all together where there are no labels.

    Parameters
    ----------
    examples : numpy.ndarray
        Floats in [-1, 1], values outside are clipped: images [N, C, H, W] with C 1 (grey) or 3 (RGB), sequences
        [N, C, L] or vectors [N, D]; nothing empty.
    labels : numpy.ndarray or None
        Integers [N]; a class without examples gets no row.
    class_names : sequence of str
        The name of each label; a label beyond them is written as its number.
    title : str
        As for `interpolation`.

    Returns
    -------
    Page
        To be saved.

    Raises
    ------
    ValueError
        If ``examples`` has another shape, is not of floats or holds NaN, or if there are not N ``labels``.
    """
    if labels is not None and len(labels) != len(examples):
        raise ValueError(f"labels must be one for each of the {len(examples)} examples, got {len(labels)}")
    classes = _by_class(labels, class_names) if labels is not None else {"": np.arange(len(examples))}
    most = max(map(len, classes.values()), default=0)
    shown = tiles("examples", examples, width=620 / max(1, most, len(classes)))
    high, wide = shown.cell
    columns = max(1, min(most, MOST, 1220 // wide))
    blocks = {name: np.array_split(rows, ceil(len(rows) / columns)) for name, rows in classes.items()}
    gap = STYLE["gap"] if any(len(lines) > 1 for lines in blocks.values()) else 0
    height = sum(len(lines) * high + gap for lines in blocks.values()) - gap
    page = Page(height, wide * max(len(lines[0]) for lines in blocks.values()))
    page.title(title)
    top = 0
    for name, lines in blocks.items():
        page.name(shorten(name), top + len(lines) * high / 2)
        for line in lines:
            page.row(shown, line, top)
            top += high
        top += gap
    page.note(shown.note)
    return page


def _by_class(labels: np.ndarray, class_names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the positions of each class's examples, by its name; two classes of one name stay apart."""
    found: dict[str, np.ndarray] = {}
    for label in np.unique(labels):
        name = class_names[label] if label < len(class_names) else str(label)
        found[name if name not in found else f"{name} ({label})"] = np.flatnonzero(labels == label)
    return found


def shorten(name: str, most: int = 28) -> str:
    """Return a name that fits beside a row, with its middle left out where it is too long."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-(most // 2 - 1) :]}"
