"""The pictures of a dataset, and of a run: what the model makes of test examples, and of the space between them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from acaikit.artifacts.publish import make_folder
from acaikit.data.base import Dataset
from acaikit.errors import EvaluationError
from acaikit.evaluators.base import Evaluator, Trained
from acaikit.evaluators.interpolation import Interpolation
from acaikit.paths.base import described
from acaikit.report import figures
from acaikit.report.shown import as_seen, check_drawable, reconstructed
from acaikit.rng import generator

RECONSTRUCTED = 32
"""Test examples whose reconstructions are shown at most."""
CLASSES = 20
"""Classes that are shown at most, spread over all of them."""


def draw(trained: Trained, folder: Path, title: str, evaluators: Sequence[Evaluator] = ()) -> list[Path]:
    """Draw ``interpolation.png`` and ``reconstruction.png``; return the files that were written.

    Parameters
    ----------
    trained : Trained
        The model and its dataset.
    folder : Path
        Where to write; made where it is missing.
    title : str
        Which run and moment this is.
    evaluators : sequence of Evaluator
        The recipe's own: where an `Interpolation` is among them, its settings hold.

    Returns
    -------
    list of Path
        Without the interpolation where there is only one test example. Empty where the data are no vectors, sequences
        or images, or the model's output is not finite.
    """
    shape = trained.dataset.picture or trained.dataset.shape
    if not 1 <= len(shape) <= 3:
        return []
    own = [evaluator for evaluator in evaluators if isinstance(evaluator, Interpolation)]
    interpolation = own[0] if own else Interpolation()
    try:
        with trained.evaluating():
            x, x_hat = reconstructed(trained, RECONSTRUCTED)
            paths = interpolation.evaluate(trained).arrays["paths"] if interpolation.fits(trained) else None
    except EvaluationError:
        return []
    if paths is not None and not np.isfinite(paths).all():
        return []
    make_folder(folder)
    files = []
    if paths is not None:
        seen, notes = as_seen(paths.reshape(*paths.shape[:2], *shape), shape)
        files.append(folder / "interpolation.png")
        path = described(interpolation.path)
        named = path if isinstance(path, str) else path["path"]
        heading = " · ".join([f"Interpolation ({named})", title, *notes])
        figures.interpolation(seen, title=heading).save(files[-1])
    (seen, notes), (seen_hat, _) = (as_seen(values.reshape(-1, *shape), shape) for values in (x, x_hat))
    files.append(folder / "reconstruction.png")
    heading = " · ".join(["Reconstruction", title, *notes])
    figures.reconstruction(seen, seen_hat, title=heading).save(files[-1])
    return files


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
