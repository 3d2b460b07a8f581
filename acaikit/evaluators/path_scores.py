"""Scores of image paths that need nothing but the images and the two true examples of each path.

`paths` are ``[P, N, *shape]`` with N at least 3, `ends` the true examples ``[P, 2, *shape]`` between which they were to
lead. Every function returns one number per path, float64 ``[P]``, on the device of `paths`. Distances are Euclidean,
over all elements of an image.
"""

from __future__ import annotations

import torch
from torch import Tensor

STILL = 1e-4
"""Share of the distance between the two true examples: a path whose steps are all shorter doesn't move."""


def moves(paths: Tensor, ends: Tensor) -> Tensor:
    """Return whether a path moves, bool ``[P]``: its largest step is above 1e-4 of the distance between `ends`."""
    return _steps(paths).amax(1) > STILL * _distance(ends[:, 0], ends[:, 1])


def endpoint_mse(paths: Tensor, ends: Tensor) -> Tensor:
    """Return the mean squared error of a path's first and last image against `ends`, per element."""
    return (paths[:, [0, -1]].double() - ends.double()).square().flatten(1).mean(1)


def step_ratio(paths: Tensor, ends: Tensor) -> Tensor:
    """Return the largest step over the mean step, in [1, N - 1]; NaN where a path doesn't move."""
    step = _steps(paths)
    return (step.amax(1) / step.mean(1)).where(moves(paths, ends), torch.nan)


def evenness(paths: Tensor, ends: Tensor) -> Tensor:
    """Return the mean step over the largest step, scaled so that a single jump is 0 and equal steps are 1.

    (mean / largest - 1 / (N - 1)) / (1 - 1 / (N - 1)), in [0, 1]; a path that doesn't move is not even: 0.
    """
    step = _steps(paths)
    # The same with sums, which are exact where all steps but one are 0.
    even = (step.sum(1) / step.amax(1) - 1) / (paths.shape[1] - 2)
    return even.clamp(0, 1).where(moves(paths, ends), 0)


def monotonicity(paths: Tensor, ends: Tensor) -> Tensor:
    """Return the share of steps that lead away from the first true example and towards the second one, in [0, 1].

    A step along which a distance stays the same does neither; a path that doesn't move is at 0.
    """
    leaving, arriving = (_distance(paths, end.unsqueeze(1), 2).diff(dim=1) for end in ends.unbind(1))
    share = ((leaving > 0) & (arriving < 0)).double().mean(1)
    return share.where(moves(paths, ends), 0)


def length_ratio(paths: Tensor, ends: Tensor) -> Tensor:
    """Return a path's length over the distance between its own first and last image, at least 1.

    NaN where those two are nearer to each other than 1e-4 of the distance between `ends`.
    """
    straight = _distance(paths[:, 0], paths[:, -1])
    apart = straight > STILL * _distance(ends[:, 0], ends[:, 1])
    return (_steps(paths).sum(1) / straight).where(apart, torch.nan)


def _steps(paths: Tensor) -> Tensor:
    return _distance(paths[:, 1:], paths[:, :-1], 2)


def _distance(a: Tensor, b: Tensor, first: int = 1) -> Tensor:
    """Return distances over all dimensions from `first` on."""
    distance: Tensor = torch.linalg.vector_norm((a.double() - b.double()).flatten(first), dim=first)
    return distance
