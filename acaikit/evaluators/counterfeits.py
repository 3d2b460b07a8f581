"""Paths made of the true data, to know a score's floor and ceiling by: a perfect one and three bad ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from acaikit.data.rendered import Rendered
from acaikit.paths import lerp

TONES = (2.0, 4.0)
"""Slopes of tone curves: dissolves through one of 0.5 to 8 are no nearer to the data than the nearest of these two."""


def dissolves(ends: Tensor, t: Tensor) -> list[Tensor]:
    """Return the cross-dissolve of each pair of images, and those through tone curves, ``[P, N, *shape]`` each.

    A dissolve is pale, and a decoder that saturates restores its contrast without having learned what lies between two
    images: h((1 - t) h^-1(x1) + t h^-1(x2)), where h(z) = tanh(s z) / tanh(s) on [-1, 1]. For s towards 0 this is the
    plain dissolve, for large s a jump of one pixel after another. All have the same ends: a tone curve that sharpened
    these too would not tell a decoder's blur from what lies between. What of a value is beyond [-1, 1] is dissolved as
    it is.

    Parameters
    ----------
    ends : Tensor
        The images x1 and x2, ``[P, 2, *shape]``.
    t : Tensor
        ``[N]`` in [0, 1].
    """
    x1, x2 = ends.unbind(1)
    in1, in2 = x1.clamp(-1, 1), x2.clamp(-1, 1)
    beyond = lerp(x1 - in1, x2 - in2, t)
    toned = [lerp((h * in1).atanh(), (h * in2).atanh(), t).tanh() / h + beyond for h in map(math.tanh, TONES)]
    return [lerp(x1, x2, t), *toned]


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
