"""The labels of a user's examples: numbers of classes, checked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from acaikit.data.array_file import Array
from acaikit.errors import DataError


def read_labels(y: Mapping[str, Array], counts: Mapping[str, int]) -> tuple[dict[str, NDArray[np.int64]], int]:
    """Read labels, and count their classes.

    Parameters
    ----------
    y : mapping of str to Array
        Labels ``[N]`` or ``[N, 1]``, by split.
    counts : mapping of str to int
        How many examples each split has.

    Returns
    -------
    tuple
        The labels, int64 ``[N]`` by split; and the number of classes K. They are 0 to K - 1, or all the same where K is
        1.

    Raises
    ------
    DataError
        If there isn't one label per example, or the labels are not 0 to K - 1 with none left out.
    """
    hint = "make them so with: kinds, y = np.unique(y, return_inverse=True)"
    if len(y) > 1:
        hint += "; y_test = np.searchsorted(kinds, y_test)"
    for split, array in y.items():
        if array.shape not in ((counts[split],), (counts[split], 1)):
            raise DataError(
                f"{array.label} has the shape {list(array.shape)}, but one label for each of {counts[split]} examples "
                f"is needed: [{counts[split]}]"
            )
        if array.dtype.kind not in "iu":
            raise DataError(f"{array.label} has the dtype {array.dtype}, but labels are integers from 0 on: {hint}")
    labels = {split: array[:].reshape(-1) for split, array in y.items()}
    # As Python's integers: numpy has none that hold both int64 and uint64.
    found = sorted({int(label) for values in labels.values() for label in np.unique(values)})
    if len(found) > 1 and found != list(range(len(found))):
        files = " and ".join(array.label for array in y.values())
        raise DataError(
            f"{files}: {len(found)} different labels from {found[0]} to {found[-1]}, but they must be 0 to "
            f"{len(found) - 1}, none left out: {hint}"
        )
    return {split: values.astype(np.int64) for split, values in labels.items()}, len(found)
