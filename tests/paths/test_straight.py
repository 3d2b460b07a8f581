from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit.paths import Path, lerp, nlerp, slerp

SHAPES = st.sampled_from([(1, 2), (3, 2, 2, 2), (2, 16)])
SEEDS = st.integers(0, 2**32 - 1)
DTYPES = st.sampled_from([torch.float32, torch.float64])
PATHS = pytest.mark.parametrize("path", [lerp, nlerp, slerp])


def latents(shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(shape, generator=draw, dtype=dtype) for _ in range(2))
    return a, b


@PATHS
@settings(deadline=None)
@given(shape=SHAPES, seed=SEEDS, dtype=DTYPES, steps=st.integers(2, 9))
def test_ends_are_exact(path: Path, shape: tuple[int, ...], seed: int, dtype: torch.dtype, steps: int) -> None:
    a, b = latents(shape, seed, dtype)
    points = path(a, b, torch.linspace(0, 1, steps))
    assert points.shape == (shape[0], steps, *shape[1:])
    assert points.dtype == dtype
    assert torch.equal(points[:, 0], a)
    assert torch.equal(points[:, -1], b)


@settings(deadline=None)
@given(shape=SHAPES, seed=SEEDS)
def test_lerp_in_numpy(shape: tuple[int, ...], seed: int) -> None:
    a, b = latents(shape, seed)
    t = torch.linspace(0, 1, 5, dtype=torch.float64)
    expected = [[(1 - s) * p + s * q for s in t.tolist()] for p, q in zip(a.numpy(), b.numpy(), strict=True)]
    np.testing.assert_allclose(lerp(a, b, t).numpy(), expected, rtol=1e-12, atol=1e-12)


def angles(points: torch.Tensor) -> torch.Tensor:
    """The angle between each point of a path and the next, as accurate for small angles as for large ones."""
    u, v = (torch.nn.functional.normalize(p.double(), dim=-1) for p in (points[:, :-1], points[:, 1:]))
    return 2 * torch.atan2((u - v).norm(dim=-1), (u + v).norm(dim=-1))


@settings(deadline=None)
@given(seed=SEEDS, dtype=DTYPES, radius=st.floats(0.1, 10))
def test_slerp_turns_at_constant_speed_on_the_sphere(seed: int, dtype: torch.dtype, radius: float) -> None:
    a, b = (radius * torch.nn.functional.normalize(v, dim=1) for v in latents((4, 8), seed, dtype))
    points = slerp(a, b, torch.linspace(0, 1, 6, dtype=torch.float64))
    turned = angles(points)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-7
    torch.testing.assert_close(turned, turned.mean(1, keepdim=True).expand_as(turned), atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(turned.sum(1), angles(torch.stack([a, b], 1))[:, 0], atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(points.norm(dim=-1), torch.full((4, 6), radius, dtype=dtype), rtol=1e-4, atol=0)


def test_slerp_of_two_axes() -> None:
    a, b = torch.tensor([[[2.0, 0.0]]]), torch.tensor([[[0.0, 2.0]]])
    found = slerp(a, b, torch.tensor([0, 1 / 3, 0.5, 1]))
    expected = [[2, 0], [math.sqrt(3), 1], [math.sqrt(2), math.sqrt(2)], [0, 2]]
    torch.testing.assert_close(found, torch.tensor([[[each] for each in expected]]))


@settings(deadline=None)
@given(seed=SEEDS, dtype=DTYPES, scale=st.floats(0.1, 10).flatmap(lambda s: st.sampled_from([s, -s])))
def test_slerp_of_parallel_and_opposite_latents_is_straight(seed: int, dtype: torch.dtype, scale: float) -> None:
    a, _ = latents((3, 4, 2), seed, dtype)
    t = torch.linspace(0, 1, 7)
    torch.testing.assert_close(slerp(a, scale * a, t), lerp(a, scale * a, t), rtol=1e-6, atol=1e-6)


@settings(deadline=None)
@given(seed=SEEDS, dtype=DTYPES, exponent=st.floats(-8, -3))
def test_slerp_tends_to_lerp(seed: int, dtype: torch.dtype, exponent: float) -> None:
    a, b = latents((3, 8), seed, dtype)
    near = a + 10**exponent * b
    t = torch.linspace(0, 1, 5)
    torch.testing.assert_close(slerp(a, near, t), lerp(a, near, t), rtol=1e-4, atol=1e-5)


@settings(deadline=None)
@given(shape=SHAPES, seed=SEEDS, radius=st.floats(0.1, 10))
def test_nlerp_in_numpy(shape: tuple[int, ...], seed: int, radius: float) -> None:
    a, b = latents(shape, seed)
    b = radius * b
    t = torch.linspace(0, 1, 5, dtype=torch.float64)
    expected = []
    for p, q in zip(a.numpy(), b.numpy(), strict=True):
        straight = [(1 - s) * p + s * q for s in t.tolist()]
        norms = [(1 - s) * np.linalg.norm(p) + s * np.linalg.norm(q) for s in t.tolist()]
        expected.append([point * norm / np.linalg.norm(point) for point, norm in zip(straight, norms, strict=True)])
    np.testing.assert_allclose(nlerp(a, b, t).numpy(), expected, rtol=1e-9, atol=1e-12)


@settings(deadline=None)
@given(seed=SEEDS)
def test_nlerp_has_the_directions_of_slerp(seed: int) -> None:
    a, b = (torch.nn.functional.normalize(v, dim=1) for v in latents((3, 8), seed))
    middle = torch.tensor([0.5])
    torch.testing.assert_close(nlerp(a, b, middle), slerp(a, b, middle))
    turned = angles(torch.stack([a, nlerp(a, b, torch.tensor([0.3]))[:, 0], b], 1)).sum(1)
    torch.testing.assert_close(turned, angles(torch.stack([a, b], 1))[:, 0])


def test_nlerp_through_the_origin_stays_there() -> None:
    a = torch.tensor([[1.0, 2.0]])
    found = nlerp(a, -a, torch.tensor([0.25, 0.5, 1]))
    torch.testing.assert_close(found, torch.stack([a, 0 * a, -a], 1))
    assert torch.equal(nlerp(0 * a, a, torch.tensor([0.0, 1]))[0], torch.cat([0 * a, a]))


@PATHS
@pytest.mark.parametrize("scale", [None, 1.0, -2.0])
def test_gradients_are_finite(path: Path, scale: float | None) -> None:
    a, b = latents((2, 3), 0)
    b = b if scale is None else scale * a
    for end in (a, b):
        end.requires_grad_()
    path(a, b, torch.tensor([0.25])).sum().backward()
    assert a.grad is not None and a.grad.isfinite().all() and a.grad.any()
    assert b.grad is not None and b.grad.isfinite().all() and b.grad.any()
