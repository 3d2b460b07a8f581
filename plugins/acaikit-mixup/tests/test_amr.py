from __future__ import annotations

import numpy as np
import pytest
import torch
from acaikit_mixup import AMR
from torch import Tensor

from acaikit.critics import Critic, DenseCritic, EncoderCritic
from acaikit.errors import UserError
from acaikit.nets import ConvEncoder, count_parameters
from acaikit.regularizers import Architecture, LatentDropout
from acaikit.rng import generator, initialise
from acaikit.testing import check_regularizer
from acaikit.types import Step

DATA, LATENT, BATCH = (1, 4, 4), (3, 2, 2), 6
DECODER = np.random.default_rng(0).normal(size=(12, 16)) / 4
ENCODER = np.random.default_rng(1).normal(size=(16, 12)) / 16

every_scheme = pytest.mark.parametrize("scheme", ["convex", "bernoulli"])
every_k = pytest.mark.parametrize("k", [2, 3, 5])


def decode(z: Tensor) -> Tensor:
    return (z.flatten(1) @ torch.from_numpy(DECODER).to(z)).tanh().view(-1, *DATA)


def encode(x: Tensor) -> Tensor:
    return (x.flatten(1) @ torch.from_numpy(ENCODER).to(x)).view(-1, *LATENT)


def forbidden(x: Tensor) -> Tensor:
    raise AssertionError("computed for a term of weight 0")


def built(amr: AMR) -> AMR:
    encoder = ConvEncoder(depth=2, scales=1, latent=3)
    encoder.build(DATA)
    amr.build(Architecture(DATA, LATENT, encoder))
    initialise(amr, 0, "AMR")
    return amr.double()


def blank(batch: int = BATCH) -> Step:
    draw = torch.Generator().manual_seed(1)
    x, x_hat = (torch.randn(batch, *DATA, generator=draw, dtype=torch.float64) for _ in range(2))
    z = torch.randn(batch, *LATENT, generator=draw, dtype=torch.float64)
    return Step(x, z, z, x_hat, encode=encode, decode=decode)


def prepared(amr: AMR, step: Step | None = None) -> Step:
    step = blank() if step is None else step
    return step.with_extras(amr.prepare(step, generator(0, "AMR")))


def shares(amr: AMR, *shape: int) -> np.ndarray:
    return amr.shares(torch.zeros(shape, dtype=torch.float64), generator(0, "AMR")).numpy()


def logits(amr: AMR, x: Tensor) -> np.ndarray:
    return amr.critic(x).detach().numpy()


@every_scheme
@every_k
@pytest.mark.parametrize("batch", [1, 2, BATCH])
@pytest.mark.parametrize("latent", [(4,), (4, 3), (4, 3, 2)], ids=["vectors", "sequences", "images"])
def test_mixes_in_numpy(scheme: str, k: int, batch: int, latent: tuple[int, ...]) -> None:
    amr = AMR(k=k, scheme=scheme)
    z = torch.randn(batch, *latent, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    step = prepared(amr, Step(z, z, z, z, encode=torch.neg, decode=torch.exp))
    share = np.broadcast_to(shares(amr, batch, *latent), (batch, k, latent[0]))
    expected = np.zeros(z.shape)
    for b in range(batch):
        for j in range(k):
            for c in range(latent[0]):
                expected[b, c] += share[b, j, c] * z.numpy()[(b - j) % batch, c]
    np.testing.assert_allclose(step.h_mix.numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(step.x_mix.numpy(), np.exp(expected), rtol=1e-12)


@every_k
def test_convex_weights_are_dirichlet(k: int) -> None:
    """Mean 1 / k, variance (k - 1) / (k^2 (k + 1)), covariance -1 / (k^2 (k + 1)); each weight is Beta(1, k - 1)."""
    n = 20_000
    drawn = shares(AMR(k=k), n, 4)
    assert drawn.shape == (n, k, 1)
    w = drawn[:, :, 0]
    assert w.min() >= 0
    np.testing.assert_allclose(w.sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(w.mean(0), 1 / k, atol=4 * 0.3 / n**0.5)
    covariance = (np.eye(k) * k - 1) / (k**2 * (k + 1))
    np.testing.assert_allclose(np.cov(w.T), covariance, atol=4 * 0.1 / n**0.5)
    # Kolmogorov and Smirnov: the largest gap to the distribution function; 1.95 is exceeded once in 1,000 samples.
    gaps = np.arange(1, n + 1)[:, None] / n - (1 - (1 - np.sort(w, axis=0)) ** (k - 1))
    assert np.abs(gaps).max() * n**0.5 < 1.95


@every_k
def test_bernoulli_picks_one_latent_for_each_channel(k: int) -> None:
    n, channels = 20_000, 3
    drawn = shares(AMR(k=k, scheme="bernoulli"), n, channels, 2, 2)
    assert drawn.shape == (n, k, channels)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert (drawn.sum(1) == 1).all()
    np.testing.assert_allclose(drawn.mean(0), 1 / k, atol=4 * 0.5 / n**0.5)
    together = np.einsum("nic,njd->cdij", drawn, drawn) / n  # how often channel c takes latent i and channel d latent j
    for c in range(channels):
        for d in range(channels):
            expected = np.eye(k) / k if c == d else np.full((k, k), 1 / k**2)
            np.testing.assert_allclose(together[c, d], expected, atol=4 * 0.5 / n**0.5)


@every_scheme
def test_no_draws_but_from_its_own_generator(scheme: str) -> None:
    before = torch.get_rng_state()
    shares(AMR(scheme=scheme), 5, 4)
    assert torch.equal(before, torch.get_rng_state())


def test_the_models_loss_in_numpy() -> None:
    amr = built(AMR(adversarial=0.7, consistency=1.3, k=3))
    step = prepared(amr)
    fooled = np.mean(np.logaddexp(0, -logits(amr, step.x_hat))) + np.mean(np.logaddexp(0, -logits(amr, step.x_mix)))
    h_mix, x_mix = (t.numpy().reshape(BATCH, -1) for t in (step.h_mix, step.x_mix))
    consistent = np.mean((h_mix - x_mix @ ENCODER) ** 2)
    assert amr.model_loss(step).item() == pytest.approx(0.7 * fooled + 1.3 * consistent, rel=1e-10)
    for weights, expected in (((2, 0), 2 * fooled), ((0, 2), 2 * consistent)):
        alone = built(AMR(*weights, k=3))
        assert alone.model_loss(prepared(alone)).item() == pytest.approx(expected, rel=1e-10)


def test_the_critics_loss_in_numpy() -> None:
    amr = built(AMR())
    step = prepared(amr)
    expected = np.mean(np.logaddexp(0, -logits(amr, step.x)))
    for made in (step.x_hat, step.x_mix):
        expected += np.mean(np.logaddexp(0, logits(amr, made)))
    assert amr.own_loss(step).item() == pytest.approx(expected, rel=1e-12)


def test_a_term_of_weight_0_is_not_computed() -> None:
    step = blank()
    step = Step(step.x, step.h, step.z, step.x_hat, encode=forbidden, decode=decode)
    amr = built(AMR(adversarial=0, consistency=0))
    step = prepared(amr, step)
    with torch.no_grad():
        assert amr.own_loss(step) > 0
        amr.critic.forward = forbidden  # type: ignore[method-assign]
        assert amr.model_loss(step).item() == 0
    assert torch.equal(prepared(AMR(consistency=1.0)).h_mix, step.h_mix)  # and changes no draw


@pytest.mark.parametrize("logit", [-1e4, 0.0, 1e4])
def test_losses_and_gradients_stay_finite(logit: float) -> None:
    class Sure(Critic):
        def build(self, shape: tuple[int, ...]) -> None:
            self.bias = torch.nn.Parameter(torch.tensor(logit))

        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1).mean(1) + self.bias

    amr = AMR(1.0, 1.0, critic=Sure())
    amr.build(Architecture(DATA, LATENT, ConvEncoder()))
    step = blank()
    step.z.requires_grad_()
    step = prepared(amr, step)
    for loss in (amr.model_loss(step), amr.own_loss(step)):
        (gradient,) = torch.autograd.grad(loss, step.z, retain_graph=True)
        assert loss.isfinite() and gradient.isfinite().all()


def test_doubt_is_the_logit_of_what_was_decoded() -> None:
    amr = built(AMR())
    x = blank().x
    np.testing.assert_allclose(amr.doubt(x, x).detach().numpy(), -logits(amr, x), rtol=1e-12)


def test_the_critic_is_another_encoder_unless_it_is_given() -> None:
    amr = built(AMR())
    assert isinstance(amr.critic, EncoderCritic)
    encoder = ConvEncoder(depth=2, scales=1, latent=3)
    encoder.build(DATA)
    assert count_parameters(amr.critic) == count_parameters(encoder)
    critic = DenseCritic(hidden=(3,))
    assert built(AMR(critic=critic)).critic is critic


@pytest.mark.parametrize(
    ("parameter", "value", "said"),
    [
        ("adversarial", -0.1, "must be a number of at least 0, not -0.1"),
        ("consistency", float("nan"), "must be a number of at least 0, not nan"),
        ("consistency", "0.5", "must be a number of at least 0, not '0.5'"),
        ("k", 1, "must be a whole number of at least 2, not 1"),
        ("k", 2.0, "must be a whole number of at least 2, not 2.0"),
        ("scheme", "Convex", "must be 'convex' or 'bernoulli', not 'Convex'"),
        ("scheme", None, "must be 'convex' or 'bernoulli', not None"),
        ("critic", 1, "must be a Critic, not 1"),
    ],
)
def test_mistakes(parameter: str, value: object, said: str) -> None:
    with pytest.raises(UserError) as error:
        AMR(**{parameter: value})  # type: ignore[arg-type]
    assert str(error.value).startswith(f"AMR.{parameter} {said}")


@pytest.mark.parametrize("data", ["images", "sequences", "vectors"])
def test_it_keeps_the_rules(data: str) -> None:
    check_regularizer(AMR, data)


def test_it_keeps_the_rules_beside_another() -> None:
    check_regularizer(lambda: [LatentDropout(), AMR(0.5, 0.5, k=3, scheme="bernoulli")])
