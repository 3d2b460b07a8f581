"""Codes with their labels: what a probe and a clustering read, of a trained model or of the raw data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acaikit.data.base import Dataset, Split
from acaikit.errors import EvaluationError

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

BATCH = 500
"""Examples that are coded at a time."""


@dataclass(frozen=True, eq=False)
class Codes:
    """The codes of a dataset's training and test examples, with their labels.

    Attributes
    ----------
    train, test : ndarray
        float32 ``[N, D]`` and ``[M, D]``, finite.
    train_labels, test_labels : ndarray
        int64 ``[N]`` and ``[M]``, each in ``range(classes)``.
    classes : int
        Number of classes, with those that have no example.
    device : str
        Where to compute with them: where the model is.

    Raises
    ------
    EvaluationError
        If a code is not finite, there is no code, or a label is out of range.
    """

    train: Floats
    train_labels: Labels
    test: Floats
    test_labels: Labels
    classes: int
    device: str = "cpu"

    def __post_init__(self) -> None:
        for split, codes, labels in (
            ("training", self.train, self.train_labels),
            ("test", self.test, self.test_labels),
        ):
            if not len(codes):
                raise EvaluationError(f"there are no {split} examples to measure")
            broken = int((~np.isfinite(codes)).any(1).sum())
            if broken:
                raise EvaluationError(
                    f"the codes of {broken:,} of {len(codes):,} {split} examples hold NaN or infinity: the model has "
                    f"diverged; measure an earlier checkpoint with --step"
                )
            if len(labels) != len(codes) or labels.min() < 0 or labels.max() >= self.classes:
                raise EvaluationError(
                    f"the {len(codes):,} {split} examples need as many labels from 0 to {self.classes - 1}"
                )

    @classmethod
    def of(
        cls, dataset: Dataset, code: Callable[[Tensor], Tensor], examples: int | None, device: torch.device | str
    ) -> Codes:
        """Return what `code` makes of the first `examples` training examples (None: of all) and of the whole test set.

        `code` maps data ``[B, *shape]`` on `device` to ``[B, ...]``, which is flattened.
        """
        train, test = dataset.training(examples), dataset.test()
        if train.labels is None or test.labels is None or dataset.classes is None:
            raise EvaluationError(f"{type(dataset).__name__} has no labels")
        labels = (train.labels.cpu().numpy(), test.labels.cpu().numpy())
        codes = (_coded(split, code, device) for split in (train, test))
        return cls(next(codes), labels[0], next(codes), labels[1], dataset.classes, str(device))

    @classmethod
    def raw(cls, dataset: Dataset, examples: int | None) -> Codes:
        """Return the data themselves as codes."""
        return cls.of(dataset, lambda x: x, examples, "cpu")


def _coded(split: Split, code: Callable[[Tensor], Tensor], device: torch.device | str) -> Floats:
    codes, first = np.empty((0, 0), np.float32), 0
    with torch.no_grad():
        for x, _ in split.batches(BATCH, device):
            part = code(x).flatten(1).float().cpu().numpy()
            if not first:  # all at once, as the parts beside the whole would take its memory twice
                codes = np.empty((len(split), part.shape[1]), np.float32)
            codes[first : first + len(part)] = part
            first += len(part)
    return codes
