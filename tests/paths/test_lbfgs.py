from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from acaikit.paths.lbfgs import minimise


def rosenbrock(x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        values = (100 * (x[:, 1:] - x[:, :-1].square()).square() + (1 - x[:, :-1]).square()).sum(1)
        (gradients,) = torch.autograd.grad(values.sum(), x)
    return values.detach(), gradients


def plain(x: Tensor) -> Tensor:
    return x


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_rosenbrock_as_in_scipy(seed: int) -> None:
    start = np.random.default_rng(seed).normal(size=(3, 4))
    found = minimise(rosenbrock, torch.from_numpy(start), plain, 500, 1e-14)
    assert (rosenbrock(found)[1].norm(dim=1) < 1e-4).all()
    for x, begin in zip(found.numpy(), start, strict=True):
        # A minimum is near 1, or the local one at (-0.77, 0.61, 0.38, 0.15).
        near = scipy.optimize.minimize(scipy.optimize.rosen, x, method="BFGS")
        np.testing.assert_allclose(x, near.x, atol=1e-3)
        assert scipy.optimize.rosen(x) < scipy.optimize.rosen(begin)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 20))
def test_quadratic(seed: int, size: int) -> None:
    draw = np.random.default_rng(seed)
    factor = torch.from_numpy(draw.normal(size=(size, size)))
    matrix = factor @ factor.T + torch.eye(size)
    target = torch.from_numpy(draw.normal(size=(2, size)))

    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        gradient = (x - target) @ matrix
        return (gradient * (x - target)).sum(1) / 2, gradient

    found = minimise(function, torch.zeros_like(target), plain, 1000, 0)
    torch.testing.assert_close(found, target, rtol=1e-5, atol=1e-5)
    # One Newton step, where the preconditioner is exact.
    once = minimise(function, torch.zeros_like(target), lambda g: torch.linalg.solve(matrix, g.T).T, 1, 0)
    torch.testing.assert_close(once, target)


def test_problems_do_not_depend_on_each_other() -> None:
    start = torch.tensor([[-1.2, 1], [0, 0], [300, -200], [0.5, 2]], dtype=torch.float64)
    together = minimise(rosenbrock, start, plain, 60, 1e-12)
    for i in range(4):
        assert torch.equal(minimise(rosenbrock, start[i : i + 1], plain, 60, 1e-12)[0], together[i])


def test_no_value_rises() -> None:
    start = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 3)) * 10)
    values = [rosenbrock(minimise(rosenbrock, start, plain, n, 0))[0] for n in range(40)]
    for before, after in pairwise(values):
        assert (after <= before).all()
    assert (values[-1] < values[0] / 100).all()


def test_stays_where_the_start_is_not_finite() -> None:
    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.square().sum(1), torch.where(x.abs() > 100, math.nan, 2 * x)

    start = torch.tensor([[math.nan, 1], [math.inf, 0], [200, 0], [3, 4]], dtype=torch.float64)
    found = minimise(function, start, plain, 20, 0)
    torch.testing.assert_close(found[:3], start[:3], rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(found[3], torch.zeros(2, dtype=torch.float64))


def test_avoids_where_there_is_no_value() -> None:
    """The minimum of x - log x is 1; a full step from 0.1 would lead to 9.1, and one from 5 below zero."""

    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        return (x - x.log()).sum(1), 1 - 1 / x

    start = torch.tensor([[0.1], [5], [0.01]], dtype=torch.float64)
    found = minimise(function, start, lambda g: 10 * g, 100, 0)
    torch.testing.assert_close(found, torch.ones_like(start))


@pytest.mark.parametrize("iterations", [1, 7])
def test_calls_the_function_once_an_iteration(iterations: int) -> None:
    calls = []

    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(x)
        return rosenbrock(x)

    minimise(function, torch.zeros(1, 2, dtype=torch.float64), plain, iterations, 0)
    assert len(calls) == 1 + iterations


def test_stops_when_all_are_solved() -> None:
    calls = []

    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(x)
        return 1 + x.square().sum(1), 2 * x

    minimise(function, torch.tensor([[1.0], [-3.0]], dtype=torch.float64), lambda g: g / 2, 100, 1e-9)
    assert len(calls) == 2
