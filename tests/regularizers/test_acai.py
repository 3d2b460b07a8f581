from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from acaikit.critics import DenseCritic, EncoderCritic
from acaikit.errors import UserError
from acaikit.nets import ConvEncoder, count_parameters
from acaikit.regularizers import ACAI, Architecture
from acaikit.rng import generator, initialise
from acaikit.types import Step

DATA, LATENT, BATCH = (1, 4, 4), (2, 2, 2), 6
DECODER = np.random.default_rng(0).normal(size=(8, 16))


def decode(z: Tensor) -> Tensor:
    return (z.flatten(1) @ torch.from_numpy(DECODER).to(z)).view(-1, *DATA)


def built(acai: ACAI) -> ACAI:
    encoder = ConvEncoder(depth=2, scales=1, latent=2)
    encoder.build(DATA)
    acai.build(Architecture(DATA, LATENT, encoder))
    initialise(acai, 0, "ACAI")
    return acai.double()


def prepared(acai: ACAI, batch: int = BATCH) -> Step:
    draw = torch.Generator().manual_seed(1)
    x, x_hat = (torch.randn(batch, *DATA, generator=draw, dtype=torch.float64) for _ in range(2))
    z = torch.randn(batch, *LATENT, generator=draw, dtype=torch.float64)
    step = Step(x, z, z, x_hat, encode=torch.neg, decode=decode)
    return step.with_extras(acai.prepare(step, generator(0, "ACAI")))


def guess(acai: ACAI, images: np.ndarray) -> np.ndarray:
    return acai.critic(torch.from_numpy(images)).detach().numpy()


def test_mixes_in_numpy() -> None:
    step = prepared(built(ACAI()))
    alpha, z = step.alpha.numpy(), step.z.numpy().reshape(BATCH, -1)
    mixes = [alpha[i] * z[i] + (1 - alpha[i]) * z[BATCH - 1 - i] for i in range(BATCH)]
    np.testing.assert_allclose(step.x_mix.numpy(), (np.array(mixes) @ DECODER).reshape(BATCH, *DATA), rtol=1e-12)


def test_mixing_coefficients_are_uniform_up_to_one_half() -> None:
    """0.5 - |u - 0.5| of a uniform u is uniform on [0, 0.5]."""
    n = 20_000
    alpha = np.sort(prepared(built(ACAI()), batch=n).alpha.numpy())
    assert alpha[0] >= 0 and alpha[-1] <= 0.5
    # Kolmogorov and Smirnov: the largest gap to the distribution function; 1.95 is exceeded once in 1,000 samples.
    gap = np.abs(np.arange(1, n + 1) / n - 2 * alpha).max()
    assert gap * n**0.5 < 1.95


@pytest.mark.parametrize("weight", [0.0, 0.5, 3.0])
def test_equation_1(weight: float) -> None:
    acai = built(ACAI(weight=weight))
    step = prepared(acai)
    expected = weight * np.mean(guess(acai, step.x_mix.numpy()) ** 2)
    assert acai.model_loss(step).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.2, 1.0])
def test_equation_2(gamma: float) -> None:
    acai = built(ACAI(gamma=gamma))
    step = prepared(acai)
    x, x_hat = step.x.numpy(), step.x_hat.numpy()
    on_mixes = np.mean((guess(acai, step.x_mix.numpy()) - step.alpha.numpy()) ** 2)
    on_data = np.mean(guess(acai, gamma * x + (1 - gamma) * x_hat) ** 2)
    assert acai.own_loss(step).item() == pytest.approx(on_mixes + on_data, rel=1e-12)


def test_the_papers_weights_are_the_defaults() -> None:
    assert (ACAI().weight, ACAI().gamma) == (0.5, 0.2)


def test_critic_is_another_encoder() -> None:
    encoder = ConvEncoder(depth=3, scales=1, latent=5)
    encoder.build(DATA)
    acai = ACAI()
    acai.build(Architecture(DATA, (5, 2, 2), encoder))
    assert isinstance(acai.critic, EncoderCritic)
    assert count_parameters(acai.critic) == count_parameters(encoder)
    assert not {id(p) for p in acai.critic.parameters()} & {id(p) for p in encoder.parameters()}


def test_critic_can_be_given() -> None:
    critic = DenseCritic(hidden=(3,))
    acai = built(ACAI(critic=critic))
    assert acai.critic is critic
    assert acai.own_loss(prepared(acai)).isfinite()


@pytest.mark.parametrize("weight", [-0.1, float("nan")])
def test_weight_must_not_be_negative(weight: float) -> None:
    with pytest.raises(UserError, match=rf"ACAI.weight \(lambda\) must be a number of at least 0, not {weight}"):
        ACAI(weight=weight)


@pytest.mark.parametrize("gamma", [-0.1, 1.1, float("nan")])
def test_gamma_must_be_a_share(gamma: float) -> None:
    with pytest.raises(UserError, match=rf"ACAI.gamma must be a number in \[0, 1\], not {gamma}"):
        ACAI(gamma=gamma)
