"""What the rows of the scorecard are, for whoever prints or draws them.

A dissolve is the straight line between two images, and the shortest way. The geodesic of the pull-back metric, which is
the shortest way that the decoder can go, tends to it: near 1 in ``length_ratio``, 0 in ``middle``.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """What a score is: which direction is better, and its meaning in a line.

    `better` is "higher", "lower", nearer to "one", or "neither".
    """

    better: str
    meaning: str


ROWS = {
    "headline": Row("higher", "geometric mean of ends, evenness and middle, in [0, 1]"),
    "ends": Row("higher", "how much better the ends are met than by the mean training example, in [0, 1]"),
    "evenness": Row("higher", "mean step over largest step, a single jump at 0, in [0, 1]"),
    "middle": Row("higher", "part of the best-toned dissolve's unreality that is avoided between the ends, in [0, 1]"),
    "endpoint_mse": Row("lower", "squared error of the ends per element, at least 0"),
    "monotonicity": Row("higher", "share of steps away from one true end and towards the other, in [0, 1]"),
    "length_ratio": Row(
        "neither",
        "length over the straight distance of the decoded ends, from 1, which is a dissolve; geodesics tend to it",
    ),
    "step_ratio": Row("lower", "largest over mean step, from 1, which is even, to N - 1, which is a jump"),
    "cycle_error": Row(
        "lower", "distance of the encoded images from the path's latents, 1: as far as two examples are"
    ),
    "doubt": Row("lower", "a critic's doubt in what lies between the ends, in the critic's unit"),
    "nearest_ratio": Row(
        "one", "distance of the middle from the nearest training example, 1: as test examples, where they are not dense"
    ),
    "mean_distance": Row("lower", "cosine distance to the nearest true example, in [0, 2]"),
    "smoothness_paper": Row("lower", "largest step over the whole way in the factor, a path that is still at 0"),
    "smoothness_strict": Row("lower", "the same over the paths that move"),
    "undefined_share": Row("lower", "share of paths whose factor doesn't move, in [0, 1]"),
    "endpoint_error": Row("lower", "error of the factor at the ends, in its unit"),
}
"""The rows in order. ``doubt_NAME`` and ``endpoint_error_UNIT`` stand under what comes before the name and the unit."""


def about(row: str) -> Row:
    """Return what a row of the scorecard is.

    Raises
    ------
    KeyError
        If there is no such row.
    """
    return ROWS[next((name for name in ("doubt", "endpoint_error") if row.startswith(f"{name}_")), row)]
