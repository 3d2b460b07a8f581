from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from sklearn.covariance import oas
from sklearn.neighbors import KernelDensity as Kernels

from acaikit.densities import DENSITIES, Density, Gaussian, KernelDensity, Prior, Shell, density
from acaikit.errors import EvaluationError, UserError

FITTED = pytest.mark.parametrize("kind", [Gaussian, KernelDensity, Shell])
EVERY = pytest.mark.parametrize("kind", list(DENSITIES.values()))


def skewed(count: int, dimensions: int, seed: int = 0, noise: float = 1.0) -> torch.Tensor:
    """Latents with a mean, correlations and spreads of their own."""
    draw = np.random.default_rng(seed)
    mixing = draw.normal(size=(dimensions, dimensions)) * np.linspace(0.2, 2, dimensions)
    return torch.from_numpy(noise * (draw.normal(size=(count, dimensions)) @ mixing + draw.normal(size=dimensions)))


@settings(deadline=None)
@given(dimensions=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_prior_in_scipy(dimensions: int, seed: int) -> None:
    z = np.random.default_rng(seed).normal(size=(5, dimensions)) * 3
    expected = scipy.stats.multivariate_normal(np.zeros(dimensions)).logpdf(z)
    np.testing.assert_allclose(Prior().log_density(torch.from_numpy(z)), expected.reshape(5), rtol=1e-10)


@settings(deadline=None)
@given(count=st.integers(2, 60), dimensions=st.integers(1, 12), seed=st.integers(0, 2**32 - 1))
def test_gaussian_in_scipy_and_scikit_learn(count: int, dimensions: int, seed: int) -> None:
    latents, z = skewed(count, dimensions, seed), skewed(7, dimensions, seed)
    fitted = Gaussian.fit(latents)
    covariance, _ = oas(latents.numpy())
    expected = scipy.stats.multivariate_normal(latents.numpy().mean(0), covariance).logpdf(z.numpy())
    np.testing.assert_allclose(fitted.log_density(z), expected.reshape(7), rtol=1e-8)
    white = fitted.whiten(z)
    torch.testing.assert_close(fitted.colour(white - white[:1]), z - z[:1])


def test_many_latents_shrink_hardly_at_all() -> None:
    latents = skewed(20_000, 4)
    expected = scipy.stats.multivariate_normal(latents.numpy().mean(0), np.cov(latents.numpy().T)).logpdf(latents[:50])
    np.testing.assert_allclose(Gaussian.fit(latents).log_density(latents[:50]), expected, atol=2e-2)


def radii(z: torch.Tensor, latents: torch.Tensor) -> np.ndarray:
    """The Mahalanobis distances of `z` from the mean of `latents`."""
    covariance, _ = oas(latents.numpy())
    apart = z.numpy() - latents.numpy().mean(0)
    return np.sqrt(np.einsum("ni,ij,nj->n", apart, np.linalg.inv(covariance), apart))


@pytest.mark.parametrize("count", [9, 500])
def test_shell_in_scipy(count: int) -> None:
    latents, z = skewed(count, 6), skewed(20, 6, seed=1)
    freedom = (radii(latents, latents) ** 2).mean()
    expected = scipy.stats.chi(freedom).logpdf(radii(z, latents))
    np.testing.assert_allclose(Shell.fit(latents).log_density(z), expected, rtol=1e-8)


def test_shell_has_as_many_degrees_of_freedom_as_coordinates_that_vary() -> None:
    latents = torch.cat([skewed(5000, 6), torch.full((5000, 10), 3.0)], 1)
    assert Shell.fit(latents).freedom == pytest.approx(6, abs=0.1)


@pytest.mark.parametrize(("count", "dimensions"), [(2, 3), (40, 1), (300, 5), (1100, 2)])
def test_kernels_in_scipy(count: int, dimensions: int) -> None:
    latents, z = skewed(count, dimensions), skewed(30, dimensions, seed=1)
    fitted = KernelDensity.fit(latents)
    covariance, _ = oas(latents.numpy())
    kernel = scipy.stats.multivariate_normal(np.zeros(dimensions), fitted.bandwidth**2 * covariance)
    each = np.stack([kernel.logpdf(z.numpy() - centre).reshape(len(z)) for centre in latents.numpy()])
    np.testing.assert_allclose(fitted.log_density(z), logsumexp(each, 0) - math.log(count), rtol=1e-8, atol=1e-8)


def leave_one_out(white: np.ndarray, bandwidth: float) -> float:
    total = 0.0
    for i, row in enumerate(white):
        others = np.delete(white, i, 0)
        total += Kernels(bandwidth=bandwidth).fit(others).score_samples(row[None])[0]
    return total


@pytest.mark.parametrize("clustered", [False, True])
def test_bandwidth_is_the_likeliest_of_the_grid(clustered: bool) -> None:
    draw = np.random.default_rng(0)
    latents = draw.normal(size=(60, 2)) * (0.05 if clustered else 1)
    latents += clustered * draw.integers(0, 2, (60, 1)) * 5
    fitted = KernelDensity.fit(torch.from_numpy(latents))
    covariance, _ = oas(latents)
    white = latents @ np.linalg.inv(np.linalg.cholesky(covariance)).T
    grid = [60 ** (-1 / 6) * 2 ** (i / 4) for i in range(-12, 5)]
    assert fitted.bandwidth == pytest.approx(max(grid, key=lambda h: leave_one_out(white, h)))
    assert grid[0] < fitted.bandwidth < grid[-1] or clustered


def test_at_most_so_many_kernels() -> None:
    latents = torch.arange(4001, dtype=torch.float64).view(-1, 1)
    fitted = KernelDensity.fit(latents)
    assert fitted._centres.shape == (2000, 1)
    spread = fitted._centres / fitted.normal.whitening + fitted.normal.mean
    np.testing.assert_allclose(spread.flatten(), np.linspace(0, 4000, 2000).round(), atol=1e-6)


@EVERY
def test_gradients(kind: type[Density]) -> None:
    z = skewed(4, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(kind.fit(skewed(30, 3)).log_density, z)


@EVERY
def test_float32_is_computed_in_float64(kind: type[Density]) -> None:
    latents, z = skewed(50, 3).float(), skewed(4, 3, seed=1).float()
    found = kind.fit(latents).log_density(z)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, kind.fit(latents.double()).log_density(z.double()), rtol=1e-12, atol=0)


@FITTED
def test_latents_of_any_shape_and_scale(kind: type[Density]) -> None:
    """In other units a density changes by the volume, but that of the shell's radius, which has no unit, does not."""
    latents, z = skewed(100, 8), skewed(5, 8, seed=1)
    fitted, thousandth = kind.fit(latents.view(100, 2, 2, 2)), kind.fit(latents / 1000)
    volume = 0 if kind is Shell else 8 * math.log(1000)
    torch.testing.assert_close(thousandth.log_density(z / 1000), fitted.log_density(z) + volume)
    torch.testing.assert_close(thousandth.whiten(z / 1000), fitted.whiten(z))
    torch.testing.assert_close(thousandth.colour(z) * 1000, fitted.colour(z))


@FITTED
@pytest.mark.parametrize("count", [2, 3, 50])
def test_constant_coordinates_and_few_latents(kind: type[Density], count: int) -> None:
    latents = torch.cat([skewed(count, 5), torch.full((count, 4), 3.0)], 1)
    fitted = kind.fit(latents)
    assert fitted.log_density(latents).isfinite().all()
    off = latents.clone()
    off[:, -1] += 100
    assert (fitted.log_density(off) < fitted.log_density(latents)).all()


@FITTED
def test_duplicates(kind: type[Density]) -> None:
    fitted = kind.fit(skewed(5, 3).repeat(40, 1))
    assert fitted.log_density(skewed(5, 3)).isfinite().all()


def test_duplicates_get_the_smallest_bandwidth() -> None:
    assert KernelDensity.fit(skewed(5, 3).repeat(40, 1)).bandwidth == pytest.approx(200 ** (-1 / 7) / 8)


@FITTED
@pytest.mark.parametrize(
    ("latents", "message"),
    [
        (torch.zeros(0, 3), "no training latents"),
        (torch.ones(1, 3), "all the same"),
        (torch.full((9, 3), 0.1), "all the same"),
        (torch.tensor([[1.0, math.nan], [1, 2], [math.inf, 0]]), "2 of 3 training latents hold NaN.*diverged"),
    ],
)
def test_latents_without_a_density(kind: type[Density], latents: torch.Tensor, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        kind.fit(latents)


def test_names() -> None:
    assert density("x", "kernel") is KernelDensity
    with pytest.raises(UserError, match=r"LikelyPath.density: no density is called 'gausian': did you mean gaussian\?"):
        density("LikelyPath.density", "gausian")


def test_only_the_prior_needs_no_latents() -> None:
    def latents() -> torch.Tensor:
        raise AssertionError

    assert isinstance(Prior.of(latents), Prior)
    for kind in (Gaussian, KernelDensity, Shell):
        with pytest.raises(AssertionError):
            kind.of(latents)
        assert isinstance(kind.of(lambda: skewed(9, 2)), kind)
