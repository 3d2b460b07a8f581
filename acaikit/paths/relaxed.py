"""The abstract path that is found by minimising an energy: it starts out straight, and its inner points move."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from acaikit import checks
from acaikit.paths.base import ModelPath, Path
from acaikit.paths.lbfgs import minimise
from acaikit.paths.straight import lerp

Field = Callable[[Tensor], Tensor]

CHUNK = 256
"""Points that are moved at a time, of all paths together: enough for a decoder, and a bound to its memory."""


class Relaxed(ModelPath):
    """The path between given ends whose inner points minimise an energy.

    The points are z_0 ... z_n, n = points - 1, and the energy is

        n sum_i |image(z_i+1) - image(z_i)|^2 + 1/n sum_i cost(z_i)

    for an `image` and a `cost` of latents. The first sum is over the steps, the second over the inner points. Scaled in
    this way they tend to integrals over the path as n grows, so that more points make a finer path and keep the balance
    of the two. Where there is no cost, the images are spaced evenly.

    The minimum is a local one, found from the straight line by L-BFGS, pair by pair. The energy never ends above the
    straight line's; a pair whose energy isn't finite there keeps that line. Between its points the path is linear.

    Parameters
    ----------
    points : int
        Points of the path, both ends included.
    iterations : int
        How often all points are moved, at most.

    Raises
    ------
    UserError
        If `points` is below 3, or `iterations` below 1.
    """

    def __init__(self, points: int, iterations: int) -> None:
        name = type(self).__name__
        checks.whole(f"{name}.points", points, at_least=3)
        checks.whole(f"{name}.iterations", iterations, at_least=1)
        self.points, self.iterations = points, iterations

    def relaxed(self, image: Field, cost: Field) -> Path:
        """Return the path of least energy.

        Parameters
        ----------
        image, cost : callable
            Latents ``[B, *latent shape]`` to ``[B, ...]`` and to ``[B]``, differentiable.
        """

        def path(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
            pairs = max(1, CHUNK // self.points)
            bent = [
                self._bend(image, cost, p, q) for p, q in zip(torch.split(a, pairs), torch.split(b, pairs), strict=True)
            ]
            return lerp(a, b, t) + _between(torch.cat(bent), t)

        return path

    def _bend(self, image: Field, cost: Field, a: Tensor, b: Tensor) -> Tensor:
        """Return how far each point lies off the straight line, ``[P, points, *latent shape]``, zero at the ends."""
        n, pairs = self.points - 1, len(a)
        straight = lerp(a.detach().double(), b.detach().double(), torch.linspace(0, 1, n + 1, dtype=torch.float64))

        def offsets(x: Tensor) -> Tensor:
            inner = x.view(pairs, n - 1, *a.shape[1:])
            return torch.cat([torch.zeros_like(inner[:, :1]), inner, torch.zeros_like(inner[:, :1])], 1)

        def energies(x: Tensor) -> tuple[Tensor, Tensor]:
            z = (straight + offsets(x)).to(a)
            images = image(z.flatten(0, 1)).flatten(1).double().view(pairs, n + 1, -1)
            steps = (images[:, 1:] - images[:, :-1]).square().sum((1, 2))
            return n * steps, cost(z[:, 1:-1].flatten(0, 1)).double().view(pairs, n - 1).sum(1) / n

        def energy(x: Tensor) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                total = torch.add(*energies(x))
                (gradient,) = torch.autograd.grad(total.sum(), x)
            return total.detach(), gradient

        start = straight.new_zeros(pairs, straight[:, 1:-1].flatten(1).shape[1])
        with torch.no_grad():
            # What the energy's second derivative would be, if images moved everywhere as far as on the straight line.
            distance = (straight[:, -1] - straight[:, 0]).flatten(1).square().sum(1)
            stretch = torch.where(distance > 0, energies(start)[0] / distance, 1)
            inverse = _bridge(n).to(straight.device)

            def precondition(x: Tensor) -> Tensor:
                return (inverse @ x.view(pairs, n - 1, -1)).flatten(1) / (2 * n * stretch.unsqueeze(1))

            found = minimise(energy, start, precondition, self.iterations, torch.finfo(a.dtype).eps)
        return offsets(found).to(a)


def _bridge(n: int) -> Tensor:
    """Return the inverse of the second difference matrix (2 and -1) of n - 1 inner points, float64."""
    i = torch.arange(1, n, dtype=torch.float64)
    return torch.minimum(i, i.unsqueeze(1)) * (n - torch.maximum(i, i.unsqueeze(1))) / n


def _between(points: Tensor, t: Tensor) -> Tensor:
    """Return where the lines that join `points` ``[P, points, ...]`` are at `t` ``[N]`` in [0, 1]: ``[P, N, ...]``."""
    last = points.shape[1] - 1
    position = t.to(points.device, torch.float64) * last
    before = position.floor().clamp(0, last - 1)
    share = (position - before).to(points).view(-1, *[1] * (points.dim() - 2))
    rows = before.long()
    return (1 - share) * points[:, rows] + share * points[:, rows + 1]
