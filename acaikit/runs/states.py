"""Two state trees, compared leaf by leaf and bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from acaikit.artifacts.tree import Tree


@dataclass(frozen=True)
class Difference:
    """One place where what was saved isn't what was found again.

    Attributes
    ----------
    where : str
        The place: ``model/encoder.layers.0.weight``.
    what : str
        How they differ.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def leaves(tree: Tree, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf of a tree with its path, keys and indices between slashes."""
    match tree:
        case dict():
            items = list(tree.items())
        case list() | tuple():
            items = list(enumerate(tree))
        case _:
            yield path, tree
            return
    for key, value in items:
        yield from leaves(value, f"{path}/{key}" if path else str(key))


def compare(saved: Tree, found: Tree) -> list[Difference]:
    """Return every leaf in which two trees differ by type, shape or any bit; a NaN is equal to the same NaN."""
    ours, theirs = dict(leaves(saved)), dict(leaves(found))
    differences = []
    for path in dict.fromkeys((*ours, *theirs)):
        if path not in theirs:
            differences.append(Difference(path, "saved, but not found again"))
        elif path not in ours:
            differences.append(Difference(path, "found, but not saved"))
        elif (what := _difference(ours[path], theirs[path])) is not None:
            differences.append(Difference(path, what))
    return differences


def sizes(tree: Tree) -> tuple[int, int]:
    """Return how many tensors and arrays a tree has, and their bytes in all."""
    found = [leaf.nbytes for _, leaf in leaves(tree) if isinstance(leaf, Tensor | np.ndarray)]
    return len(found), sum(found)


def _difference(saved: Any, found: Any) -> str | None:
    if type(saved) is not type(found) and not (isinstance(saved, Tensor) and isinstance(found, Tensor)):
        return f"saved {_said(saved)}, found {_said(found)}"
    if isinstance(saved, np.ndarray):
        return _difference(torch.from_numpy(saved), torch.from_numpy(found))
    if not isinstance(saved, Tensor):
        # repr tells 0.0 from -0.0, and takes a NaN for itself.
        return None if repr(saved) == repr(found) else f"saved {_said(saved)}, found {_said(found)}"
    if saved.dtype != found.dtype or saved.shape != found.shape:
        return f"saved {_said(saved)}, found {_said(found)}"
    differ = (_bytes(saved) != _bytes(found)).any(1)
    if not differ.any():
        return None
    largest = (_numbers(saved)[differ] - _numbers(found)[differ]).abs().max().item()
    return f"{int(differ.sum()):,} of {differ.numel():,} elements, the largest difference {largest:.3g}"


def _bytes(tensor: Tensor) -> Tensor:
    """Return the bytes of a tensor, uint8 ``[elements, width]``."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).view(tensor.numel(), tensor.element_size())


def _numbers(tensor: Tensor) -> Tensor:
    """Return the elements of a tensor as doubles, real or complex ``[elements]``."""
    return tensor.detach().cpu().reshape(-1).to(torch.complex128 if tensor.is_complex() else torch.float64)


def _said(value: Any) -> str:
    if isinstance(value, Tensor | np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
