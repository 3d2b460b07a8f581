"""Paths in closed form, which need to know of their two ends only: each maps ``(a, b, t)`` to the points at `t`."""

from __future__ import annotations

import torch
from torch import Tensor


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


def nlerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Linear interpolation whose points are given the length that lies between those of its ends.

    (1 - t) a + t b, rescaled to the norm ``(1 - t) |a| + t |b|`` of the flattened latents: with the directions of
    `slerp`, at another speed. The straight line passes nearer to the origin than data in many dimensions do (White
    2016). Where it passes through the origin itself there is no direction, and the point stays there.
    """
    straight = lerp(a, b, t)
    norms = [torch.linalg.vector_norm(end.flatten(1).double(), dim=1) for end in (a, b)]
    wanted = lerp(norms[0], norms[1], t.to(a.device, torch.float64))
    scale: Tensor = wanted / torch.linalg.vector_norm(straight.flatten(2).double(), dim=2)
    factors = scale.nan_to_num(1, posinf=1).to(a)
    return straight * factors.view(*scale.shape, *[1] * (a.dim() - 1))
