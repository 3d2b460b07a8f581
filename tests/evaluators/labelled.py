"""Codes to probe: Gaussian blobs, one per class."""

from __future__ import annotations

import numpy as np

from acaikit.evaluators.codes import Codes


def blobs(
    train: int = 150, test: int = 60, classes: int = 3, dims: int = 4, spread: float = 1.5, seed: int = 0
) -> Codes:
    """Codes of overlapping classes, drawn at random."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, dims))

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.permutation(np.arange(count) % classes)
        return (centres[labels] + spread * rng.normal(size=(count, dims))).astype(np.float32), labels

    return Codes(*draw(train), *draw(test), classes)
