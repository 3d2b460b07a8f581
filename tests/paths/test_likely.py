from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from acaikit.densities import DENSITIES, Gaussian
from acaikit.errors import EvaluationError, UserError
from acaikit.paths import Landscape, Path, described, lerp, slerp
from acaikit.paths.likely import LikelyPath

EVERY = pytest.mark.parametrize("density", list(DENSITIES))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def nowhere(z: Tensor) -> Tensor:
    raise AssertionError("a likely path decodes nothing")


def made(latents: Tensor | None = None, **values: object) -> Path:
    landscape = Landscape(nowhere, None if latents is None else lambda: latents)
    return LikelyPath(**({"density": "gaussian"} | values)).over(landscape)


def closed_form(a: Tensor, b: Tensor, mean: Tensor, precision: Tensor, weight: float, n: int) -> np.ndarray:
    """The minimum for a normal density: one linear system in all inner points, solved at once."""
    size = a.shape[1]
    second = 2 * np.eye(n - 1) - np.eye(n - 1, k=1) - np.eye(n - 1, k=-1)
    system = 2 * n * np.kron(second, precision) + weight / n * np.kron(np.eye(n - 1), precision)
    paths = []
    for p, q in zip(a.numpy() - mean, b.numpy() - mean, strict=True):
        right = np.zeros((n - 1, size))
        right[0] += 2 * n * precision @ p
        right[-1] += 2 * n * precision @ q
        inner = np.linalg.solve(system, right.ravel()).reshape(n - 1, size)
        paths.append(np.concatenate([[p], inner, [q]]) + mean)
    return np.stack(paths)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 6), weight=st.floats(0, 100), points=st.integers(3, 20))
def test_prior_in_closed_form(seed: int, size: int, weight: float, points: int) -> None:
    a, b = normal(2, size, seed=seed), normal(2, size, seed=seed + 1)
    found = made(density="prior", weight=weight, points=points)(a, b, torch.linspace(0, 1, points, dtype=torch.float64))
    expected = closed_form(a, b, np.zeros(size), np.eye(size), weight, points - 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 60), weight=st.floats(0, 30), unit=st.floats(0.01, 100))
def test_gaussian_in_closed_form(seed: int, count: int, weight: float, unit: float) -> None:
    draw = np.random.default_rng(seed)
    mixing = unit * draw.normal(size=(4, 4)) * np.geomspace(0.1, 2, 4)
    latents, a, b = (torch.from_numpy(draw.normal(size=(m, 4)) @ mixing + unit) for m in (count, 2, 2))
    fitted = Gaussian.fit(latents)
    precision = (fitted.whitening @ fitted.whitening.T).numpy()
    found = made(latents, weight=weight, points=12, iterations=1000)(
        a, b, torch.linspace(0, 1, 12, dtype=torch.float64)
    )
    expected = closed_form(a, b, fitted.mean.numpy(), precision, weight, 11)
    np.testing.assert_allclose(found / unit, expected / unit, atol=1e-4)


def test_float32_and_the_default_iterations_are_enough() -> None:
    latents = normal(300, 16) * torch.from_numpy(np.geomspace(0.01, 3, 16))
    t = torch.linspace(0, 1, 16, dtype=torch.float64)
    exact = made(latents, iterations=5000)(latents[:4], latents[4:8], t)
    found = made(latents.float())(latents[:4].float(), latents[4:8].float(), t)
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=2e-2)


@EVERY
@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_no_weight_is_lerp_exactly(density: str, seed: int, dtype: torch.dtype) -> None:
    a, b = normal(3, 2, 2, seed=seed).to(dtype), normal(3, 2, 2, seed=seed + 1).to(dtype)
    t = torch.linspace(0, 1, 7)
    assert torch.equal(made(normal(50, 2, 2), density=density, weight=0)(a, b, t), lerp(a, b, t))


@EVERY
def test_more_likely_and_longer_than_the_straight_line(density: str) -> None:
    latents = normal(400, 8) @ normal(8, 8, seed=5)
    a, b, t = latents[:6], latents[6:12], torch.linspace(0, 1, 16)
    kind = DENSITIES[density].fit(latents)
    likelihoods, lengths = [], []
    for weight in (0, 1, 4, 16):
        z = made(latents, density=density, weight=weight)(a, b, t)
        likelihoods.append(kind.log_density(z.flatten(0, 1)).view(6, 16).mean(1))
        lengths.append(z.diff(dim=1).norm(dim=2).sum(1))
    assert (torch.stack(likelihoods).diff(dim=0) > 0).all()
    assert (torch.stack(lengths).diff(dim=0) > 0).all()


@pytest.mark.parametrize("size", [16, 64])
def test_what_the_default_weight_does_to_samples_of_the_prior(size: int) -> None:
    """The figures of the docstring."""
    latents, a, b = normal(2000, size), normal(64, size, seed=1), normal(64, size, seed=2)
    middle = torch.tensor([7 / 15])

    def norm(path: Path) -> float:
        return path(a, b, middle).flatten(1).norm(dim=1).mean().item() / math.sqrt(size)

    assert norm(lerp) == pytest.approx(0.71, abs=0.04)
    assert norm(slerp) == pytest.approx(1, abs=0.05)
    assert norm(made(density="prior")) == pytest.approx(0.57, abs=0.03)
    assert norm(made(latents)) == pytest.approx(0.57, abs=0.03)
    assert norm(made(latents, density="shell")) == pytest.approx(0.80, abs=0.03)
    for path in (made(latents), made(latents, density="shell")):
        length = path(a, b, torch.linspace(0, 1, 16)).diff(dim=1).norm(dim=2).sum(1) / (a - b).norm(dim=1)
        assert 1 < length.mean() < 1.04


@pytest.mark.parametrize("density", ["prior", "gaussian", "shell"])
def test_weight_means_the_same_for_any_number_of_points(density: str) -> None:
    latents, a, b = normal(500, 8), normal(4, 8, seed=1), normal(4, 8, seed=2)
    t = torch.linspace(0, 1, 9)
    coarse, fine = (made(latents, density=density, points=points)(a, b, t) for points in (17, 129))
    straight = lerp(a, b, t)
    assert (coarse - fine).norm() < 0.03 * (fine - straight).norm()


@pytest.mark.parametrize("density", ["gaussian", "kernel", "shell"])
def test_weight_means_the_same_for_latents_of_any_scale(density: str) -> None:
    latents, a, b = normal(100, 8), normal(4, 8, seed=1), normal(4, 8, seed=2)
    t = torch.linspace(0, 1, 9)
    once = made(latents, density=density)(a, b, t)
    torch.testing.assert_close(made(latents / 512, density=density)(a / 512, b / 512, t) * 512, once, rtol=0, atol=1e-4)


@EVERY
def test_between_opposite_latents_and_from_a_latent_to_itself(density: str) -> None:
    latents = normal(100, 4)
    a, b = torch.cat([normal(1, 4, seed=1)] * 2), torch.cat([-normal(1, 4, seed=1), normal(1, 4, seed=1)])
    found = made(latents, density=density, points=5)(a, b, torch.linspace(0, 1, 5))
    assert found.isfinite().all()


def test_from_a_latent_to_itself_by_way_of_what_is_likelier() -> None:
    a = normal(2, 3)
    t = torch.linspace(0, 1, 16, dtype=torch.float64)
    expected = closed_form(a, a, np.zeros(3), np.eye(3), 4.0, 15)
    np.testing.assert_allclose(made(density="prior")(a, a, t), expected, atol=1e-6)


def test_latents_are_asked_for_once() -> None:
    asked = []
    path = LikelyPath().over(Landscape(nowhere, lambda: asked.append(1) or normal(20, 4)))
    for _ in range(2):
        path(normal(1, 4), normal(1, 4), torch.zeros(1))
    assert asked == [1]


def test_a_model_alone_has_no_latents() -> None:
    made(density="prior")
    for density in ("gaussian", "kernel", "shell"):
        with pytest.raises(UserError, match=rf"needs training latents for its {density} density.*run\.trained\.path"):
            made(density=density)


def test_latents_without_a_density() -> None:
    with pytest.raises(EvaluationError, match="all the same"):
        made(torch.ones(9, 4))
    with pytest.raises(EvaluationError, match="diverged"):
        made(torch.full((9, 4), math.nan))


def test_settings() -> None:
    expected = {"path": "LikelyPath", "version": 1, "density": "shell", "weight": 4.0, "points": 16, "iterations": 100}
    assert described(LikelyPath()) == expected
    with pytest.raises(UserError, match=r"LikelyPath\.density: no density is called 'normal'"):
        LikelyPath("normal")
    for weight in (-1, math.nan, "much"):
        with pytest.raises(UserError, match=r"LikelyPath\.weight must be a number"):
            LikelyPath(weight=weight)
