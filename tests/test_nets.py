from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from acaikit.errors import UserError
from acaikit.nets import Conv, ConvDecoder, ConvEncoder, Linear, channels_last, count_parameters
from acaikit.rng import initialise

SIZES = st.integers(1, 4)


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


def test_frozen_parameters_are_not_counted() -> None:
    layer = nn.Linear(3, 2)
    layer.bias.requires_grad_(False)
    assert count_parameters(layer) == 6


@settings(deadline=None, max_examples=30)
@given(
    depth=SIZES, scales=st.integers(1, 3), latent=SIZES, colors=SIZES, rows=st.integers(1, 3), columns=st.integers(1, 3)
)
def test_shapes(depth: int, scales: int, latent: int, colors: int, rows: int, columns: int) -> None:
    encoder, decoder = ConvEncoder(depth, scales, latent), ConvDecoder(depth, scales)
    shape = (colors, rows * 2**scales, columns * 2**scales)
    latent_shape = encoder.build(shape)
    decoder.build(latent_shape, shape)
    z = encoder(torch.zeros(2, *shape))
    assert latent_shape == (latent, rows, columns)
    assert z.shape == (2, *latent_shape)
    assert decoder(z).shape == (2, *shape)


def weights(network: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    numbers = [p.detach().double() for p in network.parameters()]
    return zip(numbers[::2], numbers[1::2], strict=True)


def conv(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A "same" convolution, one kernel position at a time."""
    k = weight.shape[2]
    height, width = x.shape[2:]
    padded = nn.functional.pad(x, [k // 2] * 4)
    out = bias.view(1, -1, 1, 1).expand(len(x), -1, height, width)
    for i in range(k):
        for j in range(k):
            out = out + torch.einsum("bchw,oc->bohw", padded[:, :, i : i + height, j : j + width], weight[:, :, i, j])
    return out


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x)


def test_encoder_is_the_papers() -> None:
    encoder = ConvEncoder(depth=3, scales=2, latent=2)
    encoder.build((1, 8, 12))
    initialise(encoder, 0, "encoder")
    x = torch.randn(2, 1, 8, 12, dtype=torch.float64)
    layers = weights(encoder)
    h = conv(x, *next(layers))
    for _ in range(2):
        h = leaky(conv(h, *next(layers)))
        h = leaky(conv(h, *next(layers)))
        h = (h[:, :, ::2, ::2] + h[:, :, 1::2, ::2] + h[:, :, ::2, 1::2] + h[:, :, 1::2, 1::2]) / 4
    h = leaky(conv(h, *next(layers)))
    h = conv(h, *next(layers))
    assert next(layers, None) is None
    torch.testing.assert_close(encoder.double()(x), h)


def test_decoder_is_the_papers() -> None:
    decoder = ConvDecoder(depth=3, scales=2)
    decoder.build((2, 2, 3), (1, 8, 12))
    initialise(decoder, 0, "decoder")
    z = torch.randn(2, 2, 2, 3, dtype=torch.float64)
    layers = weights(decoder)
    h = z
    for _ in range(2):
        h = leaky(conv(h, *next(layers)))
        h = leaky(conv(h, *next(layers)))
        h = h.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    h = leaky(conv(h, *next(layers)))
    h = conv(h, *next(layers))
    assert next(layers, None) is None
    torch.testing.assert_close(decoder.double()(z), h)


def test_channels_double_towards_the_latent() -> None:
    encoder, decoder = ConvEncoder(depth=4, scales=3, latent=5), ConvDecoder(depth=4, scales=3)
    decoder.build(encoder.build((1, 8, 8)), (1, 8, 8))
    widths = [[w.shape[0] for w, _ in weights(network)] for network in (encoder, decoder)]
    assert widths == [[4, 4, 4, 8, 8, 16, 16, 32, 5], [16, 16, 8, 8, 4, 4, 4, 1]]


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [(Conv(16, 256), 144), (Conv(144, 256, kernel=1), 144), (Linear(200, 200), 200)],
    ids=["3x3", "1x1", "dense"],
)
def test_initial_weights(layer: nn.Conv2d | nn.Linear, fan_in: int) -> None:
    with torch.no_grad():
        layer.bias.fill_(1)
    initialise(layer, 0, "layer")
    # In units of the expected standard deviation they are standard normal.
    normal = layer.weight.detach().double().flatten() * (fan_in * 1.04) ** 0.5
    error = 4 / len(normal) ** 0.5
    assert abs(normal.mean()) < error
    assert abs(normal.square().mean() - 1) < 1.5 * error
    assert abs((normal.abs() < 1).double().mean() - 0.6827) < error
    assert not layer.bias.any()


def test_every_layer_of_the_networks_has_the_papers_init() -> None:
    encoder, decoder = ConvEncoder(depth=32, scales=1, latent=32), ConvDecoder(depth=32, scales=1)
    decoder.build(encoder.build((32, 4, 4)), (32, 4, 4))
    for network in (encoder, decoder):
        initialise(network, 0, "network")
        for weight, bias in weights(network):
            assert weight.std() * (weight[0].numel() * 1.04) ** 0.5 == pytest.approx(1, abs=0.1)
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


@pytest.mark.parametrize("shape", [(1, 12, 8), (1, 8, 12)])
def test_sides_that_the_scales_do_not_divide(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        UserError, match=r"scales = 3 needs .* multiples of 8; the dataset's are {1} x {2}".format(*shape)
    ):
        ConvEncoder(scales=3).build(shape)


@pytest.mark.parametrize("latent_shape", [(2, 4, 2), (2, 2, 4), (2, 4, 4)])
def test_decoder_that_does_not_fit_the_encoder(latent_shape: tuple[int, ...]) -> None:
    with pytest.raises(
        UserError, match=r"ConvDecoder.scales = 2 .* the dataset's images are 8 x 8: give .* same scales"
    ):
        ConvDecoder(scales=2).build(latent_shape, (1, 8, 8))


def test_data_that_are_not_images() -> None:
    with pytest.raises(UserError, match=r"ConvEncoder works on images \[C, H, W\]; .* shape \[784\]"):
        ConvEncoder().build((784,))
    with pytest.raises(UserError, match=r"ConvDecoder works on images .* shape \[64\]"):
        ConvDecoder().build((64,), (1, 32, 32))


def test_channels_last_changes_the_layout_alone() -> None:
    x = torch.randn(2, 3, 4, 5)
    laid_out = channels_last(x)
    assert torch.equal(laid_out, x)
    assert laid_out.stride() == (60, 1, 15, 3)
    vectors = torch.randn(2, 3)
    assert channels_last(vectors) is vectors
