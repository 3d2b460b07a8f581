"""A training step's work, counted and not timed, so that a slower step is found on any machine.

What is counted is the second step of a small model on 16x16 lines, on the CPU. `COSTS` states it for each of the
paper's models: passes and reads exactly, operators and allocations with a margin of a fiftieth. To restate them, where
a step costs less, or more with good reason: ``python tests/test_work.py`` prints what is counted now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from acaikit.data import Lines
from acaikit.engine import Trainer
from acaikit.experiment import Experiment
from acaikit.likelihoods import MSE, Bernoulli
from acaikit.nets import ConvDecoder, ConvEncoder
from acaikit.regularizers import ACAI, KL, VQEMA, AdversarialPrior, Denoising, LatentDropout, Regularizer
from acaikit.types import Extras, Step


class Cost(NamedTuple):
    """What a step may cost: passes over encoder, decoder and critic in forward equivalents; calls on the host."""

    e: int
    d: int
    c: int
    operators: int
    allocations: int
    reads: int = 1
    """Numbers that the host waits for: whether all gradients are finite."""


# Three passes train a network: forward, data gradient, weight gradient.
COSTS = {
    "baseline": Cost(3, 3, 0, 437, 293),
    "dropout": Cost(3, 3, 0, 447, 299),
    "denoising": Cost(4, 3, 0, 498, 313),  # the probe reads the code of the clean data
    "vae": Cost(3, 3, 0, 524, 347),
    # A critic is trained on two kinds of examples, and of one of them the model's loss wants another data gradient.
    "aae": Cost(3, 3, 7, 568, 364),
    "vqvae": Cost(3, 3, 0, 538, 340),
    "acai": Cost(3, 6, 7, 954, 606),
}

MODELS: dict[str, Callable[[], list[Regularizer]]] = {
    "baseline": list,
    "dropout": lambda: [LatentDropout()],
    "denoising": lambda: [Denoising()],
    "vae": lambda: [KL()],
    "aae": lambda: [AdversarialPrior()],
    "vqvae": lambda: [VQEMA(entries=32, vectors=3, hidden=7)],
    "acai": lambda: [ACAI()],
}
MARGIN = 1.02

# At 64 a batch what is computed once for all its examples, such as kernels, hardly counts.
BATCH, SIDE, CLASSES, D_Z = 64, 16, 10, 3 * 2 * 2

# (channels in, channels out, kernel, side) with depth 4, 3 scales and 3 latent channels; from the method, section 1.
ENCODER = [(1, 4, 1, 16), (4, 4, 3, 16), (4, 4, 3, 16), (4, 8, 3, 8), (8, 8, 3, 8), (8, 16, 3, 4), (16, 16, 3, 4)]
ENCODER += [(16, 32, 3, 2), (32, 3, 3, 2)]
DECODER = [(3, 16, 3, 2), (16, 16, 3, 2), (16, 8, 3, 4), (8, 8, 3, 4), (8, 4, 3, 8), (4, 4, 3, 8)]
DECODER += [(4, 4, 3, 16), (4, 1, 3, 16)]


def dense(*widths: int) -> int:
    return sum(2 * a * b for a, b in pairwise(widths))


def convolutions(layers: Iterable[tuple[int, int, int, int]]) -> int:
    """Floating-point operations of a forward pass over one example, two for each product."""
    return sum(2 * i * o * (kernel * side) ** 2 for i, o, kernel, side in layers)


class Counter(TorchDispatchMode):
    """Counts what reaches torch's kernels: operators, those that give a number to the host, and storages made."""

    def __init__(self) -> None:
        super().__init__()
        self.operators = self.reads = self.allocations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = storages((args, kwargs))
        out = func(*args, **(kwargs or {}))
        self.operators += 1
        self.reads += func is torch.ops.aten._local_scalar_dense.default
        self.allocations += len(storages(out) - before)
        return out


def storages(tree: object) -> set[int]:
    return {leaf.untyped_storage().data_ptr() for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)} - {0}


class Counted(NamedTuple):
    flops: int
    allowed: int
    operators: int
    allocations: int
    reads: int


def flops(call: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def trainer_of(model: str, regularizers: list[Regularizer] | None = None) -> Trainer:
    experiment = Experiment(
        dataset=Lines(SIDE, SIDE, test_size=8),
        encoder=ConvEncoder(depth=4, scales=3, latent=3),
        decoder=ConvDecoder(depth=4, scales=3),
        likelihood=Bernoulli() if model == "vae" else MSE(),
        regularizers=MODELS[model]() if regularizers is None else regularizers,
        batch_size=BATCH,
    )
    return Trainer(experiment)


def passes(trainer: Trainer) -> tuple[int, int]:
    """What torch counts in a forward pass of encoder and decoder over a batch."""
    x, z = torch.zeros(BATCH, 1, SIDE, SIDE), torch.zeros(BATCH, 3, 2, 2)
    return flops(lambda: trainer.model.encoder(x)), flops(lambda: trainer.model.decoder(z))


def allowed(model: str, trainer: Trainer) -> int:
    """Floating-point operations of the passes in `COSTS`, and of the dense layers that a model has besides."""
    (e, d), cost = passes(trainer), COSTS[model]
    c = {"acai": e, "aae": BATCH * dense(D_Z, 100, 100, 1)}.get(model, 0)
    besides = {
        "vae": 3 * 2 * dense(D_Z, D_Z),
        "vqvae": 3 * dense(D_Z, 3 * D_Z) + 3 * dense(3 * D_Z, 7, D_Z) + 3 * dense(D_Z, 32),
    }
    probe = 2 * dense(D_Z, CLASSES)
    return cost.e * e + cost.d * d + cost.c * c + BATCH * (besides.get(model, 0) + probe)


def count(model: str, regularizers: list[Regularizer] | None = None) -> Counted:
    trainer = trainer_of(model, regularizers)
    trainer.step()  # in which the optimizers make their moments
    with Counter() as counter:
        work = flops(trainer.step)
    return Counted(work, allowed(model, trainer), counter.operators, counter.allocations, counter.reads)


counted = cache(count)


def test_a_forward_pass_does_the_work_of_its_layers() -> None:
    """At most that, and no less than 16 products of 36: as many are left of a convolution after an upsampling."""
    for found, layers in zip(passes(trainer_of("baseline")), (ENCODER, DECODER), strict=True):
        assert 16 / 36 <= found / (BATCH * convolutions(layers)) <= 1.001


def test_a_critic_does_the_work_of_an_encoder() -> None:
    trainer = trainer_of("acai")
    critic, x = trainer.model.regularizers["ACAI"].critic, torch.zeros(BATCH, 1, SIDE, SIDE)
    assert critic is not None and flops(lambda: critic(x)) == passes(trainer)[0]


def too_much(found: Counted) -> bool:
    """Whether there is more than the passes, which are a little less: no first layer has to send gradients to data."""
    return found.flops > 0.99 * found.allowed


@pytest.mark.parametrize("model", COSTS)
def test_floating_point_work_is_that_of_the_passes(model: str) -> None:
    found = counted(model)
    assert not too_much(found)
    assert found.flops > 0.95 * found.allowed  # or `COSTS` states too many


@pytest.mark.parametrize("model", COSTS)
def test_calls_on_the_host(model: str) -> None:
    found, cost = counted(model), COSTS[model]
    assert found.reads <= cost.reads
    assert found.operators <= MARGIN * cost.operators
    assert found.allocations <= MARGIN * cost.allocations


class EncodesTwice(ACAI):
    def prepare(self, step: Step, noise: torch.Generator) -> Extras:
        step.encode(step.x)
        return super().prepare(step, noise)


class JudgesTwice(ACAI):
    def model_loss(self, step: Step) -> Tensor:
        return 0.5 * self.critic(step.x_mix.clone()).square().mean()


class Reads(ACAI):
    def after_step(self, step: Step) -> None:
        step.alpha.mean().item()


@pytest.mark.parametrize("wasteful", [EncodesTwice, JudgesTwice])
def test_a_second_pass_is_found(wasteful: type[ACAI]) -> None:
    found = count("acai", [wasteful()])
    assert too_much(found)
    assert found.operators > MARGIN * COSTS["acai"].operators
    assert found.allocations > MARGIN * COSTS["acai"].allocations


def test_gradients_that_nobody_needs_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def backward(loss: Tensor, inputs: object = None, **options: Any) -> None:
        torch.autograd.backward(loss, **options)  # with respect to whatever there is

    monkeypatch.setattr(Tensor, "backward", backward)
    assert too_much(count("acai"))


def test_a_number_that_the_host_reads_is_found() -> None:
    assert count("acai", [Reads()]).reads == COSTS["acai"].reads + 1


if __name__ == "__main__":
    for name, cost in COSTS.items():
        now = count(name)
        calls = {key: getattr(now, key) for key in ("operators", "allocations", "reads")}
        print(f"{name}: {now.flops / now.allowed:.3f} of the passes in {cost}; {calls}")
