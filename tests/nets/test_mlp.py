from __future__ import annotations

from itertools import pairwise
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from acaikit.config import build, read_recipe
from acaikit.errors import UserError
from acaikit.nets import ConvEncoder, MLPDecoder, MLPEncoder, count_parameters
from acaikit.rng import initialise

Array = NDArray[np.float64]

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)
WIDTHS = st.lists(st.integers(1, 5), max_size=3)


def in_numpy(network: nn.Module, x: Array) -> Array:
    """Matrix products of the flattened input, a leaky ReLU of slope 0.2 between every two."""
    numbers = [p.detach().numpy() for p in network.parameters()]
    h = x.reshape(len(x), -1)
    for i, (weight, bias) in enumerate(zip(numbers[::2], numbers[1::2], strict=True)):
        h = np.where(h > 0, h, 0.2 * h) if i else h
        h = h @ weight.T + bias
    return h


@settings(deadline=None, max_examples=40)
@given(data_shape=SHAPES, latent_shape=SHAPES, hidden=WIDTHS, latent=st.integers(1, 5))
def test_networks_in_numpy(
    data_shape: tuple[int, ...], latent_shape: tuple[int, ...], hidden: list[int], latent: int
) -> None:
    encoder, decoder = MLPEncoder(hidden, latent), MLPDecoder(hidden)
    assert encoder.build(data_shape) == (latent,)
    decoder.build(latent_shape, data_shape)
    for network, shape, made, numbers in (
        (encoder, data_shape, (latent,), latent),
        (decoder, latent_shape, data_shape, prod(data_shape)),
    ):
        initialise(network, 0, "network")
        widths = [prod(shape), *hidden, numbers]
        assert count_parameters(network) == sum((a + 1) * b for a, b in pairwise(widths))
        x = torch.randn(3, *shape, dtype=torch.float64)
        out = network.double()(x).detach().numpy()
        assert out.shape == (3, *made)
        np.testing.assert_allclose(out.reshape(3, -1), in_numpy(network, x.numpy()), rtol=1e-10, atol=1e-12)


def test_sizes_by_default() -> None:
    encoder, decoder = MLPEncoder(), MLPDecoder()
    assert encoder.build((3, 10)) == (16,)
    decoder.build((16,), (3, 10))
    assert count_parameters(encoder) == 31 * 256 + 257 * 256 + 257 * 16
    assert count_parameters(decoder) == 17 * 256 + 257 * 256 + 257 * 30


def test_layers_have_the_papers_init() -> None:
    encoder, decoder = MLPEncoder(), MLPDecoder()
    decoder.build(encoder.build((1000,)), (1000,))
    for network in (encoder, decoder):
        initialise(network, 0, "network")
        for parameter in network.parameters():
            if parameter.dim() == 1:
                assert not parameter.any()
            else:
                assert parameter.std().item() * (parameter.shape[1] * 1.04) ** 0.5 == pytest.approx(1, abs=0.05)


def test_memory_layout_does_not_matter() -> None:
    encoder = MLPEncoder(hidden=(5,), latent=2)
    encoder.build((3, 4, 4))
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(encoder(x), encoder(x.contiguous(memory_format=torch.channels_last)))


def test_decoder_of_another_encoders_latents() -> None:
    shape = (1, 8, 8)
    encoder, decoder = ConvEncoder(depth=2, scales=2, latent=3), MLPDecoder(hidden=(5,))
    decoder.build(encoder.build(shape), shape)
    assert decoder(encoder(torch.zeros(2, *shape))).shape == (2, *shape)


@pytest.mark.parametrize("part", [MLPEncoder, MLPDecoder])
@pytest.mark.parametrize(
    ("hidden", "message"),
    [
        (256, r"hidden must be a list of widths such as \[256, 256\], not 256"),
        (None, r"hidden must be a list of widths such as \[256, 256\], not None"),
        ((256, 0), "hidden's widths must be a whole number of at least 1, not 0"),
        ([2.5], "hidden's widths must be a whole number of at least 1, not 2.5"),
        ([True], "hidden's widths must be a whole number of at least 1, not True"),
        ("256", r"hidden must be a list of widths such as \[256, 256\], not '256'"),
    ],
)
def test_bad_widths(part: type, hidden: object, message: str) -> None:
    with pytest.raises(UserError, match=rf"^{part.__name__}\.{message}$"):
        part(hidden=hidden)


@pytest.mark.parametrize("latent", [0, -1, 2.5, True, "4", None])
def test_bad_latent(latent: object) -> None:
    with pytest.raises(UserError, match=f"MLPEncoder.latent must be a whole number of at least 1, not {latent!r}"):
        MLPEncoder(latent=latent)


def test_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "dense.gin"
    recipe.write_text(
        "include 'model/mlp.gin'\nExperiment.dataset = @Disc()\nhidden = (20, 10)\nlatent = 3\nDisc.height = 8\n"
    )
    model, _ = build(read_recipe(str(recipe))).build()
    assert model.latent_shape == (3,)
    assert count_parameters(model.encoder) == (8 * 32 + 1) * 20 + 21 * 10 + 11 * 3
    assert count_parameters(model.decoder) == (3 + 1) * 20 + 21 * 10 + 11 * 8 * 32
