from __future__ import annotations

import pytest
import torch

from acaikit.errors import UserError
from acaikit.regularizers import Denoising


@pytest.mark.parametrize("std", [0.0, 0.3, 1.0])
def test_noise_is_normal(std: float) -> None:
    x = torch.linspace(-1, 1, 40_000, dtype=torch.float64).view(100, 1, 20, 20)
    before = x.clone()
    n = Denoising(std=std).corrupt(x, torch.Generator().manual_seed(0)) - x
    assert torch.equal(x, before)
    error = 4 * std / n.numel() ** 0.5
    assert abs(n.mean()) <= error
    assert abs(n.square().mean() - std**2) <= 1.5 * error * std
    assert abs((n.abs() < std).double().mean() - 0.6827 * (std > 0)) < 0.01
    # The noise doesn't follow the data.
    assert abs((n * x).mean()) <= error


def test_noise_comes_from_the_given_generator() -> None:
    x = torch.zeros(2, 1, 4, 4)
    expected = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(Denoising(std=2.0).corrupt(x, torch.Generator().manual_seed(3)), 2 * expected)


def test_no_noise_at_evaluation() -> None:
    x = torch.randn(2, 1, 4, 4)
    assert torch.equal(Denoising().corrupt(x, None), x)


def test_the_papers_noise_is_the_default() -> None:
    assert Denoising().std == 1


@pytest.mark.parametrize("std", [-0.1, float("nan")])
def test_std_must_not_be_negative(std: float) -> None:
    with pytest.raises(UserError, match=f"Denoising.std must be a number of at least 0, not {std}"):
        Denoising(std=std)
