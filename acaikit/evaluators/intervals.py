"""A 95 % interval of an accuracy, from the test examples and the seeds it was measured with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2_000
COVERED = (2.5, 97.5)


def interval(correct: NDArray[np.bool_], seed: int) -> tuple[float, float, float]:
    """Return the mean accuracy and the ends of its 95 % percentile bootstrap interval, all in percent.

    Each of 2,000 resamples draws as many test examples and as many seeds as there are, with replacement, and every
    drawn example is counted under every drawn seed. Of a single seed the interval says nothing about other seeds; where
    every example is right, or none, it has no width. The interval of a difference between experiments is another one,
    of paired seeds alone: see `acaikit.runs.compared.bootstrap`.

    Parameters
    ----------
    correct : ndarray
        bool ``[S, M]``: whether the measurement with each of S seeds has each of the M test examples right.
    seed : int
        Of the resamples: the same one gives the same interval.

    Raises
    ------
    ValueError
        If `correct` has another shape, or nothing is in it.

    Notes
    -----
    Source: A. B. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2), 2007.
    """
    if correct.ndim != 2 or not correct.size:
        raise ValueError(f"correct must be [seeds, examples] with at least one of each, not {list(correct.shape)}")
    seeds, examples = correct.shape
    rng = np.random.default_rng(seed)
    # Examples that are right under the same seeds can't be told apart, so only their number is drawn.
    patterns, counts = np.unique(correct, axis=1, return_counts=True)
    of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds
    of_patterns = rng.multinomial(examples, counts / examples, RESAMPLES) / examples
    low, high = np.percentile(((of_seeds @ patterns) * of_patterns).sum(1), COVERED)
    return 100 * float(correct.mean()), 100 * float(low), 100 * float(high)
