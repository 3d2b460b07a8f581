"""A map of codes in two dimensions, by PCA and by t-SNE side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from acaikit.errors import EvaluationError
from acaikit.report.charts import COLOURS, MARKS, chart
from acaikit.report.figures import shorten
from acaikit.report.style import STYLE

Floats = NDArray[np.float64]

PERPLEXITY = 30.0
"""Of t-SNE, where there are enough codes: the number of neighbours that each looks at (van der Maaten and Hinton)."""

LEGEND = 12
"""Classes beside a map at most; more are named on it alone."""

TEN = [*COLOURS, "#8c8c8c", "#6a3d9a", "#8a5a2b"]
"""Colours of ten classes; the next ten have them again, with other marks."""


@dataclass(frozen=True)
class Map:
    """Codes on a plane, in two ways.

    Attributes
    ----------
    pca, tsne : ndarray
        float64 ``[N, 2]``.
    explained : ndarray
        float64 ``[2]``: the shares of the codes' variance along the two axes of `pca`.
    perplexity : float
        Of t-SNE.
    labels : ndarray or None
        int64 ``[N]``; None draws all codes alike.
    class_names : sequence of str
        The names of the classes; a label beyond them is written as its number.
    """

    pca: Floats
    tsne: Floats
    explained: Floats
    perplexity: float
    labels: NDArray[np.int64] | None
    class_names: Sequence[str]


def flatten(codes: np.ndarray, labels: NDArray[np.int64] | None, class_names: Sequence[str], seed: int) -> Map:
    """Map codes to the plane.

    Parameters
    ----------
    codes : ndarray
        Finite floats ``[N, D]``, N from 3.
    labels, class_names
        See `Map`.
    seed : int
        Of t-SNE, which begins at the PCA.

    Raises
    ------
    EvaluationError
        If a code is not finite, there are fewer than three, or all are the same.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    codes = codes.astype(np.float64)
    if broken := int((~np.isfinite(codes)).any(1).sum()):
        raise EvaluationError(
            f"{broken:,} of {len(codes):,} codes hold NaN or infinity: the model has diverged; draw an earlier "
            f"checkpoint with --step"
        )
    if len(codes) < 3:
        raise EvaluationError(f"a map needs three codes or more, not {len(codes)}: raise --examples")
    if not np.ptp(codes, axis=0).any():
        raise EvaluationError(f"all {len(codes):,} codes are the same: there is nothing to map")
    # A column of zeros gives codes of one number a second axis.
    codes = np.pad(codes, ((0, 0), (0, codes.shape[1] == 1)))
    pca = PCA(2, svd_solver="full").fit(codes)
    flat = pca.transform(codes)
    perplexity = min(PERPLEXITY, (len(codes) - 1) / 3)
    start = (1e-4 * flat / flat[:, 0].std()).astype(np.float32)
    tsne = TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(codes.astype(np.float32))
    return Map(flat, tsne.astype(np.float64), pca.explained_variance_ratio_, perplexity, labels, class_names)


def latent_map(maps: Sequence[Map], file: Path, *, title: str, names: Sequence[str], notes: Sequence[str] = ()) -> None:
    """Draw the maps of several runs below each other.

    Parameters
    ----------
    maps : sequence of Map
        One for each run.
    file : Path
        The PNG, PDF or SVG file to write, replaced if it is there.
    title, notes : str, sequence of str
        The heading, and paragraphs below the figure.
    names : sequence of str
        What the runs are called beside each other.

    Raises
    ------
    UserError
        If the file has another ending.
    OSError
        If it can't be written.
    """
    note = "Each point is the code of a test example. t-SNE shows which codes are neighbours; its axes have no meaning."
    with chart(3.5 * len(maps), file, title, note, *notes) as figure:
        rows = figure.subplots(len(maps), 2, squeeze=False)
        for row, found, name in zip(rows, maps, names, strict=True):
            ahead = f"{name} · " if len(maps) > 1 else ""
            first, second = found.explained
            row[0].set_title(f"{ahead}PCA: {first:.0%} and {second:.0%} of the variance")
            row[1].set_title(f"{ahead}t-SNE, perplexity {found.perplexity:.3g}")
            for panel, flat in zip(row, (found.pca, found.tsne), strict=True):
                _scatter(panel, flat, found.labels, found.class_names)
            if found.labels is not None:
                _legend(row[1], found.labels, found.class_names)


def _scatter(panel: Axes, flat: Floats, labels: NDArray[np.int64] | None, called: Sequence[str]) -> None:
    size = float(np.clip(6000 / len(flat), 5, 40))
    panel.set_aspect("equal", adjustable="datalim")
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(True)
    if labels is None:
        panel.scatter(flat[:, 0], flat[:, 1], s=size, color=STYLE["muted"], alpha=0.6, linewidths=0)
        return
    for label in np.unique(labels):
        points = flat[labels == label]
        panel.scatter(points[:, 0], points[:, 1], s=size, alpha=0.7, linewidths=0, **_mark(label))
    halo = [withStroke(linewidth=2.2, foreground="white")]
    words: dict[str, Any] = {"weight": "bold", "size": 8, "ha": "center", "va": "center", "path_effects": halo}
    for label in np.unique(labels):
        x, y = _core(flat[labels == label])
        panel.text(x, y, shorten(_name(label, called), 16), color=STYLE["ink"], **words)


def _core(points: Floats) -> Floats:
    """Return the point ``[2]`` of ``[N, 2]`` with a quarter of all nearest around it.

    It is in the thick of a class that has fallen apart, where its median may be among others.
    """
    from scipy.spatial import KDTree

    reach, _ = KDTree(points).query(points, k=[ceil(len(points) / 4)])
    return np.asarray(points[reach[:, 0].argmin()])


def _legend(panel: Axes, labels: NDArray[np.int64], called: Sequence[str]) -> None:
    """Say beside `panel` which mark stands for which class, where these are few."""
    shown = np.unique(labels)
    if len(shown) > LEGEND:
        return
    marks = [Line2D([], [], linestyle="none", markersize=4.5, markeredgewidth=0, **_mark(label)) for label in shown]
    words = [shorten(_name(label, called), 16) for label in shown]
    panel.legend(marks, words, loc="upper left", bbox_to_anchor=(1.0, 1.02), handletextpad=0.1, labelspacing=0.4)


def _mark(label: int) -> dict[str, Any]:
    return {"color": TEN[label % 10], "marker": MARKS[(label + label // 10) % len(MARKS)]}


def _name(label: int, called: Sequence[str]) -> str:
    return called[label] if label < len(called) else str(label)
