"""The share of a set that is held out for testing, where the set names no test examples of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acaikit.errors import DataError

SEED = 0
"""Its own, so that the test set is the same in every run."""


def held_out(count: int, share: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide `count` examples at random into those to train on and those to test on, always in the same way.

    Parameters
    ----------
    count : int
        The number of examples.
    share : float
        The share to test on, in (0, 1); it is rounded to whole examples.

    Returns
    -------
    tuple of array
        The training and the test examples: int64 positions in ``range(count)``, ascending; neither is empty.

    Raises
    ------
    DataError
        If one of the two would be empty.
    """
    tested = round(count * share)
    if not 0 < tested < count:
        raise DataError(
            f"a share of {share:g} of {count} examples holds out {tested}, but both the training and the test set need "
            f"at least one: give more examples, or another share (the dataset's parameter test)"
        )
    order = np.random.default_rng(SEED).permutation(count)
    return np.sort(order[tested:]), np.sort(order[:tested])
