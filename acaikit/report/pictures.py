"""The pictures of a dataset, and of a run: what the model makes of test examples, and of the space between them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from acaikit.artifacts.publish import make_folder
from acaikit.data.base import Dataset, Shuffled, Split
from acaikit.errors import UserError
from acaikit.evaluators.base import Evaluator, Trained
from acaikit.evaluators.interpolation import Interpolation
from acaikit.evaluators.reconstruction import Reconstruction
from acaikit.report import figures
from acaikit.rng import generator

CLASSES = 20
"""Classes that are shown at most, spread over all of them."""
DRAWN = 1024
"""Examples that are drawn, where they are drawn on the fly, for some to be shown."""


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
        Empty where the data are no images of 1 or 3 channels, or the model's output is not finite.
    """
    shape = trained.dataset.shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        return []
    own = [evaluator for evaluator in evaluators if isinstance(evaluator, Interpolation)]
    interpolation = own[0] if own else Interpolation()
    with trained.evaluating():
        paths = interpolation.evaluate(trained).arrays["paths"]
        shown = Reconstruction().evaluate(trained).arrays
    if not (np.isfinite(paths).all() and np.isfinite(shown["reconstructions"]).all()):
        return []
    make_folder(folder)
    files = [folder / "interpolation.png", folder / "reconstruction.png"]
    figures.interpolation(paths, files[0], title=f"Interpolation ({interpolation.path}) · {title}")
    figures.reconstruction(shown["originals"], shown["reconstructions"], files[1], title=f"Reconstruction · {title}")
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
    if not 1 <= len(dataset.shape) <= 3:
        raise UserError(f"examples of shape {dataset.shape} are no vectors, sequences or images: they can't be drawn")
    found = dataset.test() if split == "test" else _training(dataset)
    rows, notes = _spread(found.labels, len(found), count)
    x = found.examples(rows).cpu()
    labels = None if found.labels is None else found.labels[rows]
    if x.ndim == 4 and x.shape[1] not in (1, 3):
        notes.append(f"the mean of {x.shape[1]} channels")
        x = x.mean(1, keepdim=True)
    notes.insert(0, f"{len(rows):,} {'training' if split == 'train' else split} example{'s' * (len(rows) > 1)}")
    title = " · ".join([name, *notes])
    figures.samples(x.numpy(), None if labels is None else labels.numpy(), dataset.class_names, file, title=title)


def _training(dataset: Dataset) -> Split:
    """Return the training set, or examples of it where they are drawn on the fly."""
    stream = dataset.train(1, generator(0, "preview"))
    if isinstance(stream, Shuffled):
        return stream.split
    drawn = [stream.next() for _ in range(DRAWN)]
    labels = [y for _, y in drawn if y is not None]
    return Split(torch.cat([x for x, _ in drawn]), torch.cat(labels) if labels else None)


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
