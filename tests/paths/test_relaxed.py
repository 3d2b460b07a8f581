from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from acaikit.errors import UserError
from acaikit.paths import Landscape, ModelPath, Path, lerp
from acaikit.paths.geodesic import Geodesic
from acaikit.paths.likely import LikelyPath
from acaikit.paths.relaxed import _bridge

KINDS = pytest.mark.parametrize("kind", [Geodesic, LikelyPath])


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def curved(z: Tensor) -> Tensor:
    """A smooth decoder of latents ``[B, 2, 2]`` to ``[B, 3, 2]``."""
    weights = drawn(4, 6, seed=9).to(z)
    return (z.flatten(1) @ weights).sin().view(-1, 3, 2)


LANDSCAPE = Landscape(curved, lambda: drawn(100, 2, 2, seed=8))


def made(kind: type[ModelPath], **settings: object) -> Path:
    return kind(**settings).over(LANDSCAPE)


@pytest.mark.parametrize("n", [2, 3, 16])
def test_bridge_is_the_inverse_of_second_differences(n: int) -> None:
    second = 2 * torch.eye(n - 1) - torch.diag(torch.ones(n - 2), 1) - torch.diag(torch.ones(n - 2), -1)
    torch.testing.assert_close(_bridge(n) @ second.double(), torch.eye(n - 1, dtype=torch.float64))


@KINDS
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), points=st.integers(3, 9), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_shape_ends_and_kind(kind: type[ModelPath], seed: int, points: int, dtype: torch.dtype) -> None:
    a, b = drawn(3, 2, 2, seed=seed, dtype=dtype), drawn(3, 2, 2, seed=seed + 1, dtype=dtype)
    found = made(kind, points=points)(a, b, torch.linspace(0, 1, 7))
    assert found.shape == (3, 7, 2, 2) and found.dtype == dtype
    assert torch.equal(found[:, 0], a) and torch.equal(found[:, -1], b)


@KINDS
def test_linear_between_the_points(kind: type[ModelPath]) -> None:
    a, b = drawn(2, 2, 2), drawn(2, 2, 2, seed=1)
    path = made(kind, points=5)
    grid = path(a, b, torch.linspace(0, 1, 5))
    assert (grid - lerp(a, b, torch.linspace(0, 1, 5))).abs().max() > 1e-3
    t = torch.tensor([0.0, 0.1, 0.25, 0.6, 1.0], dtype=torch.float64)
    expected = torch.stack(
        [grid[:, 0], 0.6 * grid[:, 0] + 0.4 * grid[:, 1], grid[:, 1], 0.6 * grid[:, 2] + 0.4 * grid[:, 3], grid[:, 4]],
        1,
    )
    torch.testing.assert_close(path(a, b, t), expected)


@KINDS
def test_each_pair_by_itself(kind: type[ModelPath], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acaikit.paths.relaxed.CHUNK", 20)  # two paths of eight points at a time
    a, b, t = drawn(7, 2, 2), drawn(7, 2, 2, seed=1), torch.linspace(0, 1, 8)
    path = made(kind, points=8)
    alone = torch.cat([path(a[i : i + 1], b[i : i + 1], t) for i in range(7)])
    torch.testing.assert_close(path(a, b, t), alone, rtol=1e-9, atol=1e-9)


@KINDS
def test_so_many_points_at_a_time(kind: type[ModelPath], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acaikit.paths.relaxed.CHUNK", 20)
    seen = []

    def decode(z: Tensor) -> Tensor:
        seen.append(len(z))
        return curved(z)

    kind(points=8).over(Landscape(decode, LANDSCAPE.latents))(drawn(7, 2, 2), drawn(7, 2, 2, seed=1), torch.zeros(1))
    assert max(seen, default=0) == (16 if kind is Geodesic else 0)


@KINDS
def test_same_again_without_touching_any_generator(kind: type[ModelPath]) -> None:
    a, b, t = drawn(2, 2, 2), drawn(2, 2, 2, seed=1), torch.linspace(0, 1, 8)
    state = torch.random.get_rng_state()
    assert torch.equal(made(kind)(a, b, t), made(kind)(a, b, t))
    assert torch.equal(torch.random.get_rng_state(), state)


@KINDS
def test_without_gradients_and_none_left_behind(kind: type[ModelPath]) -> None:
    weights = torch.nn.Parameter(drawn(4, 6))
    landscape = Landscape(lambda z: (z.flatten(1) @ weights).sin(), lambda: drawn(50, 2, 2, seed=8))
    a, b, t = drawn(2, 2, 2), drawn(2, 2, 2, seed=1), torch.linspace(0, 1, 8)
    with torch.no_grad():
        found = kind().over(landscape)(a, b, t)
        assert not torch.is_grad_enabled()
    assert not found.requires_grad
    assert weights.grad is None
    assert torch.equal(kind().over(landscape)(a, b, t).detach(), found)


@KINDS
def test_latents_that_are_not_finite_keep_to_themselves(kind: type[ModelPath]) -> None:
    a, b, t = drawn(3, 2, 2), drawn(3, 2, 2, seed=1), torch.linspace(0, 1, 8)
    broken = a.clone()
    broken[1, 0, 0] = math.nan
    found = made(kind)(broken, b, t)
    assert found[1, 0].isnan().any()
    torch.testing.assert_close(found[[0, 2]], made(kind)(a, b, t)[[0, 2]])


@KINDS
def test_settings(kind: type[ModelPath]) -> None:
    for values in ({"points": 2}, {"points": 3.0}, {"iterations": 0}):
        with pytest.raises(UserError, match=rf"{kind.__name__}\.{next(iter(values))} must be a whole number"):
            kind(**values)
