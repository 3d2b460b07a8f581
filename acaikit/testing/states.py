"""States, compared bit for bit: of trainers, datasets and results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from acaikit.runs.states import compare


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
    found = compare(one, other)
    return found[0].where if found else None
