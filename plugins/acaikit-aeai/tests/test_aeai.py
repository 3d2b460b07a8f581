from __future__ import annotations

import numpy as np
import pytest
import torch
from acaikit_aeai import AEAI
from torch import Tensor

from acaikit.critics import Critic, DenseCritic, EncoderCritic
from acaikit.errors import UserError
from acaikit.nets import ConvEncoder, count_parameters
from acaikit.regularizers import Architecture, LatentDropout
from acaikit.rng import generator, initialise
from acaikit.testing import check_regularizer
from acaikit.types import Step

# torch's own, on the first use of forward-mode derivatives.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

DATA, LATENT, BATCH = (1, 4, 4), (2, 2, 2), 6
DECODER = np.random.default_rng(0).normal(size=(8, 16)) / 4
ENCODER = np.random.default_rng(1).normal(size=(16, 8)) / 16
WEIGHTS = {"adversarial": 0.7, "cycle": 1.3, "smoothness": 0.4}


def decode(z: Tensor, weight: Tensor | None = None) -> Tensor:
    weight = torch.from_numpy(DECODER).to(z) if weight is None else weight
    return (z.flatten(1) @ weight).tanh().view(-1, *DATA)


def encode(x: Tensor) -> Tensor:
    return (x.flatten(1) @ torch.from_numpy(ENCODER).to(x)).view(-1, *LATENT)


def forbidden(x: Tensor) -> Tensor:
    raise AssertionError("computed for a term of weight 0")


def built(aeai: AEAI) -> AEAI:
    encoder = ConvEncoder(depth=2, scales=1, latent=2)
    encoder.build(DATA)
    aeai.build(Architecture(DATA, LATENT, encoder))
    initialise(aeai, 0, "AEAI")
    return aeai.double()


def blank(batch: int = BATCH) -> Step:
    draw = torch.Generator().manual_seed(1)
    x, x_hat = (torch.randn(batch, *DATA, generator=draw, dtype=torch.float64) for _ in range(2))
    z = torch.randn(batch, *LATENT, generator=draw, dtype=torch.float64)
    return Step(x, z, z, x_hat, encode=encode, decode=decode)


def prepared(aeai: AEAI, step: Step | None = None) -> Step:
    step = blank() if step is None else step
    return step.with_extras(aeai.prepare(step, generator(0, "AEAI")))


def logits(aeai: AEAI, x: Tensor) -> np.ndarray:
    return aeai.critic(x).detach().numpy()


def mixes() -> tuple[np.ndarray, np.ndarray]:
    """Return z(a) and z_j - z_i, each ``[BATCH, 8]``, one by one from the same draws."""
    a = torch.rand(BATCH, generator=generator(0, "AEAI"), dtype=torch.float64).numpy()
    z = blank().z.numpy().reshape(BATCH, -1)
    mixed = [(1 - a[i]) * z[i] + a[i] * z[BATCH - 1 - i] for i in range(BATCH)]
    return np.array(mixed), np.array([z[BATCH - 1 - i] - z[i] for i in range(BATCH)])


def test_mixes_in_numpy() -> None:
    step, (z_a, _) = prepared(built(AEAI())), mixes()
    np.testing.assert_allclose(step.z_a.numpy().reshape(BATCH, -1), z_a, rtol=1e-12)
    np.testing.assert_allclose(step.x_a.numpy().reshape(BATCH, -1), np.tanh(z_a @ DECODER), rtol=1e-12)


def test_a_is_uniform() -> None:
    """Between latents of 0 and 1, z(a) is a, or 1 - a."""
    n = 20_000
    z = torch.cat([torch.zeros(n // 2, 1), torch.ones(n // 2, 1)]).double()
    drawn = np.sort(prepared(AEAI(), Step(z, z, z, z, encode=torch.neg, decode=torch.neg)).z_a[:, 0].numpy())
    assert drawn[0] >= 0 and drawn[-1] <= 1
    # Kolmogorov and Smirnov: the largest gap to the distribution function; 1.95 is exceeded once in 1,000 samples.
    assert np.abs(np.arange(1, n + 1) / n - drawn).max() * n**0.5 < 1.95


def test_the_velocity_in_closed_form_and_by_differences() -> None:
    velocity = prepared(built(AEAI())).velocity.numpy().reshape(BATCH, -1)
    z_a, direction = mixes()
    np.testing.assert_allclose(velocity, (1 - np.tanh(z_a @ DECODER) ** 2) * (direction @ DECODER), rtol=1e-12)
    h = 1e-5
    after, before = (np.tanh((z_a + t * direction) @ DECODER) for t in (h, -h))
    np.testing.assert_allclose(velocity, (after - before) / (2 * h), rtol=1e-6, atol=1e-8)


def test_the_models_loss_in_numpy() -> None:
    aeai = built(AEAI(**WEIGHTS))
    step, (z_a, direction) = prepared(aeai), mixes()
    x_a = np.tanh(z_a @ DECODER)
    terms = {
        "adversarial": np.mean(np.logaddexp(0, -logits(aeai, step.x_a))),
        "cycle": np.mean((z_a - x_a @ ENCODER) ** 2),
        "smoothness": np.mean(((1 - x_a**2) * (direction @ DECODER)) ** 2),
    }
    expected = sum(WEIGHTS[name] * term for name, term in terms.items())
    assert aeai.model_loss(step).item() == pytest.approx(expected, rel=1e-10)
    for name, term in terms.items():
        alone = built(AEAI(**dict.fromkeys(WEIGHTS, 0.0) | {name: 2.0}))
        assert alone.model_loss(prepared(alone)).item() == pytest.approx(2 * term, rel=1e-10)


def test_the_critics_loss_in_numpy() -> None:
    aeai = built(AEAI())
    step = prepared(aeai)
    real, mixed = logits(aeai, step.x), logits(aeai, step.x_a)
    expected = np.mean(np.logaddexp(0, -real)) + np.mean(np.logaddexp(0, mixed))
    assert aeai.own_loss(step).item() == pytest.approx(expected, rel=1e-12)


def test_every_terms_gradient_by_differences() -> None:
    aeai = built(AEAI(**WEIGHTS))
    step = blank()

    def loss(z: Tensor, weight: Tensor) -> Tensor:
        mine = Step(step.x, z, z, step.x_hat, encode=encode, decode=lambda latents: decode(latents, weight))
        return aeai.model_loss(prepared(aeai, mine))

    assert torch.autograd.gradcheck(loss, (step.z.requires_grad_(), torch.from_numpy(DECODER).requires_grad_()))


def test_a_term_of_weight_0_is_not_computed() -> None:
    step = blank()
    step = Step(step.x, step.h, step.z, step.x_hat, encode=forbidden, decode=decode)
    aeai = built(AEAI(adversarial=0, cycle=0, smoothness=0))
    prepared_step = prepared(aeai, step)
    assert set(prepared_step.extras) == {"z_a", "x_a"}
    with torch.no_grad():
        trained = aeai.own_loss(prepared_step)
        aeai.critic.forward = forbidden  # type: ignore[method-assign]
        assert aeai.model_loss(prepared_step).item() == 0
    assert trained > 0
    for name, weight in WEIGHTS.items():  # and changes no draw
        assert torch.equal(prepared(AEAI(**{name: weight}), step).z_a, prepared_step.z_a)


@pytest.mark.parametrize("logit", [-1e4, 0.0, 1e4])
def test_losses_and_gradients_stay_finite(logit: float) -> None:
    class Sure(Critic):
        def build(self, shape: tuple[int, ...]) -> None:
            self.bias = torch.nn.Parameter(torch.tensor(logit))

        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1).mean(1) + self.bias

    aeai = AEAI(**WEIGHTS, critic=Sure())
    aeai.build(Architecture(DATA, LATENT, ConvEncoder()))
    step = blank()
    step.z.requires_grad_()
    step = prepared(aeai, step)
    for loss in (aeai.model_loss(step), aeai.own_loss(step)):
        (gradient,) = torch.autograd.grad(loss, step.z, retain_graph=True)
        assert loss.isfinite() and gradient.isfinite().all()


def test_a_single_example_is_its_own_mix() -> None:
    aeai = built(AEAI(**WEIGHTS))
    step = prepared(aeai, blank(1))
    assert torch.equal(step.z_a, step.z) and not step.velocity.any()
    assert aeai.model_loss(step).isfinite()


def test_doubt_is_the_logit_of_an_interpolation() -> None:
    aeai = built(AEAI())
    x = blank().x
    np.testing.assert_allclose(aeai.doubt(x, x).detach().numpy(), -logits(aeai, x), rtol=1e-12)


def test_the_critic_is_another_encoder_unless_it_is_given() -> None:
    aeai = built(AEAI())
    assert isinstance(aeai.critic, EncoderCritic)
    encoder = ConvEncoder(depth=2, scales=1, latent=2)
    encoder.build(DATA)
    assert count_parameters(aeai.critic) == count_parameters(encoder)
    critic = DenseCritic(hidden=(3,))
    assert built(AEAI(critic=critic)).critic is critic


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("weight", [-0.1, float("nan"), "0.5"])
def test_a_weight_is_a_number_that_is_not_negative(name: str, weight: object) -> None:
    with pytest.raises(UserError, match=rf"AEAI.{name} must be a number of at least 0, not {weight!r}"):
        AEAI(**{name: weight})


def test_a_critic_is_a_critic() -> None:
    with pytest.raises(UserError, match=r"AEAI.critic must be a Critic"):
        AEAI(critic=ConvEncoder())  # type: ignore[arg-type]


@pytest.mark.parametrize("data", ["images", "sequences", "vectors"])
def test_it_keeps_the_rules(data: str) -> None:
    check_regularizer(AEAI, data)


def test_it_keeps_the_rules_beside_another() -> None:
    check_regularizer(lambda: [LatentDropout(), AEAI(**WEIGHTS)])
