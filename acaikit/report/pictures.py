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
from acaikit.evaluators.base import Evaluator, Trained, spread
from acaikit.evaluators.interpolation import Interpolation
from acaikit.report import figures
from acaikit.rng import generator
from acaikit.types import Shape

RECONSTRUCTED = 32
"""Test examples whose reconstructions are shown at most."""
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
        Without the interpolation where there is only one test example. Empty where the data are no vectors, sequences
        or images, or the model's output is not finite.
    """
    shape = trained.dataset.picture or trained.dataset.shape
    if not 1 <= len(shape) <= 3:
        return []
    own = [evaluator for evaluator in evaluators if isinstance(evaluator, Interpolation)]
    interpolation = own[0] if own else Interpolation()
    with trained.evaluating():
        x, x_hat = _reconstructed(trained)
        paths = interpolation.evaluate(trained).arrays["paths"] if interpolation.fits(trained) else None
    if not all(np.isfinite(found).all() for found in (x_hat, paths) if found is not None):
        return []
    make_folder(folder)
    files = []
    if paths is not None:
        seen, notes = _seen(paths.reshape(*paths.shape[:2], *shape), shape)
        files.append(folder / "interpolation.png")
        heading = " · ".join([f"Interpolation ({interpolation.path})", title, *notes])
        figures.interpolation(seen, files[-1], title=heading)
    (seen, notes), (seen_hat, _) = (_seen(values.reshape(-1, *shape), shape) for values in (x, x_hat))
    files.append(folder / "reconstruction.png")
    figures.reconstruction(seen, seen_hat, files[-1], title=" · ".join(["Reconstruction", title, *notes]))
    return files


def _reconstructed(trained: Trained) -> tuple[np.ndarray, np.ndarray]:
    """Return a few test examples, spread evenly over all, and what the model makes of them."""
    split = trained.dataset.test()
    x = split.examples(torch.from_numpy(spread(RECONSTRUCTED, len(split))), trained.device)
    return x.cpu().numpy(), trained.model.reconstruct(x).cpu().numpy()


def _seen(examples: np.ndarray, shape: Shape) -> tuple[np.ndarray, list[str]]:
    """Return examples ``[..., *shape]`` as they can be drawn: the mean of channels that are no colours, with a note."""
    if len(shape) < 3 or shape[0] in (1, 3):
        return examples, []
    return examples.mean(-3, keepdims=True), [f"the mean of {shape[0]} channels"]


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
    shape = dataset.picture or dataset.shape
    if not 1 <= len(shape) <= 3:
        raise UserError(f"examples of shape {shape} are no vectors, sequences or images: they can't be drawn")
    found = dataset.test() if split == "test" else _training(dataset)
    rows, notes = _spread(found.labels, len(found), count)
    seen, means = _seen(found.examples(rows).cpu().numpy().reshape(-1, *shape), shape)
    labels = None if found.labels is None else found.labels[rows].numpy()
    shown = f"{len(rows):,} {'training' if split == 'train' else split} example{'s' * (len(rows) > 1)}"
    title = " · ".join([name, shown, *notes, *means])
    figures.samples(seen, labels, dataset.class_names, file, title=title)


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
