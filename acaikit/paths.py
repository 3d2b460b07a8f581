"""Paths between two latents: each maps ``(a, b, t)`` to the points at the mixing coefficients `t`.

`a` and `b` are latents ``[P, *latent shape]``, `t` is ``[N]`` in [0, 1], and the result is ``[P, N, *latent shape]``
with `a` at t = 0 and `b` at t = 1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Path = Callable[[Tensor, Tensor, Tensor], Tensor]


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Linear interpolation, (1 - t) a + t b (paper, section 2)."""
    t = t.view(1, -1, *[1] * (a.dim() - 1)).to(a)
    return (1 - t) * a.unsqueeze(1) + t * b.unsqueeze(1)


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Spherical interpolation, (sin((1 - t) w) a + sin(t w) b) / sin(w) (Shoemake 1985; White 2016).

    w is the angle between the flattened latents. Where they are parallel the formula is 0 / 0, and its limit, the
    straight line, is used; for opposite latents no great circle is distinguished, and the straight line is used too.
    """
    # In float64: a float32 cosine is too coarse near -1 to tell opposite latents from almost opposite ones.
    cosine = torch.nn.functional.cosine_similarity(a.flatten(1).double(), b.flatten(1).double(), dim=1).clamp(-1, 1)
    cosine = cosine.view(-1, 1, *[1] * (a.dim() - 1))
    straight = cosine.abs() > 1 - 5e-9  # an angle within 1e-4 of 0 or pi
    angle = cosine.masked_fill(straight, 0).acos()
    t = t.view(1, -1, *[1] * (a.dim() - 1)).to(a.device, torch.float64)
    weight_a, weight_b = ((1 - t) * angle).sin() / angle.sin(), (t * angle).sin() / angle.sin()
    weight_a, weight_b = torch.where(straight, 1 - t, weight_a), torch.where(straight, t, weight_b)
    return weight_a.to(a) * a.unsqueeze(1) + weight_b.to(a) * b.unsqueeze(1)
