from __future__ import annotations

from math import prod

import numpy as np
import pytest
import torch

from acaikit.critics import Critic, DenseCritic, EncoderCritic
from acaikit.errors import UserError
from acaikit.nets import ConvEncoder, Encoder, MLPEncoder, count_parameters
from acaikit.rng import initialise

SHAPE = (2, 4, 4)


def built(critic: Critic, shape: tuple[int, ...] = SHAPE) -> Critic:
    critic.build(shape)
    initialise(critic, 0, "critic")
    return critic.double()


@pytest.mark.parametrize(
    ("encoder", "shape", "latent_shape"),
    [
        pytest.param(ConvEncoder(depth=3, scales=1, latent=5), SHAPE, (5, 2, 2), id="images"),
        pytest.param(ConvEncoder(depth=3, scales=1, latent=5), (2, 8), (5, 4), id="sequences"),
        pytest.param(MLPEncoder(hidden=(4,), latent=5), (7,), (5,), id="vectors"),
    ],
)
def test_encoder_critic_is_the_mean_over_the_encoders_outputs(
    encoder: Encoder, shape: tuple[int, ...], latent_shape: tuple[int, ...]
) -> None:
    critic = built(EncoderCritic(encoder), shape)
    x = torch.randn(6, *shape, dtype=torch.float64)
    outputs = encoder(x).detach().numpy()
    assert outputs.shape == (6, *latent_shape)
    np.testing.assert_allclose(critic(x).detach().numpy(), [each.mean() for each in outputs], rtol=1e-12)


def test_encoder_critic_has_the_encoders_size() -> None:
    encoder = ConvEncoder(depth=3, scales=1, latent=5)
    critic = built(EncoderCritic(ConvEncoder(depth=3, scales=1, latent=5)))
    encoder.build(SHAPE)
    assert count_parameters(critic) == count_parameters(encoder) > 0


@pytest.mark.parametrize("hidden", [(), (7,), (5, 3), [4, 4, 4]])
@pytest.mark.parametrize("shape", [SHAPE, (6,)])
def test_dense_critic_in_numpy(hidden: tuple[int, ...], shape: tuple[int, ...]) -> None:
    critic = built(DenseCritic(hidden), shape)
    x = torch.randn(6, *shape, dtype=torch.float64)
    numbers = [p.detach().numpy() for p in critic.parameters()]
    layers = list(zip(numbers[::2], numbers[1::2], strict=True))
    assert [bias.size for _, bias in layers] == [*hidden, 1]
    h = x.numpy().reshape(6, prod(shape))
    for i, (weight, bias) in enumerate(layers):
        h = h @ weight.T + bias
        if i < len(hidden):
            h = np.where(h > 0, h, 0.2 * h)
    np.testing.assert_allclose(critic(x).detach().numpy(), h[:, 0], rtol=1e-10)


def test_dense_critic_has_the_papers_size_by_default() -> None:
    assert count_parameters(built(DenseCritic(), (16, 2, 2))) == (64 + 1) * 100 + (100 + 1) * 100 + (100 + 1)


@pytest.mark.parametrize(
    ("hidden", "message"),
    [
        (100, r"must be a list of widths such as \[256, 256\], not 100"),
        ((100, 0), "'s widths must be a whole number of at least 1, not 0"),
    ],
)
def test_dense_critic_refuses(hidden: object, message: str) -> None:
    with pytest.raises(UserError, match=rf"^DenseCritic.hidden ?{message}$"):
        DenseCritic(hidden)


@pytest.mark.parametrize("critic", [DenseCritic(), EncoderCritic(ConvEncoder(depth=3, scales=1, latent=5))])
def test_one_number_per_example(critic: Critic) -> None:
    built(critic)
    x = torch.randn(6, *SHAPE, dtype=torch.float64)
    torch.testing.assert_close(critic(x), torch.cat([critic(each) for each in x.split(1)]))
    assert critic(x).shape == (6,)
