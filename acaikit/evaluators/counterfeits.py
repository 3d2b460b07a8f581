"""Paths made of the true data, to know a score's floor and ceiling by: a perfect one and three bad ones."""

from __future__ import annotations

import torch
from torch import Tensor

from acaikit.data.rendered import Rendered
from acaikit.paths import lerp


def counterfeits(ends: Tensor, t: Tensor, mean: Tensor) -> dict[str, Tensor]:
    """Return what a decoder might do instead of interpolating, ``[P, N, *shape]`` each.

    ``cross_dissolve``: (1 - t) x1 + t x2. ``abrupt_switch``: x1 where t is below 0.5, then x2. ``collapsed``: `mean`,
    whatever the latent.

    Parameters
    ----------
    ends : Tensor
        The true examples x1 and x2, ``[P, 2, *shape]``.
    t : Tensor
        ``[N]`` in [0, 1].
    mean : Tensor
        The mean training example, ``[*shape]``.
    """
    x1, x2 = ends.unbind(1)
    return {
        "cross_dissolve": lerp(x1, x2, t),
        "abrupt_switch": lerp(x1, x2, (t >= 0.5).to(t)),
        "collapsed": mean.expand(len(ends), len(t), *mean.shape),
    }


def perfect(dataset: Rendered, factors: Tensor, t: Tensor) -> Tensor:
    """Return examples drawn at evenly spaced factors, on a circle along the shorter way: ``[P, N, *shape]``.

    Parameters
    ----------
    dataset : Rendered
        What draws them.
    factors : Tensor
        The true factors of the two ends, float64 ``[P, 2]``.
    t : Tensor
        ``[N]`` in [0, 1]. The result is on its device.
    """
    factor = dataset.factor
    way = torch.from_numpy(factor.unwrap(factors.numpy())).to(t.device)
    values = lerp(way[:, 0], way[:, 1], t)
    if factor.periodic:
        values = (values - factor.low) % factor.span + factor.low
    return dataset.render(values.flatten()).view(*values.shape, *dataset.shape)
