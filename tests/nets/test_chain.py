"""What is composed equals the layers one after the other: in double precision, values and gradients alike."""

import copy
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune
from torch.utils._python_dispatch import TorchDispatchMode

from acaikit.nets import Chain, ConvDecoder, ConvEncoder, channels_last

CONVS = {1: nn.Conv1d, 2: nn.Conv2d}


def made(axes: int, colors: int, width: int, kinds: list[str]) -> list[nn.Module]:
    """Layers that keep `width` channels after the first, in any order."""
    conv, layers, channels = CONVS[axes], [], colors
    for kind in kinds:
        match kind:
            case "point" | "same":
                kernel = 1 if kind == "point" else 3
                layers.append(conv(channels, width, kernel, padding=kernel // 2))
                channels = width
            case "up":
                layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
            case "leaky":
                layers.append(nn.LeakyReLU(0.2))
    return layers


def gradients(net: nn.Sequential, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    x = x.clone().requires_grad_()
    out = net(x)
    direction = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape)
    return out.detach(), list(torch.autograd.grad((out * direction).sum(), [x, *net.parameters()]))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 2),
    st.integers(1, 3),
    st.integers(1, 4),
    st.lists(st.sampled_from(["point", "same", "up", "leaky"]), min_size=1, max_size=6).filter(
        lambda kinds: kinds.count("up") <= 2 and {"point", "same"} & set(kinds)
    ),
    st.integers(1, 4),
    st.integers(0, 9),
)
def test_equals_the_layers_one_after_the_other(
    axes: int, colors: int, width: int, kinds: list[str], side: int, seed: int
) -> None:
    torch.manual_seed(seed)
    plain = nn.Sequential(*made(axes, colors, width, kinds)).double()
    chain = Chain(*copy.deepcopy(plain)).double()
    x = torch.randn(2, colors, *[side] * axes, dtype=torch.double)
    expected, slopes = gradients(plain, x)
    found, ours = gradients(chain, x)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    for mine, theirs in zip(ours, slopes, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def test_second_derivatives() -> None:
    chain = Chain(*made(2, 1, 2, ["point", "same", "up", "same"])).double()
    assert torch.autograd.gradgradcheck(chain, torch.randn(1, 1, 3, 3, dtype=torch.double, requires_grad=True))


class Standardized(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x - x.mean())


def strange() -> dict[str, list[nn.Module]]:
    """Layers that look like those which are composed, and aren't."""
    conv, point, up = partial(nn.Conv2d, 4, 4, 3), partial(nn.Conv2d, 4, 4, 1), partial(nn.Upsample, scale_factor=2)
    hooked, pruned, normed = point(), point(), conv(padding=1)
    hooked.register_forward_hook(lambda layer, inputs, output: output * 2)
    prune.random_unstructured(pruned, "weight", 0.5)
    return {
        "depthwise": [point(), conv(padding=1, groups=4)],
        "grouped point": [point(groups=2), conv(padding=1)],
        "reflecting": [point(), conv(padding=1, padding_mode="reflect")],
        "without padding": [point(), conv()],
        "wide": [up(), conv(padding=2)],
        "dilated": [up(), conv(padding=2, dilation=2)],
        "strided": [up(), conv(padding=1, stride=2)],
        "padded point": [point(padding=1), conv(padding=1)],
        "strided point": [point(stride=2), conv(padding=1)],
        "without bias": [point(bias=False), conv(padding=1)],
        "bias at the end": [point(), conv(padding=1, bias=False)],
        "own forward": [point(), Standardized(4, 4, 3, padding=1)],
        "own forward after upsampling": [up(), Standardized(4, 4, 3, padding=1)],
        "bilinear": [up(mode="bilinear"), conv(padding=1)],
        "threefold": [nn.Upsample(scale_factor=3), conv(padding=1)],
        "to a size": [nn.Upsample(size=12), conv(padding=1)],
        "hooked": [hooked, conv(padding=1)],
        "pruned": [pruned, conv(padding=1)],
        "spectral norm": [up(), nn.utils.parametrizations.spectral_norm(normed)],
        "a leaky relu in place": [conv(padding=1), nn.LeakyReLU(0.3, inplace=True)],
        "twice": [conv(padding=1), nn.LeakyReLU(0.3), nn.LeakyReLU(0.3)],
        "first of all": [nn.LeakyReLU(0.3), conv(padding=1)],
    }


@pytest.mark.parametrize("name", strange())
def test_other_layers_are_called(name: str) -> None:
    plain = nn.Sequential(*strange()[name]).double().eval()
    x = torch.rand(2, 4, 6, 6, dtype=torch.double) - 0.5
    kept = x.clone()
    torch.testing.assert_close(Chain(*plain)(x), plain(x))
    assert torch.equal(x, kept)


def test_a_weight_that_is_drawn_is_drawn_once() -> None:
    conv = nn.utils.parametrize.register_parametrization(nn.Conv2d(4, 4, 3, padding=1), "weight", nn.Dropout())
    plain, x, found = nn.Sequential(nn.Conv2d(4, 4, 1), conv), torch.rand(2, 4, 6, 6), []
    for net in (plain, Chain(*plain)):
        torch.manual_seed(0)
        found.append(net(x))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("axes", [1, 2])
def test_an_example_without_a_batch(axes: int) -> None:
    plain = nn.Sequential(*made(axes, 1, 2, ["point", "same", "leaky", "same"]))
    x = torch.rand(1, *[4] * axes)
    torch.testing.assert_close(Chain(*plain)(x), plain(x))


def test_what_a_hook_keeps_is_left_as_it_is() -> None:
    chain, kept = Chain(*made(2, 1, 2, ["same", "leaky"])), []
    chain[0].register_forward_hook(lambda layer, inputs, output: kept.append(output))
    out = chain(torch.randn(2, 1, 4, 4))
    assert kept[0].min() < 0
    torch.testing.assert_close(nn.functional.leaky_relu(kept[0], 0.2), out)


def test_transforms_of_torch_func() -> None:
    encoder = ConvEncoder(depth=2, scales=1, latent=1)
    encoder.build((1, 4, 4))
    encoder.to(memory_format=torch.channels_last)
    x, parameters = torch.rand(3, 1, 4, 4), dict(encoder.named_parameters())

    def loss(parameters: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(encoder, parameters, (x[None],)).square().sum()

    per_sample = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    expected = torch.autograd.grad(encoder(x).square().sum(), list(parameters.values()))
    for found, whole in zip(per_sample.values(), expected, strict=True):
        torch.testing.assert_close(found.sum(0), whole)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda each: encoder(each[None])[0]))(x)
    assert jacobian.shape == (3, 1, 2, 2, 1, 4, 4)


class Convolutions(TorchDispatchMode):
    """Notes the number of weights of every convolution's kernel along each axis."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func is torch.ops.aten.convolution.default:
            self.kernels.append(tuple(args[1].shape))
        return func(*args, **(kwargs or {}))


def test_the_paper_s_pair_is_composed_at_its_widest_maps() -> None:
    encoder, decoder = ConvEncoder(depth=8, scales=2, latent=3), ConvDecoder(depth=8, scales=2)
    latent = encoder.build((1, 16, 16))
    decoder.build(latent, (1, 16, 16))
    with Convolutions() as first:
        z = encoder(torch.rand(2, 1, 16, 16))
    assert first.kernels[0] == (8, 2, 3, 3)  # the image and ones
    assert len(first.kernels) == 6
    with Convolutions() as second:
        decoder(z)
    assert [kernel[-1] for kernel in second.kernels] == [3, 3, 4, 3, 4, 3]


@pytest.mark.parametrize("axes", [1, 2])
def test_parameters_are_those_of_a_sequential(axes: int) -> None:
    layers = made(axes, 1, 2, ["point", "same", "up", "same"])
    assert list(Chain(*layers).state_dict()) == list(nn.Sequential(*layers).state_dict())


def test_what_comes_out_is_laid_out_as_the_weights() -> None:
    chain = Chain(*made(2, 1, 4, ["point", "same", "up", "same"]))
    assert chain(torch.rand(2, 1, 4, 4)).is_contiguous()
    chain.to(memory_format=torch.channels_last)
    assert chain(torch.rand(2, 1, 4, 4)).is_contiguous(memory_format=torch.channels_last)
    assert channels_last(torch.rand(2, 3, 5)).shape == (2, 3, 5)
