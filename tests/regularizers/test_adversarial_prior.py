from __future__ import annotations

import numpy as np
import pytest
import torch

from acaikit.critics import DenseCritic
from acaikit.errors import UserError
from acaikit.nets import ConvEncoder, count_parameters
from acaikit.regularizers import AdversarialPrior, Architecture
from acaikit.rng import generator, initialise
from acaikit.types import Step

DATA, LATENT = (1, 4, 4), (2, 2, 2)


def built(prior: AdversarialPrior) -> AdversarialPrior:
    prior.build(Architecture(DATA, LATENT, ConvEncoder()))
    initialise(prior, 0, "AdversarialPrior")
    return prior.double()


def prepared(prior: AdversarialPrior, batch: int = 6) -> Step:
    z = 1 + torch.randn(batch, *LATENT, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = torch.zeros(batch, *DATA)
    step = Step(x, z, z, x, encode=torch.neg, decode=torch.neg)
    return step.with_extras(prior.prepare(step, generator(0, "AdversarialPrior")))


def chance(prior: AdversarialPrior, latents: torch.Tensor) -> np.ndarray:
    """The critic's probability that a latent comes from the prior."""
    return 1 / (1 + np.exp(-prior.critic(latents).detach().numpy()))


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_model_loss_in_numpy(weight: float) -> None:
    prior = built(AdversarialPrior(weight=weight))
    step = prepared(prior)
    expected = -weight * np.log(chance(prior, step.z)).mean()
    assert prior.model_loss(step).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("weight", [1.0, 2.5])
def test_own_loss_in_numpy(weight: float) -> None:
    prior = built(AdversarialPrior(weight=weight))
    step = prepared(prior)
    expected = -np.log(1 - chance(prior, step.z)).mean() - np.log(chance(prior, step.n)).mean()
    assert prior.own_loss(step).item() == pytest.approx(expected, rel=1e-12)


def test_prior_samples_are_standard_normal() -> None:
    n = prepared(built(AdversarialPrior()), batch=4000).n
    assert n.shape == (4000, *LATENT)
    values = np.sort(n.numpy().ravel())
    count, error = len(values), 4 / len(values) ** 0.5
    assert abs(values.mean()) < error
    assert abs((values**2).mean() - 1) < 1.5 * error
    assert abs((np.abs(values) < 1).mean() - 0.6827) < error
    assert len(np.unique(values)) == count


def test_the_papers_critic_and_weight_are_the_defaults() -> None:
    prior = built(AdversarialPrior())
    assert count_parameters(prior.critic) == (8 + 1) * 100 + (100 + 1) * 100 + (100 + 1)
    assert prior.weight == 1


def test_critic_can_be_given() -> None:
    critic = DenseCritic(hidden=(3,))
    prior = built(AdversarialPrior(critic=critic))
    assert prior.critic is critic
    assert prior.own_loss(prepared(prior)).isfinite()


@pytest.mark.parametrize("weight", [-0.1, float("nan")])
def test_weight_must_not_be_negative(weight: float) -> None:
    with pytest.raises(UserError, match=f"AdversarialPrior.weight must be a number of at least 0, not {weight}"):
        AdversarialPrior(weight=weight)


def test_doubt_is_the_critics_probability_that_a_latent_is_none_of_the_priors() -> None:
    prior = built(AdversarialPrior())
    z = torch.randn(5, *LATENT, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits = prior.critic(z).detach().numpy()
    found = prior.doubt(z, torch.zeros(5, 1, 8, 8)).detach().numpy()
    np.testing.assert_allclose(found, 1 / (1 + np.exp(logits)), rtol=1e-5)
