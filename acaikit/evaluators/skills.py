"""The scorecard's headline and the three skills it is made of, each in [0, 1]."""

from __future__ import annotations

import math

from torch import Tensor


def ends_skill(error: Tensor, blank: Tensor) -> float:
    """Return 1 - mean error / mean `blank`, at least 0: how much better the ends are met than by the same image always.

    Parameters
    ----------
    error : Tensor
        `path_scores.endpoint_mse` of each path, ``[P]``.
    blank : Tensor
        The same of paths that are the mean training example all along, ``[P]``, not all 0.
    """
    return max(0.0, 1 - (error.mean() / blank.mean()).item())


def middle_skill(found: Tensor, floor: Tensor, moves: Tensor, *, tellable: bool) -> float:
    """Return which part of a dissolve's unreality paths avoid between their ends.

    (dissolve - path) / (dissolve - ends), clipped, where each word is a mean distance to the nearest training example:
    of what lies inside a path's dissolve, inside the path, and at the path's ends. The dissolve is that of the path's
    own ends, so that a decoder's blur counts alike on all sides, and of several at each t the nearest one. Distances
    are averaged over the paths that move before the ratio is taken; a path that doesn't move counts 0.

    Parameters
    ----------
    found : Tensor
        Distances of a path's images, ``[P, N]``.
    floor : Tensor
        Distances of the images between the ends of its dissolve, ``[P, N - 2]``, see `columns.floor`.
    moves : Tensor
        Whether a path moves, bool ``[P]``.
    tellable : bool
        Whether dissolves of real examples are less real than the examples. Where they aren't, the result is NaN. Where
        they are, and only the paths' own ends are as unreal as their dissolves, it is 0.
    """
    if not moves.any():
        return 0.0
    if not tellable:
        return math.nan
    ends, inside, worst = found[moves][:, [0, -1]], found[moves, 1:-1], floor[moves]
    gap, gain = worst.mean() - ends.mean(), (worst - inside).mean()
    skill = (gain / gap).clamp(0, 1).item() if gap > 0 else 0.0
    return moves.double().mean().item() * skill


def headline(ends: float, evenness: float, middle: float) -> float:
    """Return the geometric mean of the three skills: 0 where one of them is 0, else NaN where one is unknown."""
    skills = (ends, evenness, middle)
    return 0.0 if 0 in skills else math.prod(skills) ** (1 / 3)
