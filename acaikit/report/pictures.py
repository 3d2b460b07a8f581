"""The pictures of a dataset, and of a run: what the model makes of test examples, and of the space between them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acaikit.artifacts.publish import make_folder
from acaikit.data.base import Dataset
from acaikit.errors import EvaluationError
from acaikit.evaluators.base import Evaluator, Trained
from acaikit.evaluators.interpolation import Interpolation
from acaikit.paths.base import AnyPath, described
from acaikit.report import figures
from acaikit.report.figures import shorten
from acaikit.report.page import Page
from acaikit.report.shown import as_seen, check_drawable, pairs_of, reconstructed
from acaikit.rng import generator

RECONSTRUCTED = 32
"""Test examples whose reconstructions are shown at most."""
CLASSES = 20
"""Classes that are shown at most, spread over all of them."""


def draw(trained: Trained, folder: Path, about: str, evaluators: Sequence[Evaluator] = ()) -> list[Path]:
    """Draw ``interpolation.png`` and ``reconstruction.png``; return the files that were written.

    Parameters
    ----------
    trained : Trained
        The model and its dataset.
    folder : Path
        Where to write; made where it is missing.
    about : str
        Which run and moment this is.
    evaluators : sequence of Evaluator
        The recipe's own: where an `Interpolation` is among them, its settings hold.

    Returns
    -------
    list of Path
        Without the interpolation where there is only one test example. Empty where the data are no vectors, sequences
        or images, or the model's output is not finite.

    Raises
    ------
    OSError
        If they can't be written.
    """
    if not _drawable(trained.dataset):
        return []
    own = [evaluator for evaluator in evaluators if isinstance(evaluator, Interpolation)]
    along = own[0] if own else Interpolation()
    try:
        both = reconstructed(trained, RECONSTRUCTED)
        with trained.evaluating():
            paths = along.evaluate(trained).arrays["paths"] if along.fits(trained) else None
    except EvaluationError:
        return []
    files = [] if paths is None else draw_paths(trained.dataset, along, paths, folder, about)
    return [*files, _save(reconstruction(trained.dataset, both, about), folder / "reconstruction.png")]


def draw_paths(dataset: Dataset, along: Interpolation, paths: np.ndarray, folder: Path, about: str) -> list[Path]:
    """Draw ``interpolation.png``; return it, or nothing where the paths can't be drawn.

    Parameters
    ----------
    dataset : Dataset
        Whose test examples the paths join.
    along : Interpolation
        The evaluator that decoded the paths.
    paths : ndarray
        Its array of that name.
    folder, about
        As for `draw`.

    Raises
    ------
    OSError
        If it can't be written.
    """
    if not _drawable(dataset) or not np.isfinite(paths).all():
        return []
    page = interpolation(dataset, paths, pairs_of(len(dataset.test()), along.pairs), along.path, about)
    return [_save(page, folder / "interpolation.png")]


def interpolation(dataset: Dataset, paths: np.ndarray, chosen: NDArray[np.int64], path: AnyPath, about: str) -> Page:
    """Draw decoded paths between pairs of test examples, a row each.

    Parameters
    ----------
    dataset : Dataset
        The examples'.
    paths : ndarray
        Finite floats ``[P, N, *shape]``.
    chosen : ndarray
        int64 ``[P, 2]``: which test examples each of the paths joins.
    path : str, callable or ModelPath
        What the paths were made by.
    about : str
        Which run and moment this is.

    Returns
    -------
    Page
        To be saved.

    Raises
    ------
    UserError
        If the examples are no vectors, sequences or images.
    """
    shape = check_drawable(dataset)
    seen, notes = as_seen(paths.reshape(*paths.shape[:2], *shape), shape)
    called = described(path)
    name = called if isinstance(called, str) else called["path"]
    title = " · ".join([f"Interpolation ({name})", about, *notes])
    return figures.interpolation(seen, title=title, labels=joined(dataset, chosen))


def reconstruction(dataset: Dataset, both: tuple[np.ndarray, np.ndarray], about: str) -> Page:
    """Draw test examples with what a model makes of them, as `reconstructed` returns both.

    Other parameters and what is raised are as for `interpolation`.
    """
    shape = check_drawable(dataset)
    (x, notes), (x_hat, _) = (as_seen(values.reshape(-1, *shape), shape) for values in both)
    return figures.reconstruction(x, x_hat, title=" · ".join(["Reconstruction", about, *notes]))


def joined(dataset: Dataset, chosen: NDArray[np.int64]) -> list[str]:
    """Return the classes of each pair of test examples, "4 → 7", or their positions where there are no labels."""
    labels, names = dataset.test().labels, dataset.class_names
    if labels is None:
        return [f"{i:,} → {j:,}" for i, j in chosen]
    called = [[names[k] if k < len(names) else str(k) for k in pair] for pair in labels.cpu()[chosen].tolist()]
    return [f"{shorten(first, 12)} → {shorten(second, 12)}" for first, second in called]


def _drawable(dataset: Dataset) -> bool:
    return 1 <= len(dataset.picture or dataset.shape) <= 3


def _save(page: Page, file: Path) -> Path:
    make_folder(file.parent)
    page.save(file)
    return file


def preview(dataset: Dataset, name: str, split: str, count: int, file: Path) -> None:
    """Draw `count` examples of a dataset, chosen at random but always the same, evenly over its classes.

    Parameters
    ----------
    dataset : Dataset
        The dataset; its data are got first where they aren't there.
    name : str
        What to call it.
    split : str
        "train" or "test".
    count : int
        How many, at most.
    file : Path
        The PNG file to write.

    Raises
    ------
    UserError
        If its examples are no vectors, sequences or images.
    DataError
        If the data can't be had.
    OSError
        If the file can't be written.
    """
    shape = check_drawable(dataset)
    found = dataset.test() if split == "test" else dataset.training()
    rows, notes = _spread(found.labels, len(found), count)
    seen, means = as_seen(found.examples(rows).cpu().numpy().reshape(-1, *shape), shape)
    labels = None if found.labels is None else found.labels[rows].numpy()
    shown = f"{len(rows):,} {'training' if split == 'train' else split} example{'s' * (len(rows) > 1)}"
    title = " · ".join([name, shown, *notes, *means])
    figures.samples(seen, labels, dataset.class_names, title=title).save(file)


def _spread(labels: Tensor | None, total: int, count: int) -> tuple[Tensor, list[str]]:
    """Choose about `count` of `total` examples; also say if not all classes are among them."""
    order = torch.randperm(total, generator=generator(0, "preview"))
    if labels is None:
        return order[:count], []
    classes = torch.unique(labels)
    shown = min(len(classes), CLASSES, count)
    some = classes[np.linspace(0, len(classes) - 1, shown).round().astype(int)]
    quota = [count // shown + (i < count % shown) for i in range(shown)]
    shuffled = labels[order]
    rows = [order[shuffled == label][:n] for label, n in zip(some, quota, strict=True)]
    return torch.cat(rows), [f"{shown} of {len(classes):,} classes"] if shown < len(classes) else []
