"""From a user's values to [-1, 1]: only as was said, and never by a guess from the values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from acaikit.data.array_file import Array
from acaikit.data.prepared import PIECE
from acaikit.errors import DataError


class Scale:
    """Brings the values of arrays of one dtype into [-1, 1], or refuses them; uint8 without limits stays pixels.

    Parameters
    ----------
    arrays : sequence of Array
        All that will be scaled.
    limits : pair of float or None
        What becomes -1 and 1. None takes floats as they are, and uint8 as pixels.

    Attributes
    ----------
    dtype : dtype
        Of the result: uint8 pixels, or float32.

    Raises
    ------
    DataError
        If the dtype is none of numbers, or needs limits.
    """

    def __init__(self, arrays: Sequence[Array], limits: tuple[float, float] | None) -> None:
        self.arrays, self.limits = arrays, limits
        first = arrays[0]
        self.pixels = first.dtype == np.uint8 and limits is None
        self.dtype: DTypeLike = np.uint8 if self.pixels else np.float32
        if first.dtype.kind not in "fiub":
            raise DataError(f"{first.label} has the dtype {first.dtype}, but floats, integers or bools are needed")
        if limits is None and first.dtype.kind == "b":
            raise DataError(f"{first.label} has the dtype bool, which needs a scale: set Arrays.limits = (0, 1)")
        if limits is None and first.dtype.kind in "iu" and not self.pixels:
            raise DataError(f"{first.label} has the dtype {first.dtype}, which needs a scale. {self._advice()}")

    def __call__(self, array: Array, start: int, piece: NDArray[Any]) -> NDArray[Any]:
        """Return the scaled values of a piece of `array` whose first example is the one at `start`.

        Raises
        ------
        DataError
            If a value isn't finite, or lies outside the limits; the message names the first such example.
        """
        if self.pixels:
            return piece
        refuse(~np.isfinite(piece), array, start, piece, "but every value must be finite")
        with np.errstate(over="ignore"):
            if self.limits is None:
                values = piece.astype(np.float32)
                if (np.abs(values) > 1).any():
                    raise DataError(
                        f"{array.label} has values outside [-1, 1], where floats must lie that have no scale. "
                        f"{self._advice()}"
                    )
                return values
            # In the data's own precision: the float32 nearest to 0.1 lies above 0.1, and yet is what 0.1 means.
            low, high = np.array(self.limits).astype(piece.dtype if piece.dtype.kind == "f" else np.float64)
        refuse((piece < low) | (piece > high), array, start, piece, f"outside Arrays.limits = {self.limits}")
        share = (piece.astype(np.float64) - self.limits[0]) / (self.limits[1] - self.limits[0])
        return (2 * share - 1).clip(-1, 1).astype(np.float32)

    def _advice(self) -> str:
        finite = (piece[np.isfinite(piece)] for array in self.arrays for _, piece in array.pieces(PIECE))
        ends = [end.item() for values in finite if values.size for end in (values.min(), values.max())]
        low, high = min(ends), max(ends)
        return (
            f"The values are from {low} to {high}: set Arrays.limits = ({low}, {high}), or the limits that such values "
            f"have by nature; they become -1 and 1"
        )


def refuse(wrong: NDArray[np.bool_], array: Array, start: int, piece: NDArray[Any], why: str) -> None:
    """Raise `DataError` with the first example that has a `wrong` value, if there is one."""
    rows = np.flatnonzero(wrong.reshape(len(piece), -1).any(1))
    if len(rows):
        value = piece[rows[0]][wrong[rows[0]]][0]
        raise DataError(f"{array.label}: example {start + rows[0]} has the value {value}, {why}")
