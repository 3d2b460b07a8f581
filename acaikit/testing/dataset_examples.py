"""Whether the examples that a dataset gives are of the shape, the range and the classes that it says."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from acaikit.data.base import Batch, Dataset, Split
from acaikit.testing.rules import NotConforming

LOOKED_AT = 200
"""Examples of a split that are looked at, from the first on."""


def name_of(dataset: Dataset) -> str:
    """Return what messages call a dataset."""
    return type(dataset).__name__


def checked_batch(dataset: Dataset, batch: Batch) -> Batch:
    """Return a training batch that is well formed."""
    x, y = batch
    if x.dtype != torch.float32 or x.shape[1:] != dataset.shape:
        raise NotConforming(
            f"{name_of(dataset)}'s batches must be float32 [B, {', '.join(map(str, dataset.shape))}], not {x.dtype} "
            f"{list(x.shape)}"
        )
    _check_range(x, f"{name_of(dataset)}'s batches")
    _check_labels(dataset, y, len(x), "batches")
    return batch


def check_split(dataset: Dataset, split: Any, what: str) -> None:
    """Raise `NotConforming` unless a split, the one that the method `what` gives, is well formed."""
    name = f"{name_of(dataset)}.{what}"
    if not isinstance(split, Split):
        raise NotConforming(f"{name} gives a {type(split).__name__}: return an acaikit.data.Split(data, labels)")
    if not len(split):
        raise NotConforming(f"{name} has no example")
    if split.data.dtype not in (torch.uint8, torch.float32) or split.data.shape[1:] != dataset.shape:
        raise NotConforming(
            f"{name} must be uint8 pixels or float32 [N, {', '.join(map(str, dataset.shape))}], not {split.data.dtype} "
            f"{list(split.data.shape)}"
        )
    _check_range(split.examples(slice(0, LOOKED_AT)), f"the examples of {name}")
    _check_labels(dataset, split.labels, len(split), what)


def _check_range(x: Tensor, what: str) -> None:
    if not x.isfinite().all():
        raise NotConforming(f"{what} hold numbers that are not finite: leave such examples out, or mend them")
    if x.abs().max() > 1:
        raise NotConforming(f"{what} reach from {x.min():g} to {x.max():g}: scale the data to [-1, 1]")


def _check_labels(dataset: Dataset, labels: Tensor | None, count: int, what: str) -> None:
    said, classes = f"{name_of(dataset)}'s {what}", dataset.classes
    if (labels is None) != (classes is None):
        raise NotConforming(
            f"{said} have {'no labels' if labels is None else 'labels'}, but its classes are {classes}: labels are "
            f"None where classes is"
        )
    if labels is None or classes is None:
        return
    if labels.dtype != torch.int64 or labels.shape != (count,):
        raise NotConforming(f"{said} must have int64 labels [{count}], not {labels.dtype} {list(labels.shape)}")
    if labels.min() < 0 or labels.max() >= classes:
        raise NotConforming(
            f"{said} have labels from {labels.min()} to {labels.max()}, but with {classes} classes they go from 0 to "
            f"{classes - 1}"
        )
