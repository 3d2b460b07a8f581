from __future__ import annotations

import threading
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from acaikit.critics import Critic, DenseCritic, EncoderCritic
from acaikit.errors import UserError
from acaikit.nets import ConvDecoder, ConvEncoder, Decoder, Encoder, Linear, MLPDecoder, MLPEncoder
from acaikit.registry import OURS, parts
from acaikit.testing import NotConforming, Refused, check_critic, check_decoder, check_encoder
from acaikit.types import Shape

CHECKS: dict[str, Callable[..., None]] = {
    "encoders": check_encoder,
    "decoders": check_decoder,
    "critics": check_critic,
}
SMALL: dict[str, dict[str, Any]] = {
    "ConvEncoder": {"depth": 4, "scales": 2, "latent": 2},
    "ConvDecoder": {"depth": 4, "scales": 2},
    "MLPEncoder": {"hidden": (8,), "latent": 4},
    "MLPDecoder": {"hidden": (8,)},
    "DenseCritic": {"hidden": (8,)},
}
FACTORIES: dict[str, Callable[[], Any]] = {"EncoderCritic": lambda: EncoderCritic(MLPEncoder(hidden=(8,)))}

every_data = pytest.mark.parametrize("data", ["images", "sequences", "vectors"])


@every_data
@pytest.mark.parametrize(
    "part", [p for p in parts() if p.kind in CHECKS and p.distribution == OURS], ids=lambda part: part.name
)
def test_every_registered_network_conforms(part: Any, data: str) -> None:
    made = part.load()
    factory = FACTORIES.get(part.name, lambda: made(**SMALL[part.name]))
    if part.name.startswith("Conv") and data == "vectors":
        with pytest.raises(Refused, match=f"{part.name} .*works on images .* and sequences"):
            CHECKS[part.kind](factory, data)
    else:
        CHECKS[part.kind](factory, data)


def test_the_defaults_conform() -> None:
    check_decoder(ConvDecoder)
    check_critic(lambda: EncoderCritic(ConvEncoder(depth=2, scales=1, latent=1)))


class Dense(Encoder):
    """Conforms; each of those below breaks one rule."""

    def build(self, data_shape: Shape) -> Any:
        self.layers = nn.Sequential(Linear(prod(data_shape), 4))
        return (4,)

    def forward(self, x: Tensor) -> Any:
        return self.layers(x.flatten(1))


class Normalised(Dense):
    """Has statistics of the batch in training, and buffers; none of it in evaluation."""

    def build(self, data_shape: Shape) -> Any:
        shape = super().build(data_shape)
        self.layers.append(nn.BatchNorm1d(4))
        return shape


@pytest.mark.parametrize("kind", [Dense, Normalised])
def test_what_conforms(kind: type[Encoder]) -> None:
    check_encoder(kind, "vectors")


ONE = Dense()


class Other(nn.Module):
    pass


class BuildRaises(Dense):
    def build(self, data_shape: Shape) -> Any:
        raise ValueError("no such size")


class RefusesWithoutAName(Dense):
    def build(self, data_shape: Shape) -> Any:
        raise UserError("too small")


class BuildReturnsASize(Dense):
    def build(self, data_shape: Shape) -> Any:
        super().build(data_shape)
        return [4]


class OtherShape(Dense):
    def build(self, data_shape: Shape) -> Any:
        super().build(data_shape)
        return (5,)


class PairOfTensors(Dense):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x), x


class Infinite(Dense):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x) / 0


class InPlace(Dense):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x.mul_(2)) if not self.training else super().forward(2 * x)


class KeepsALock(Dense):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class AppendsLayers(Dense):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential()

    def build(self, data_shape: Shape) -> Any:
        self.layers.append(Linear(4 if len(self.layers) else prod(data_shape), 4))
        return (4,)


class SinglePrecision(Dense):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x.float())


class SinglePrecisionOut(Dense):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x).float()


class Elsewhere(Dense):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x) + torch.ones(4)


class Dropped(Dense):
    def forward(self, x: Tensor) -> Any:
        return nn.functional.dropout(super().forward(x), training=self.training)


class NoiseOfNumpy(Dense):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x) + (float(np.random.normal()) if self.training else 0)


class UndrawnWeights(Dense):
    def build(self, data_shape: Shape) -> Any:
        self.scale = nn.Parameter(torch.rand(4))
        return super().build(data_shape)

    def forward(self, x: Tensor) -> Any:
        return self.scale * super().forward(x)


class OtherEachTime(Dense):
    calls = 0

    def forward(self, x: Tensor) -> Any:
        self.calls += not self.training
        return super().forward(x) * (1 + self.calls)


class CountsInEvaluation(Dense):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Any:
        self.calls += 1
        return super().forward(x)


class BesideTheMean(Dense):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x - x.mean(0))


class Detached(Dense):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x.detach())


class Rounded(Dense):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x.round())


class UnusedLayer(Dense):
    def build(self, data_shape: Shape) -> Any:
        self.unused = Linear(2, 2)
        return super().build(data_shape)


class InfiniteGradient(Dense):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x) + (0 * x.flatten(1)[:, :4]).sqrt()


class Overflows(Dense):
    def forward(self, x: Tensor) -> Any:
        return 1e30 * super().forward(x)


class StateOutsideBuffers(Dense):
    scale = 1.0

    def forward(self, x: Tensor) -> Any:
        self.scale *= 1.1 if self.training else 1
        return super().forward(x) * (self.scale if self.training else 1)


class OneSizeRaises(Dense):
    def build(self, data_shape: Shape) -> Any:
        assert data_shape == (64,), "vectors alone"
        return super().build(data_shape)


class OneSizeFails(Dense):
    def build(self, data_shape: Shape) -> Any:
        return super().build((64,))


class RoundsDown(Dense):
    """Halves the first axis, and says that it rounds up."""

    def build(self, data_shape: Shape) -> Any:
        self.scale = Linear(1, 1)
        return -(-data_shape[0] // 2), *data_shape[1:]

    def forward(self, x: Tensor) -> Any:
        n = x.shape[1] // 2
        return self.scale((x[:, :n] + x[:, n : 2 * n]).unsqueeze(-1)).squeeze(-1)


class Lazy(Dense):
    def build(self, data_shape: Shape) -> Any:
        self.layers = nn.LazyLinear(4)
        return (4,)


FAULTY: list[tuple[Callable[[], Any], str]] = [
    (Lazy, r"Lazy has layers that don't know their sizes yet \(such as nn.LazyLinear\)"),
    (Dense(), "an object of type Dense was given in place of what makes the part"),
    (dict, "a dict is no encoder: subclass acaikit.nets.Encoder"),
    (Other, "a Other is no encoder: subclass acaikit.nets.Encoder"),
    (lambda: ONE, r"the factory returns the same Dense twice: make a new one each time, lambda: Dense\(...\)"),
    (
        BuildRaises,
        r"BuildRaises.build raises ValueError for data of shape \[64\] \(no such size\): where .* raise .*UserError",
    ),
    (RefusesWithoutAName, r"with a message that doesn't name RefusesWithoutAName \(too small\): begin it with"),
    (BuildReturnsASize, r"build returns \[4\]: return the latent's shape, a tuple of whole numbers such as \(16,\)"),
    (OtherShape, r"built for data of shape \[64\], gives shape \[1, 4\] for a batch of 1, not \[1, 5\]"),
    (PairOfTensors, r"gives a tuple for a batch of 1, not \[1, 4\]"),
    (Infinite, "gives numbers that are not finite, with weights as they are drawn"),
    (InPlace, "InPlace.forward changes what it is given: leave out inplace=True"),
    (KeepsALock, r"can't be copied by copy.deepcopy \(.*lock.*\): every run trains a copy"),
    (AppendsLayers, "that is built twice is another network: build makes all layers anew and appends to none"),
    (SinglePrecision, r"SinglePrecision makes a tensor of its own dtype: give it dtype=x.dtype"),
    (SinglePrecisionOut, "turns float64 into torch.float32: give what it makes dtype=x.dtype"),
    (Elsewhere, r"on the default device, so it would fail on a GPU: give it device=x.device \(ones"),
    (Dropped, r"Dropped.forward draws from torch's global generator, .* no noise of its own \(no dropout"),
    (NoiseOfNumpy, "NoiseOfNumpy.forward draws from numpy's global generator"),
    (UndrawnWeights, r"two runs with one seed differ. Weights are drawn through reset_parameters\(\).*encoder.scale"),
    (OtherEachTime, "gives two outputs for one input in evaluation: it must be deterministic"),
    (CountsInEvaluation, r"forward changes state\['calls'\] in evaluation: .* only where self.training is True"),
    (BesideTheMean, "output for an example depends on the others in its batch, in evaluation too"),
    (Detached, r"no gradient goes through Detached to what it is given: leave out detach\(\)"),
    (Rounded, r"no gradient goes through Rounded to what it is given: .* steps such as round\(\)"),
    (UnusedLayer, r"to unused.weight: .* what nothing trains needs requires_grad_\(False\)"),
    (InfiniteGradient, "the gradient of InfiniteGradient's output by what it is given is not finite"),
    (Overflows, "the loss 'reconstruction' is inf after 1 steps: look for a division by zero"),
    (StateOutsideBuffers, "a restored run goes on differently: state belongs in parameters and in buffers"),
    (OneSizeRaises, r"OneSizeRaises.build raises AssertionError for data of shape \[1, 7, 9\] \(vectors alone"),
    (OneSizeFails, r"can be built for data of shape \[1, 7, 9\], and fails there \(.*\): .* build must raise"),
    (
        RoundsDown,
        r"built for data of shape \[1, 7, 9\], gives shape \[2, 0, 7, 9\] for a batch of 2, not \[2, 1, 7, 9\]",
    ),
]


@pytest.mark.parametrize(("factory", "message"), FAULTY, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_rule_is_named(factory: Callable[[], Any], message: str) -> None:
    with pytest.raises(NotConforming, match=message) as caught:
        check_encoder(factory, "vectors")
    assert not isinstance(caught.value, Refused)


class NeedsContiguous(Dense):
    """Fails on images in the memory layout in which they are trained."""

    def forward(self, x: Tensor) -> Any:
        return self.layers(x.view(len(x), -1))


def test_the_memory_layout_of_images() -> None:
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        check_encoder(NeedsContiguous, "images")


def test_a_refusal_quotes_the_part() -> None:
    with pytest.raises(
        Refused, match=r"ConvEncoder doesn't take data of shape \[4, 16\]: ConvEncoder.scales = 5 needs"
    ):
        check_encoder(lambda: ConvEncoder(scales=5), "sequences")
    said = r"takes latents of none of the shapes \[8\], \[4, 1\], .* of the last it says: ConvDecoder.scales = 7 turns"
    with pytest.raises(Refused, match=said):
        check_decoder(lambda: ConvDecoder(scales=7), "sequences")


class DenseDecoder(Decoder):
    def build(self, latent_shape: Shape, data_shape: Shape) -> None:
        self.layers = nn.Sequential(Linear(prod(latent_shape), prod(data_shape)), nn.Unflatten(1, data_shape))

    def forward(self, z: Tensor) -> Any:
        return self.layers(z.flatten(1))


class Flat(DenseDecoder):
    def forward(self, z: Tensor) -> Any:
        return super().forward(z).flatten(1)


class OneLatent(DenseDecoder):
    """Reads latents of 8 numbers alone, and doesn't say so."""

    def build(self, latent_shape: Shape, data_shape: Shape) -> None:
        super().build((8,), data_shape)


class Judge(Critic):
    def build(self, shape: Shape) -> None:
        self.layers = nn.Sequential(Linear(prod(shape), 1))

    def forward(self, x: Tensor) -> Any:
        return self.layers(x.flatten(1))


@pytest.mark.parametrize(
    ("check", "factory", "message"),
    [
        (check_decoder, MLPEncoder, "a MLPEncoder is no decoder: subclass acaikit.nets.Decoder"),
        (
            check_decoder,
            Flat,
            r"Flat, built for latents of shape .*, gives shape \[1, 64\] for a batch of 1, not \[1, 4, 16\]",
        ),
        (check_decoder, OneLatent, r"can be built for latents of shape \[3\] and data .*, and fails there"),
        (check_critic, MLPDecoder, "a MLPDecoder is no critic: subclass acaikit.critics.Critic"),
        (
            check_critic,
            Judge,
            r"Judge, built for examples of shape \[4, 16\], gives shape \[1, 1\] for a batch of 1, not \[1\]",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_decoders_and_critics_that_break_a_rule(check: Callable[..., None], factory: Any, message: str) -> None:
    with pytest.raises(NotConforming, match=message):
        check(factory, "sequences")


@pytest.mark.parametrize(
    ("check", "factory"), [(check_encoder, MLPEncoder), (check_decoder, MLPDecoder), (check_critic, DenseCritic)]
)
def test_unknown_data(check: Callable[..., None], factory: Any) -> None:
    with pytest.raises(UserError, match="can't check on 'image': did you mean images"):
        check(factory, data="image")
