from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from acaikit.errors import UserError
from acaikit.nets import ConvDecoder, ConvEncoder, channels_last, count_parameters
from acaikit.rng import initialise

Array = NDArray[np.float64]
Shape = tuple[int, ...]

SIZES = st.integers(1, 4)
SCALES = st.integers(1, 3)
SIDES = st.lists(st.integers(1, 3), min_size=1, max_size=2)
BOTH = pytest.mark.parametrize("sides", [(12,), (8, 12)], ids=["sequences", "images"])


@pytest.mark.parametrize(
    ("colors", "depth", "scales", "latent", "latent_shape", "in_encoder", "in_decoder"),
    [
        pytest.param(1, 16, 4, 16, (16, 2, 2), 627_472, 313_985, id="lines, 64"),
        pytest.param(1, 16, 3, 2, (2, 4, 4), 150_146, 75_265, id="MNIST, 32"),
        pytest.param(1, 16, 3, 16, (16, 4, 4), 166_288, 83_329, id="MNIST, 256"),
        pytest.param(3, 64, 3, 2, (2, 4, 4), 2_370_178, 1_186_947, id="SVHN, 32"),
        pytest.param(3, 64, 3, 16, (16, 4, 4), 2_434_704, 1_219_203, id="SVHN, 256"),
        pytest.param(3, 64, 3, 64, (64, 4, 4), 2_655_936, 1_329_795, id="CIFAR-10, 1024"),
    ],
)
def test_sizes_of_the_papers_networks(colors, depth, scales, latent, latent_shape, in_encoder, in_decoder) -> None:
    encoder, decoder = ConvEncoder(depth, scales, latent), ConvDecoder(depth, scales)
    with torch.device("meta"):
        assert encoder.build((colors, 32, 32)) == latent_shape
        decoder.build(latent_shape, (colors, 32, 32))
    assert (count_parameters(encoder), count_parameters(decoder)) == (in_encoder, in_decoder)


@settings(deadline=None, max_examples=50)
@given(depth=SIZES, scales=SCALES, latent=SIZES, channels=SIZES, small=SIDES)
def test_sizes_in_closed_form(depth: int, scales: int, latent: int, channels: int, small: list[int]) -> None:
    """The channels are a geometric series in q = 2^scales, and so are the sums of their products."""
    encoder, decoder = ConvEncoder(depth, scales, latent), ConvDecoder(depth, scales)
    shape = (channels, *(side * 2**scales for side in small))
    with torch.device("meta"):
        decoder.build(encoder.build(shape), shape)
    d, q, k = depth, 2**scales, 3 ** len(small)
    assert count_parameters(encoder) == (
        (channels + 1) * d + k * d**2 * q**2 + d * (3 * q - 2) + (k * d * q + 1) * latent
    )
    assert count_parameters(decoder) == k * d * q * (latent + d * q) // 2 + d * (2 * q - 1) + (k * d + 1) * channels


@settings(deadline=None, max_examples=30)
@given(depth=SIZES, scales=SCALES, latent=SIZES, channels=SIZES, small=SIDES)
def test_shapes(depth: int, scales: int, latent: int, channels: int, small: list[int]) -> None:
    encoder, decoder = ConvEncoder(depth, scales, latent), ConvDecoder(depth, scales)
    shape = (channels, *(side * 2**scales for side in small))
    latent_shape = encoder.build(shape)
    decoder.build(latent_shape, shape)
    z = encoder(torch.zeros(2, *shape))
    assert latent_shape == (latent, *small)
    assert z.shape == (2, *latent_shape)
    assert decoder(z).shape == (2, *shape)


def weights(network: nn.Module) -> Iterator[tuple[Array, Array]]:
    numbers = [p.detach().double().numpy() for p in network.parameters()]
    return zip(numbers[::2], numbers[1::2], strict=True)


def conv(x: Array, weight: Array, bias: Array) -> Array:
    """A "same" convolution over all axes after the channels, one kernel position at a time."""
    sides, kernel = x.shape[2:], weight.shape[2:]
    padded = np.pad(x, [(0, 0), (0, 0), *((k // 2, k // 2) for k in kernel)])
    out = np.zeros((len(x), len(weight), *sides))
    for position in np.ndindex(*kernel):
        window = tuple(slice(p, p + side) for p, side in zip(position, sides, strict=True))
        out += np.einsum("bc...,oc->bo...", padded[:, :, *window], weight[:, :, *position])
    return out + bias.reshape(-1, *[1] * len(sides))


def correlate(x: Array, weight: Array, bias: Array) -> Array:
    """The same over sequences, by numpy's own correlation of every pair of channels."""
    pad = weight.shape[2] // 2
    padded = np.pad(x, [(0, 0), (0, 0), (pad, pad)])
    return np.array(
        [
            [
                sum(np.correlate(row, w, "valid") for row, w in zip(example, kernels, strict=True)) + b
                for kernels, b in zip(weight, bias, strict=True)
            ]
            for example in padded
        ]
    )


def leaky(x: Array) -> Array:
    return np.where(x > 0, x, 0.2 * x)


def pool(x: Array) -> Array:
    for axis in range(2, x.ndim):
        even, odd = (np.take(x, range(start, x.shape[axis], 2), axis) for start in (0, 1))
        x = (even + odd) / 2
    return x


def enlarge(x: Array) -> Array:
    for axis in range(2, x.ndim):
        x = np.repeat(x, 2, axis)
    return x


@BOTH
def test_encoder_is_the_papers(sides: Shape) -> None:
    encoder = ConvEncoder(depth=3, scales=2, latent=2)
    encoder.build((1, *sides))
    initialise(encoder, 0, "encoder")
    x = torch.randn(2, 1, *sides, dtype=torch.float64)
    layers = weights(encoder)
    h = conv(x.numpy(), *next(layers))
    for _ in range(2):
        h = leaky(conv(h, *next(layers)))
        h = leaky(conv(h, *next(layers)))
        h = pool(h)
    h = leaky(conv(h, *next(layers)))
    h = conv(h, *next(layers))
    assert next(layers, None) is None
    np.testing.assert_allclose(encoder.double()(x).detach().numpy(), h, rtol=1e-10, atol=1e-12)


@BOTH
def test_decoder_is_the_papers(sides: Shape) -> None:
    decoder = ConvDecoder(depth=3, scales=2)
    small = tuple(side // 4 for side in sides)
    decoder.build((2, *small), (1, *sides))
    initialise(decoder, 0, "decoder")
    z = torch.randn(2, 2, *small, dtype=torch.float64)
    layers = weights(decoder)
    h = z.numpy()
    for _ in range(2):
        h = leaky(conv(h, *next(layers)))
        h = leaky(conv(h, *next(layers)))
        h = enlarge(h)
    h = leaky(conv(h, *next(layers)))
    h = conv(h, *next(layers))
    assert next(layers, None) is None
    np.testing.assert_allclose(decoder.double()(z).detach().numpy(), h, rtol=1e-10, atol=1e-12)


def test_convolutions_of_sequences_are_numpys() -> None:
    """The smallest encoder, written with numpy's own correlation and a mean over pairs."""
    encoder = ConvEncoder(depth=2, scales=1, latent=3)
    encoder.build((2, 10))
    initialise(encoder, 0, "encoder")
    x = torch.randn(4, 2, 10, dtype=torch.float64)
    first, a, b, c, last = weights(encoder)
    h = leaky(correlate(leaky(correlate(correlate(x.numpy(), *first), *a)), *b))
    h = correlate(leaky(correlate(h.reshape(4, 2, 5, 2).mean(3), *c)), *last)
    np.testing.assert_allclose(encoder.double()(x).detach().numpy(), h, rtol=1e-10, atol=1e-12)


@BOTH
def test_channels_double_towards_the_latent(sides: Shape) -> None:
    encoder, decoder = ConvEncoder(depth=4, scales=2, latent=5), ConvDecoder(depth=4, scales=2)
    decoder.build(encoder.build((1, *sides)), (1, *sides))
    widths = [[w.shape[0] for w, _ in weights(network)] for network in (encoder, decoder)]
    assert widths == [[4, 4, 4, 8, 8, 16, 5], [8, 8, 4, 4, 4, 1]]


@BOTH
def test_every_layer_of_the_networks_has_the_papers_init(sides: Shape) -> None:
    encoder, decoder = ConvEncoder(depth=48, scales=1, latent=48), ConvDecoder(depth=48, scales=1)
    decoder.build(encoder.build((48, *sides)), (48, *sides))
    for network in (encoder, decoder):
        initialise(network, 0, "network")
        for weight, bias in weights(network):
            assert weight.std() * (weight[0].size * 1.04) ** 0.5 == pytest.approx(1, abs=0.1)
            assert not bias.any()


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "4", None])
@pytest.mark.parametrize(
    ("part", "name"),
    [
        (ConvEncoder, "depth"),
        (ConvEncoder, "scales"),
        (ConvEncoder, "latent"),
        (ConvDecoder, "depth"),
        (ConvDecoder, "scales"),
    ],
)
def test_arguments_must_be_positive_whole_numbers(part: type, name: str, value: object) -> None:
    with pytest.raises(UserError, match=f"{name} must be a whole number of at least 1, not {value!r}"):
        part(**{name: value})


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 12, 8), "needs images whose sides are multiples of 8; those of Experiment.dataset are 12 x 8$"),
        ((1, 8, 12), "needs images whose sides are multiples of 8; those of Experiment.dataset are 8 x 12$"),
        ((3, 12), "needs sequences whose lengths are multiples of 8; those of Experiment.dataset are 12$"),
    ],
)
def test_sides_that_the_scales_do_not_divide(shape: Shape, message: str) -> None:
    with pytest.raises(UserError, match=rf"^ConvEncoder.scales = 3 {message}"):
        ConvEncoder(scales=3).build(shape)


@pytest.mark.parametrize(
    ("latent_shape", "data_shape", "message"),
    [
        ((2, 4, 2), (1, 8, 8), "4 x 2 into images of 16 x 8, but the dataset's images are 8 x 8"),
        ((2, 2, 4), (1, 8, 8), "2 x 4 into images of 8 x 16, but the dataset's images are 8 x 8"),
        ((2, 4), (1, 8), "4 into sequences of 16, but the dataset's sequences are 8"),
        ((2, 2), (1, 8, 8), "2 into sequences of 8, but the dataset's images are 8 x 8"),
        ((2, 2, 2), (1, 8), "2 x 2 into images of 8 x 8, but the dataset's sequences are 8"),
    ],
)
def test_decoder_that_does_not_fit_the_encoder(latent_shape: Shape, data_shape: Shape, message: str) -> None:
    with pytest.raises(UserError) as caught:
        ConvDecoder(scales=2).build(latent_shape, data_shape)
    assert str(caught.value) == (
        f"ConvDecoder.scales = 2 turns the encoder's latents of {message}: ConvEncoder.scales must be the same"
    )


@pytest.mark.parametrize("shape", [(), (784,), (1, 8, 8, 8)])
def test_data_that_are_neither_images_nor_sequences(shape: Shape) -> None:
    for build, what, other in (
        (lambda: ConvEncoder().build(shape), "data", "MLPEncoder"),
        (lambda: ConvDecoder().build((16, 2, 2), shape), "data", "MLPDecoder"),
        (lambda: ConvDecoder().build(shape, (1, 32, 32)), "latents", "MLPDecoder"),
    ):
        with pytest.raises(UserError) as caught:
            build()
        assert str(caught.value) == (
            f"Conv{other[3:]} works on images [C, H, W] and sequences [C, L]; here it meets {what} of shape "
            f"{list(shape)}: {other} takes any shape"
        )


def test_channels_last_changes_the_layout_of_images_alone() -> None:
    x = torch.randn(2, 3, 4, 5)
    laid_out = channels_last(x)
    assert torch.equal(laid_out, x)
    assert laid_out.stride() == (60, 1, 15, 3)
    for other in (torch.randn(2, 3), torch.randn(2, 3, 4)):
        assert channels_last(other) is other
