"""States, compared bit for bit: of trainers, datasets and results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def copied(tree: Any, path: str = "") -> dict[str, Any]:
    """Return every value in a nest of dicts and lists by its path, tensors and arrays copied."""
    match tree:
        case Mapping():
            return {k: v for key, value in tree.items() for k, v in copied(value, f"{path}[{key!r}]").items()}
        case list() | tuple():
            return {k: v for i, value in enumerate(tree) for k, v in copied(value, f"{path}[{i}]").items()}
        case Tensor():
            return {path: tree.detach().clone()}
        case np.ndarray():
            return {path: tree.copy()}
        case _:
            return {path: tree}


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """Return the first path at which two results of `copied` don't have the same bits; None where all are the same."""
    for path in dict.fromkeys((*one, *other)):
        if path not in one or path not in other or not _same(one[path], other[path]):
            return path
    return None


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(_bytes(a), _bytes(b))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    return bool(a == b)


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.cpu().reshape(-1).view(torch.uint8)  # a NaN is equal to itself
