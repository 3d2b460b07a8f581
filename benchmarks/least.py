"""The least floating-point work of a training step, in closed form from the networks' sizes (method, sections 1 and 2).

Only products count, 2 FLOP a multiply-add: convolutions and dense layers, not activations, pooling or optimizers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from acaikit.experiment import Experiment


@dataclass(frozen=True)
class Layer:
    """A convolution with "same" padding on square maps; with a kernel and a side of 1 it is a dense layer."""

    inputs: int
    outputs: int
    kernel: int = 1
    side: int = 1

    def work(self, padded: bool = True) -> int:
        """Return the FLOP of one pass over one example: forward, data gradient and weight gradient have the same."""
        cut = self.kernel // 2
        taps = self.kernel * self.side - (0 if padded else cut * (cut + 1))
        return 2 * self.inputs * self.outputs * taps**2


Net = Sequence[Layer]


def encoder(depth: int, scales: int, latent: int, colors: int, side: int) -> Net:
    """Return the layers of the paper's encoder, which is ACAI's critic too (method, section 1)."""
    layers, before = [Layer(colors, depth, 1, side)], depth
    for s in range(scales):
        now = depth * 2**s
        layers += [Layer(before, now, 3, side), Layer(now, now, 3, side)]
        before, side = now, side // 2
    top = depth * 2**scales
    return [*layers, Layer(before, top, 3, side), Layer(top, latent, 3, side)]


def decoder(depth: int, scales: int, latent: int, colors: int, side: int) -> Net:
    """Return the layers of the paper's decoder."""
    layers, before, side = [], latent, side // 2**scales
    for s in reversed(range(scales)):
        now = depth * 2**s
        layers += [Layer(before, now, 3, side), Layer(now, now, 3, side)]
        before, side = now, 2 * side
    return [*layers, Layer(before, depth, 3, side), Layer(depth, colors, 3, side)]


def dense(*widths: int) -> Net:
    """Return dense layers from each width to the next."""
    return [Layer(before, after) for before, after in pairwise(widths)]


@dataclass(frozen=True)
class Passes:
    """How often a network is passed: forward, for its weights' gradients, for its data's.

    `inner` data gradients end at the network's first layer, whose own input needs none; `whole` ones reach the input.
    """

    forward: int = 0
    weight: int = 0
    inner: int = 0
    whole: int = 0

    def work(self, net: Net, padded: bool = True) -> int:
        """Return the FLOP of these passes over one example."""
        total = sum(layer.work(padded) for layer in net)
        first = net[0].work(padded)
        return (self.forward + self.weight + self.inner + self.whole) * total - self.inner * first


FIRST = Passes(forward=1, weight=1, inner=1)
"""A network that is trained on data."""
LATER = Passes(forward=1, weight=1, whole=1)
"""A network that is trained on what another one gives."""
READER = Passes(forward=1, weight=1)
"""One layer that is trained on what is held constant."""

CRITIC = Passes(forward=2, weight=2, inner=2, whole=1)
"""A critic judges once what the losses of both players read, but each sends gradients of its own back: the model's to
the critic's input, the critic's to its weights. What it reads for its own loss alone is a second example."""

LEAST: dict[str, dict[str, Passes]] = {
    "baseline": {"e": FIRST, "d": LATER},
    "dropout": {"e": FIRST, "d": LATER},
    "denoising": {"e": replace(FIRST, forward=2), "d": LATER},  # the probe reads the code of the clean data
    "vae": {"e": FIRST, "d": LATER, "mu": LATER, "log_var": LATER},
    "aae": {"e": FIRST, "d": LATER, "c": CRITIC},
    "vqvae": {"e": FIRST, "d": LATER, "to": LATER, "from": LATER, "nearest": Passes(forward=1)},
    "acai": {"e": FIRST, "d": Passes(forward=2, weight=2, whole=2), "c": CRITIC},
}
"""What each model's step can't do without: one forward pass, all gradients at the same weights."""


def networks(model: str, depth: int, scales: int, latent: int, colors: int, side: int) -> dict[str, Net]:
    """Return the networks of a model by the names in `LEAST`."""
    sizes = (depth, scales, latent, colors, side)
    d_z = latent * (side // 2**scales) ** 2
    others: dict[str, dict[str, Net]] = {
        "vae": {"mu": dense(d_z, d_z), "log_var": dense(d_z, d_z)},
        "aae": {"c": dense(d_z, 100, 100, 1)},
        "vqvae": {"to": dense(d_z, 10 * d_z), "from": dense(10 * d_z, 512, d_z), "nearest": dense(d_z, 10 * 2**14)},
        "acai": {"c": encoder(*sizes)},
    }
    return {"e": encoder(*sizes), "d": decoder(*sizes), **others.get(model, {})}


def least(model: str, nets: dict[str, Net], classes: int = 10, padded: bool = True) -> int:
    """Return the least FLOP of a model's training step for one example, the probe's included."""
    last = nets["e"][-1]
    probe = READER.work(dense(last.outputs * last.side**2, classes), padded)
    return probe + sum(passes.work(nets[name], padded) for name, passes in LEAST[model].items())


def multiple(model: str) -> str:
    """Return a model's passes over encoder, decoder and critic, in forward equivalents."""
    counts = {name: p.forward + p.weight + p.inner + p.whole for name, p in LEAST[model].items() if name in "edc"}
    rest = [name for name in LEAST[model] if name not in counts]
    return " + ".join([f"{count} {name}" for name, count in counts.items()] + (["dense layers"] if rest else []))


def nets_of(recipe: str, made: Experiment) -> dict[str, Net]:
    """Return the networks of a recipe called DATA_MODEL_LATENT."""
    colors, side, _ = made.dataset.shape
    depth, scales, latent = (int(getattr(made.encoder, name)) for name in ("depth", "scales", "latent"))
    return networks(model_of(recipe), depth, scales, latent, colors, side)


def model_of(recipe: str) -> str:
    """Return the model's name in a recipe's."""
    return recipe.split("_")[1]
