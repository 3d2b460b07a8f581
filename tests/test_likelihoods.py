from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit.likelihoods import MSE, Bernoulli

SHAPES = st.sampled_from([(1, 1, 2, 2), (3, 2, 4, 4), (5, 3)])


def batch(shape: tuple[int, ...], seed: int, scale: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = np.random.default_rng(seed)
    return torch.from_numpy(scale * draw.normal(size=shape)), torch.from_numpy(draw.uniform(-1, 1, shape))


@settings(deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 2**32 - 1))
def test_mse_in_numpy(shape: tuple[int, ...], seed: int) -> None:
    output, x = batch(shape, seed)
    expected = ((x.numpy() - output.numpy()) ** 2).sum() / x.numel()
    assert MSE().loss(output, x).item() == pytest.approx(expected, rel=1e-12)
    assert torch.equal(MSE().image(output), output)


@settings(deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 2**32 - 1))
def test_bernoulli_in_numpy(shape: tuple[int, ...], seed: int) -> None:
    output, x = batch(shape, seed)
    p, target = 1 / (1 + np.exp(-output.numpy())), (x.numpy() + 1) / 2
    log_p = target * np.log(p) + (1 - target) * np.log(1 - p)
    assert Bernoulli().loss(output, x).item() == pytest.approx(-log_p.sum() / len(x), rel=1e-9)
    np.testing.assert_allclose(Bernoulli().image(output).numpy(), 2 * p - 1, atol=1e-12)


def test_bernoulli_is_finite_where_the_decoder_is_sure() -> None:
    output, x = torch.tensor([[500.0, -500.0]]), torch.tensor([[-1.0, -1.0]])
    assert Bernoulli().loss(output, x).item() == 500
    assert Bernoulli().image(output).tolist() == [[1, -1]]


def test_mean_images_are_the_likeliest() -> None:
    """The loss of Bernoulli is smallest where the image shown is the data."""
    x = torch.tensor([[0.6, -0.2]], dtype=torch.float64)
    best = torch.logit((x + 1) / 2)
    torch.testing.assert_close(Bernoulli().image(best), x)
    for offset in (-0.1, 0.1):
        assert Bernoulli().loss(best + offset, x) > Bernoulli().loss(best, x)
