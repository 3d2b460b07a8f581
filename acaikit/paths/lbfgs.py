"""Limited-memory BFGS (Nocedal 1980) of many independent problems at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

MEMORY = 8
"""Steps that the estimate of the curvature remembers."""
SUFFICIENT = 1e-4
"""Share of the decrease promised by the slope that a step must reach (Armijo's condition)."""
SHORTEST = 1e-8
"""Share of a full step below which a problem is given up."""


def minimise(
    function: Callable[[Tensor], tuple[Tensor, Tensor]],
    start: Tensor,
    precondition: Callable[[Tensor], Tensor],
    iterations: int,
    tolerance: float,
) -> Tensor:
    """Return where each of P functions of M numbers is smaller than at `start`, or `start` itself.

    Each problem has its own history and its own steps, so that none depends on the others. A step that doesn't lower a
    function enough is halved, so no value ever rises. A problem whose value or gradient isn't finite at `start` stays
    there.

    Parameters
    ----------
    function : callable
        Maps float64 ``[P, M]`` to the values ``[P]`` and their gradients ``[P, M]``, float64. Called once an iteration.
    start : Tensor
        float64 ``[P, M]``.
    precondition : callable
        Multiplies each row of ``[P, M]`` by a guess of its function's inverse Hessian, symmetric and positive.
    iterations : int
        How often `function` is called after the first time, at most.
    tolerance : float
        A problem is solved when its next step promises to lower the value by less than this share of it.
    """
    x, (value, gradient) = start, function(start)
    # A pair of zeros in the history has no effect.
    moves, changes = x.new_zeros(MEMORY, *x.shape), x.new_zeros(MEMORY, *x.shape)
    inverses, scale = x.new_zeros(MEMORY, len(x)), x.new_ones(len(x))
    direction, step = -precondition(gradient), x.new_ones(len(x))
    for _ in range(iterations):
        promised = step * _dot(gradient, direction)
        unsolved = (promised < -tolerance * value.abs()) & (step > SHORTEST)
        if not unsolved.any():
            break
        tried = x + step.unsqueeze(1) * direction
        value_there, gradient_there = function(tried)
        better = unsolved & (value_there <= value + SUFFICIENT * promised)

        move, change = tried - x, gradient_there - gradient
        curvature = _dot(move, change)
        # Only a positive curvature keeps the estimate positive, and every direction one of descent.
        learned = better & (curvature > 1e-12 * move.norm(dim=1) * change.norm(dim=1))
        moves, changes = _remember(moves, move, learned), _remember(changes, change, learned)
        inverses = _remember(inverses, 1 / curvature, learned)
        scale = torch.where(learned, curvature / _dot(change, precondition(change)), scale)

        x, gradient = _where(better, tried, x), _where(better, gradient_there, gradient)
        value = torch.where(better, value_there, value)
        onward = -_times_inverse_hessian(gradient, moves, changes, inverses, scale, precondition)
        direction = _where(better, onward, direction)
        step = torch.where(better, 1, step / 2)
    return x


def _times_inverse_hessian(
    gradient: Tensor,
    moves: Tensor,
    changes: Tensor,
    inverses: Tensor,
    scale: Tensor,
    precondition: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return the two-loop recursion (Nocedal and Wright 2006, algorithm 7.4), newest pairs last."""
    q, alphas = gradient, []
    for s, y, rho in zip(moves.flip(0), changes.flip(0), inverses.flip(0), strict=True):
        alphas.append(rho * _dot(s, q))
        q = q - alphas[-1].unsqueeze(1) * y
    q = scale.unsqueeze(1) * precondition(q)
    for s, y, rho, alpha in zip(moves, changes, inverses, reversed(alphas), strict=True):
        q = q + (alpha - rho * _dot(y, q)).unsqueeze(1) * s
    return q


def _remember(history: Tensor, new: Tensor, where: Tensor) -> Tensor:
    return _where(where, torch.cat([history[1:], new.unsqueeze(0)]), history, problems=1)


def _where(mask: Tensor, chosen: Tensor, other: Tensor, problems: int = 0) -> Tensor:
    return torch.where(mask.view(*[1] * problems, -1, *[1] * (chosen.dim() - problems - 1)), chosen, other)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1)
