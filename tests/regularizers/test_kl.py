from __future__ import annotations

from math import prod

import numpy as np
import pytest
import torch

from acaikit.errors import UserError
from acaikit.nets import ConvEncoder, count_parameters
from acaikit.regularizers import KL, Architecture
from acaikit.returned import unpack
from acaikit.rng import initialise
from acaikit.types import Step

LATENT = (2, 2, 3)
DIM = prod(LATENT)


def built(kl: KL) -> KL:
    kl.build(Architecture((1, 4, 6), LATENT, ConvEncoder()))
    initialise(kl, 0, "KL")
    with torch.no_grad():
        kl.log_var.bias.copy_(torch.linspace(-2, 2, DIM))
    return kl.double()


def features(batch: int = 5) -> torch.Tensor:
    return torch.randn(batch, *LATENT, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def posterior(kl: KL, h: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """mu and log sigma^2, by hand."""
    flat = h.numpy().reshape(len(h), DIM)
    mu, log_var = (flat @ m.weight.detach().numpy().T + m.bias.detach().numpy() for m in (kl.mu, kl.log_var))
    return mu, log_var


def test_two_linear_maps() -> None:
    assert count_parameters(built(KL())) == 2 * DIM * (DIM + 1)


def test_sample_in_numpy() -> None:
    kl, h = built(KL()), features()
    z, extras = unpack(kl.posterior(h, torch.Generator().manual_seed(3)), "posterior", h.shape)
    mu, log_var = posterior(kl, h)
    eps = torch.randn(5, DIM, generator=torch.Generator().manual_seed(3), dtype=torch.float64).numpy()
    expected = mu + np.exp(log_var) ** 0.5 * eps
    np.testing.assert_allclose(z.detach().numpy(), expected.reshape(5, *LATENT), rtol=1e-9)
    np.testing.assert_allclose(extras["mu"].detach().numpy(), mu, rtol=1e-9)
    np.testing.assert_allclose(extras["log_var"].detach().numpy(), log_var, rtol=1e-9)


def test_samples_have_the_posteriors_mean_and_spread() -> None:
    kl, n = built(KL()), 20_000
    h = features(1)
    z, _ = unpack(kl.posterior(h.expand(n, *LATENT), torch.Generator().manual_seed(3)), "posterior", (n, *LATENT))
    samples = z.detach().numpy().reshape(n, DIM)
    mu, log_var = posterior(kl, h)
    sigma = np.exp(0.5 * log_var[0])
    assert (np.abs(samples.mean(0) - mu[0]) < 4.5 * sigma / n**0.5).all()
    np.testing.assert_allclose(samples.std(0), sigma, rtol=0.03)


def test_the_mean_at_evaluation() -> None:
    kl, h = built(KL()), features()
    z, _ = unpack(kl.posterior(h, None), "posterior", h.shape)
    np.testing.assert_allclose(z.detach().numpy().reshape(5, DIM), posterior(kl, h)[0], rtol=1e-9)


@pytest.mark.parametrize("weight", [0.0, 1.0, 4.0])
def test_loss_is_the_divergence(weight: float) -> None:
    """Against numerical integration of the one-dimensional divergences."""
    kl, h = built(KL(weight=weight)), features(2)
    z, extras = unpack(kl.posterior(h, None), "posterior", h.shape)
    loss = kl.model_loss(Step(h, h, z, h, encode=torch.neg, decode=torch.neg, extras=extras))
    mu, log_var = posterior(kl, h)
    s = np.linspace(-10, 10, 20_001)
    total = 0.0
    for m, v in zip(mu.ravel(), np.exp(log_var).ravel(), strict=True):
        t = m + v**0.5 * s
        log_q, log_p = -0.5 * s**2 - 0.5 * np.log(2 * np.pi * v), -0.5 * t**2 - 0.5 * np.log(2 * np.pi)
        total += (np.exp(log_q) * (log_q - log_p)).sum() * (t[1] - t[0])
    assert loss.item() == pytest.approx(weight * total / len(h), rel=1e-6)


@pytest.mark.parametrize("weight", [-0.1, float("nan")])
def test_weight_must_not_be_negative(weight: float) -> None:
    with pytest.raises(UserError, match=f"KL.weight must be a number of at least 0, not {weight}"):
        KL(weight=weight)


def signs(kl: KL, mu: np.ndarray) -> dict[str, tuple[float, str | None]]:
    z = torch.zeros(len(mu), *LATENT)
    seen = Step(z, z, z, z, encode=torch.neg, decode=torch.neg, extras={"mu": torch.from_numpy(mu)})
    return {name: (sign.value, sign.warning) for name, sign in kl.health(seen).items()}


@pytest.mark.parametrize("active", [0, 1, DIM])
def test_active_units_in_numpy(active: int) -> None:
    """A unit is active where its mean's variance over the data is above 0.01, however large the mean itself."""
    spread = np.array([0.2] * active + [0.05] * (DIM - active))
    mu = 7 + spread * np.random.default_rng(0).standard_normal((500, DIM))
    assert (mu.var(0) > 0.01).sum() == active
    assert list(signs(built(KL()), mu)) == ["active_units"]
    value, warning = signs(built(KL()), mu)["active_units"]
    assert value == active
    assert (warning is None) == (active > 0)


def test_of_one_example_no_unit_can_be_told_to_be_active() -> None:
    assert signs(built(KL()), np.ones((1, DIM))) == {}
