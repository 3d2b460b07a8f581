"""How the axes of a user's examples are ordered, and how they are brought into the order of `Dataset.shape`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from acaikit.data.array_file import Array
from acaikit.errors import DataError

LAYOUTS = {"D": "vectors", "CL": "sequences", "L": "sequences", "CHW": "images", "HWC": "images", "HW": "images"}
"""The orders of one example's axes: D numbers; channels C and length L; channels, height H and width W."""
CHANNELS = (1, 2, 3, 4)
"""How many channels images mostly have: grey, colour, each with or without transparency."""


def find_layout(x: Array, given: str | None) -> str:
    """Return the layout of the examples `x` ``[N, ...]``: the one `given`, or else the only one that can be meant.

    Raises
    ------
    DataError
        If `given` doesn't fit, or more than one layout may be meant; the message says which.
    """
    axes, shape = len(x.shape) - 1, list(x.shape)
    fits = [layout for layout in LAYOUTS if len(layout) == axes]
    if not fits:
        raise DataError(
            f"{x.label} has the shape {shape}, but 2 axes are needed for vectors [N, D], 3 for sequences [N, C, L] or "
            f"grey images [N, H, W], 4 for images [N, C, H, W]"
        )
    said = " or ".join(f"{layout!r} ({LAYOUTS[layout]})" for layout in fits)
    if given is not None and given not in fits:
        raise DataError(
            f"Arrays.layout = {given!r} names {len(given)} of an example's axes, but {x.label} has the shape {shape}, "
            f"the examples first: {said} would fit"
        )
    if given is None and axes == 2:
        raise DataError(f"{x.label} has the shape {shape}, which may mean two things: set Arrays.layout to {said}")
    if given is None and axes == 3 and shape[3] in CHANNELS and shape[3] < shape[1]:
        raise DataError(
            f"{x.label} has the shape {shape}, whose last axis looks like channels: set Arrays.layout = 'HWC', or "
            f"'CHW' if the channels do come first"
        )
    return given or fits[0]


def laid_out(x: NDArray[Any], layout: str) -> NDArray[Any]:
    """Return examples ``[N, ...]`` as ``[N, D]``, ``[N, C, L]`` or ``[N, C, H, W]``."""
    if layout == "HWC":
        return np.moveaxis(x, -1, 1)
    return x[:, None] if layout in ("L", "HW") else x
