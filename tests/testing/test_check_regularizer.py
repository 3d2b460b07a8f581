from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from acaikit.critics import DenseCritic
from acaikit.errors import UserError
from acaikit.nets import Linear
from acaikit.registry import parts
from acaikit.regularizers import ACAI, KL, VQEMA, AdversarialPrior, Architecture, Denoising, LatentDropout, Regularizer
from acaikit.testing import (
    NotConforming,
    check_device,
    check_doubt,
    check_dtype,
    check_evaluation,
    check_gradients,
    check_randomness,
    check_regularizer,
    check_resume,
)
from acaikit.testing.regularizer_hooks import check_calls
from acaikit.testing.regularizer_losses import check_repeats, check_steps
from acaikit.testing.regularizer_recording import check_recordable
from acaikit.types import Extras, Step

SMALL: dict[str, dict[str, Any]] = {"VQEMA": {"entries": 32}}
COMPOSITIONS: list[Callable[[], list[Regularizer]]] = [
    list,
    lambda: [KL(), ACAI()],
    lambda: [VQEMA(entries=32), ACAI()],
    lambda: [AdversarialPrior(), ACAI()],
    lambda: [Denoising(), ACAI()],
    lambda: [LatentDropout(), ACAI()],
    lambda: [ACAI(), ACAI(weight=2.0)],
]


every_data = pytest.mark.parametrize("data", ["images", "sequences", "vectors"])


@every_data
@pytest.mark.parametrize("part", [part for part in parts() if part.kind == "regularizers"], ids=lambda part: part.name)
def test_every_registered_regularizer_conforms(part: Any, data: str) -> None:
    check_regularizer(lambda: part.load()(**SMALL.get(part.name, {})), data)


@every_data
@pytest.mark.parametrize(
    "factory", COMPOSITIONS, ids=lambda make: " + ".join(type(r).__name__ for r in make()) or "none"
)
def test_compositions_conform(factory: Callable[[], list[Regularizer]], data: str) -> None:
    check_regularizer(factory, data)


class OnlyOn(Regularizer):
    """Accepts examples of one shape alone."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def corrupt(self, x: Tensor, noise: Generator | None) -> Tensor:
        assert x.shape[1:] == self.shape
        return x


@every_data
def test_shapes_of_the_data(data: str) -> None:
    shapes = {"images": (1, 8, 8), "sequences": (4, 16), "vectors": (64,)}
    for name, shape in shapes.items():
        if name == data:
            check_regularizer(lambda shape=shape: OnlyOn(*shape), data)
        else:
            with pytest.raises(AssertionError):
                check_regularizer(lambda shape=shape: OnlyOn(*shape), data)


def test_images_unless_told_otherwise() -> None:
    check_regularizer(lambda: OnlyOn(1, 8, 8))


def test_unknown_data() -> None:
    with pytest.raises(UserError, match="can't check on 'vector': did you mean vectors"):
        check_regularizer(KL, data="vector")


class GlobalNoise(Denoising):
    def corrupt(self, x: Tensor, noise: Generator | None) -> Tensor:
        return x if noise is None else x + torch.randn_like(x)


class NumpyNoise(Denoising):
    def corrupt(self, x: Tensor, noise: Generator | None) -> Tensor:
        return x if noise is None else x + torch.from_numpy(np.random.normal(size=x.shape)).to(x)


class SeededNumpyNoise(NumpyNoise):
    def corrupt(self, x: Tensor, noise: Generator | None) -> Tensor:
        np.random.seed(0)
        return super().corrupt(x, noise)


class UndrawnWeights(Regularizer):
    def build(self, architecture: Architecture) -> None:
        self.scale = nn.Parameter(torch.randn(architecture.latent_shape))

    def posterior(self, h: Tensor, noise: Generator | None) -> Tensor:
        return self.scale * h


class NoiseElsewhere(Denoising):
    def corrupt(self, x: Tensor, noise: Generator | None) -> Tensor:
        return x if noise is None else x + torch.randn(x.shape, generator=noise)


class TargetElsewhere(ACAI):
    def own_loss(self, step: Step) -> Tensor:
        return (self.critic(step.x) - torch.ones(len(step.x))).square().mean()


class CountsElsewhere(VQEMA):
    def __init__(self) -> None:
        super().__init__(entries=32)

    def after_step(self, step: Step) -> None:
        self.counts += torch.ones(self.entries)


class SinglePrecisionLoss(Regularizer):
    def model_loss(self, step: Step) -> Tensor:
        return step.z.float().square().mean()


class SinglePrecisionMatrix(Regularizer):
    def model_loss(self, step: Step) -> Tensor:
        return (step.z.flatten(1) @ torch.ones(8, 1, device=step.z.device)).mean()


class LossPerExample(Regularizer):
    def model_loss(self, step: Step) -> Tensor:
        return step.z.flatten(1).square().mean(1)


class NotANumber(Regularizer):
    def model_loss(self, step: Step) -> Tensor:
        return (step.z.square() - 1e6).log().mean()


class DetachedMix(ACAI):
    def model_loss(self, step: Step) -> Tensor:
        return self.critic(step.x_mix.detach()).square().mean()


class MixWithoutGradient(ACAI):
    def prepare(self, step: Step, noise: Generator) -> Extras:
        with torch.no_grad():
            return super().prepare(step, noise)


class DetachedCritic(ACAI):
    def own_loss(self, step: Step) -> Tensor:
        return super().own_loss(step).detach()


class LayerBesideTheCritic(AdversarialPrior):
    def build(self, architecture: Architecture) -> None:
        super().build(architecture)
        self.beside = Linear(8, 8)

    def own_loss(self, step: Step) -> Tensor:
        return self.critic(self.beside(step.z.flatten(1))).square().mean()


class HiddenNoise(LatentDropout):
    """Draws in `emit`, but says that it doesn't."""

    emit_draws = False


class NoiseInEvaluation(LatentDropout):
    def emit(self, z: Tensor, noise: Generator | None) -> Tensor:
        return z * (torch.rand(z.shape, generator=noise, device=z.device, dtype=z.dtype) > 0.5)


class StateInEvaluation(Regularizer):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def emit(self, z: Tensor, noise: Generator | None) -> Tensor:
        self.calls += 1
        return z


class StateOutsideBuffers(Regularizer):
    def __init__(self) -> None:
        super().__init__()
        self.weight = 0.0

    def model_loss(self, step: Step) -> Tensor:
        return self.weight * step.z.square().mean()

    def after_step(self, step: Step) -> None:
        self.weight += 1


class DoubtPerPixel(ACAI):
    def doubt(self, z: Tensor, x: Tensor) -> Tensor:
        return x.square()


class DoubtOfAll(ACAI):
    def doubt(self, z: Tensor, x: Tensor) -> Tensor:
        return super().doubt(z, x).mean()


class DoubtInNumpy(ACAI):
    def doubt(self, z: Tensor, x: Tensor) -> Any:
        return super().doubt(z, x).numpy()


class DoubtThatIsNaN(ACAI):
    def doubt(self, z: Tensor, x: Tensor) -> Tensor:
        return (-super().doubt(z, x).square() - 1).log()


class DoubtInSinglePrecision(ACAI):
    def doubt(self, z: Tensor, x: Tensor) -> Tensor:
        return self.critic(x.float())


class DoubtOfTheFirstFour(ACAI):
    def doubt(self, z: Tensor, x: Tensor) -> Tensor:
        return self.critic(x[[0, 1, 2, 3]])


class RandomDoubt(ACAI):
    def doubt(self, z: Tensor, x: Tensor) -> Tensor:
        return super().doubt(z, x) + torch.rand(len(x))


class DoubtBesideTheMean(ACAI):
    def doubt(self, z: Tensor, x: Tensor) -> Tensor:
        doubt = super().doubt(z, x)
        return doubt - doubt.mean()


class DoubtThatCounts(ACAI):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("asked", torch.zeros(()))

    def doubt(self, z: Tensor, x: Tensor) -> Tensor:
        self.asked += 1
        return super().doubt(z, x)


class DoubtElsewhere(ACAI):
    def doubt(self, z: Tensor, x: Tensor) -> Tensor:
        return super().doubt(z, x) - torch.ones(len(x))


class Clamps(Regularizer):
    def corrupt(self, x: Tensor, noise: Generator | None) -> Tensor:
        return x.clamp_(-0.5, 0.5)


class ScalesInPlace(Regularizer):
    def posterior(self, h: Tensor, noise: Generator | None) -> Tensor:
        return h.mul_(2)


class LossInPlace(Regularizer):
    def model_loss(self, step: Step) -> Tensor:
        return step.x_hat.sub_(step.x).abs().mean()


class LossOfNoTensor(Regularizer):
    def model_loss(self, step: Step) -> Any:
        return step.z.abs().mean().item()


class OtherLatents(Regularizer):
    def posterior(self, h: Tensor, noise: Generator | None) -> Tensor:
        return h[:, :1]


class UnnamedExtra(KL):
    def posterior(self, h: Tensor, noise: Generator | None) -> Any:
        z, _ = super().posterior(h, noise)
        return z, z.square()


class MixesInATuple(ACAI):
    def prepare(self, step: Step, noise: Generator) -> Any:
        return tuple(super().prepare(step, noise).values())


class KeptOnSelf(AdversarialPrior):
    def posterior(self, h: Tensor, noise: Generator | None) -> Tensor:
        self.mean = h.mean(0)
        return h

    def own_loss(self, step: Step) -> Tensor:
        return super().own_loss(step) + self.critic(step.z - self.mean).square().mean()


class Dropped(Regularizer):
    def build(self, architecture: Architecture) -> None:
        self.drop = nn.Dropout(0.5)

    def emit(self, z: Tensor, noise: Generator | None) -> Tensor:
        return self.drop(z)


class NoiseInTheLoss(Regularizer):
    def model_loss(self, step: Step) -> Tensor:
        return (step.z + torch.randn_like(step.z)).square().mean()


class WarmUp(Regularizer):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def model_loss(self, step: Step) -> Tensor:
        self.calls += 1
        return self.calls * step.z.square().mean()


class GradientOfARoot(Regularizer):
    def model_loss(self, step: Step) -> Tensor:
        return (step.z - step.z).square().sum(1).sqrt().mean()


class NaNLater(Regularizer):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("left", torch.ones(()))

    def model_loss(self, step: Step) -> Tensor:
        return self.left.sqrt() * step.z.square().mean()

    def after_step(self, step: Step) -> None:
        self.left -= 0.6


class Rounds(Regularizer):
    def emit(self, z: Tensor, noise: Generator | None) -> Tensor:
        return z.round()


class ClampsUnseen(Regularizer):
    """Changes no number, and yet what torch keeps for a gradient."""

    def model_loss(self, step: Step) -> Tensor:
        return step.x_hat.clamp_(-1e9, 1e9).square().mean()


class BehindTorch(Regularizer):
    def model_loss(self, step: Step) -> Tensor:
        step.x.data.add_(1.0)
        return step.z.square().mean()


class CodeInPlace(Regularizer):
    def model_loss(self, step: Step) -> Tensor:
        return step.z.add_(1.0).square().mean()


class DescendsItself(ACAI):
    def own_loss(self, step: Step) -> Tensor:
        loss = super().own_loss(step)
        loss.backward()
        return loss


class KeepsAGraph(Regularizer):
    last: Tensor | None = None

    def model_loss(self, step: Step) -> Tensor:
        last, self.last = self.last, step.z
        return step.z.square().mean() if last is None else (step.z - last).square().mean()


class Recordable(Regularizer):
    recordable = True

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ema", torch.zeros(()))

    def model_loss(self, step: Step) -> Tensor:
        return step.z.square().mean()

    def after_step(self, step: Step) -> None:
        self.ema.lerp_(step.z.mean(), 0.1)


class ReadsItsLoss(Recordable):
    recordable = True

    def model_loss(self, step: Step) -> Tensor:
        loss = step.z.square().mean()
        return loss if loss > 0 else 2 * loss


class ReadsAfterwards(Recordable):
    recordable = True

    def after_step(self, step: Step) -> None:
        self.ema.fill_(step.z.mean().item())


class Rebinds(Recordable):
    recordable = True

    def after_step(self, step: Step) -> None:
        self.ema = 0.9 * self.ema + 0.1 * step.z.mean()


class Counts(Recordable):
    recordable = True
    steps = 0

    def after_step(self, step: Step) -> None:
        self.steps += 1


BROKEN = [
    (check_calls, ClampsUnseen, "ClampsUnseen.model_loss changes step.x_hat in place: leave out"),
    (check_calls, BehindTorch, "BehindTorch.model_loss changes step.x in place"),
    (check_calls, CodeInPlace, r"changes step.h and step.z in place \(one tensor\): leave out .* step.z \+="),
    (check_calls, DescendsItself, r"DescendsItself.own_loss calls backward\(\): return the loss"),
    (check_recordable, ReadsItsLoss, r"a hook reads a tensor's numbers on the host .* torch.where"),
    (check_recordable, ReadsAfterwards, "a hook reads a tensor's numbers on the host"),
    (check_recordable, Rebinds, "Rebinds.ema is another tensor after a step, .* by copy_"),
    (check_recordable, Counts, "Counts.steps changes from step to step, .* in a buffer"),
    (check_calls, Clamps, "Clamps.corrupt changes x in place"),
    (check_calls, ScalesInPlace, "ScalesInPlace.posterior changes h in place"),
    (check_calls, LossInPlace, "LossInPlace.model_loss changes step.x_hat in place"),
    (check_calls, LossOfNoTensor, r"LossOfNoTensor.model_loss gives a float: return the loss, a tensor"),
    (check_calls, OtherLatents, r"posterior gives shape \[6, 1, 2, 2\] for h of shape \[6, 2, 2, 2\]: return a tensor"),
    (check_calls, UnnamedExtra, "UnnamedExtra.posterior gives extras that are no dict of tensors by name"),
    (check_calls, MixesInATuple, "MixesInATuple.prepare gives extras that are no dict of tensors by name"),
    (check_calls, KeptOnSelf, "KeptOnSelf.own_loss reads what another hook has kept on self: .* read it as step.mu"),
    (check_gradients, Rounds, r"no loss moves the encoder, because a hook's derivative is zero everywhere"),
    (check_randomness, GlobalNoise, "draws from torch's global generator, or seeds it: pass generator=noise"),
    (check_randomness, NumpyNoise, "draws from numpy's global generator, or seeds it: pass generator=noise"),
    (check_randomness, SeededNumpyNoise, "draws from numpy's global generator, or seeds it"),
    (check_randomness, UndrawnWeights, r"weights are drawn through reset_parameters\(\)"),
    (check_device, NoiseElsewhere, r"give it device=x.device \(randn"),
    (check_device, TargetElsewhere, r"give it device=x.device \(ones"),
    (check_device, CountsElsewhere, r"give it device=x.device \(ones"),
    (check_dtype, SinglePrecisionLoss, "'SinglePrecisionLoss' must be a finite float64 scalar, not a torch.float32"),
    (check_dtype, SinglePrecisionMatrix, "a tensor of its own dtype: give it dtype=x.dtype"),
    (check_dtype, GradientOfARoot, r"gradient of the loss 'GradientOfARoot' by encoder.layers.0.weight is not finite"),
    (check_steps, NaNLater, "the loss 'NaNLater' is nan after 3 steps: look for a"),
    (check_randomness, Dropped, r"Dropped.emit draws from torch's .* generator=noise .* \(nn.Dropout takes none\)"),
    (check_randomness, NoiseInTheLoss, "NoiseInTheLoss.model_loss draws .*: model_loss has no noise: draw in prepare"),
    (check_repeats, WarmUp, r"'WarmUp' of the same step differs from call to call: .* in after_step"),
    (check_dtype, LossPerExample, r"must be a finite float64 scalar, not a torch.float64 of shape \[6\]"),
    (check_dtype, NotANumber, "must be a finite float64 scalar, .* value nan"),
    (check_gradients, DetachedMix, r"DetachedMix's model_loss moves nothing, .* leave out detach\(\)"),
    (check_gradients, MixWithoutGradient, r"model_loss moves nothing, .* leave out detach\(\) and no_grad\(\)"),
    (check_calls, DetachedCritic, "DetachedCritic's own_loss moves nothing"),
    (
        check_gradients,
        LayerBesideTheCritic,
        "no loss moves .*beside.weight: what own_loss trains belongs in self.critic",
    ),
    (check_gradients, HiddenNoise, "the gradient of probe's .* is not that of probe's own loss"),
    (check_doubt, DoubtPerPixel, r"DoubtPerPixel.doubt must be None or .* one finite number per example: 4 here, not"),
    (check_doubt, DoubtOfAll, "one finite number per example: 4 here, not"),
    (check_doubt, DoubtInNumpy, "one finite number per example: 4 here, not a ndarray"),
    (check_doubt, DoubtThatIsNaN, r"one finite number per example: 4 here, not \[nan"),
    (check_doubt, DoubtInSinglePrecision, "can't be asked about 4 latents .* dtype=z.dtype"),
    (check_doubt, DoubtOfTheFirstFour, "can't be asked about 1 latents .*: it takes any number of them"),
    (check_doubt, RandomDoubt, "RandomDoubt.doubt gives two answers to one question"),
    (check_doubt, DoubtBesideTheMean, "doubt of an example depends on the others in its batch"),
    (check_evaluation, DoubtThatCounts, "evaluation changed .*asked.*: hooks must not change state"),
    (check_device, DoubtElsewhere, r"give it device=x.device \(ones"),
    (check_evaluation, NoiseInEvaluation, "emit draws .*: where noise is None a hook must be deterministic"),
    (check_evaluation, StateInEvaluation, "evaluation changed .*calls.*: hooks must not change state"),
    (check_resume, StateOutsideBuffers, r"goes on differently: state belongs in parameters and in buffers"),
]


@pytest.mark.parametrize(("check", "part", "message"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_rule_is_named(check: Callable[[Any], None], part: type[Regularizer], message: str) -> None:
    for each in (check, check_regularizer):
        with pytest.raises(NotConforming, match=f"(?i){message}"):
            each(part)


def test_a_part_that_can_be_recorded() -> None:
    check_regularizer(Recordable)


def test_a_graph_that_is_kept_shows_in_the_next_step() -> None:
    for each in (check_steps, check_regularizer):
        with pytest.raises(UserError, match="a network or a hook of KeepsAGraph uses a tensor of an earlier step"):
            each(KeepsAGraph)


class Slope(Regularizer):
    def model_loss(self, step: Step) -> Tensor:
        return torch.func.grad(lambda z: step.decode(z).sum())(step.z).square().mean()


def test_hooks_may_be_called_inside_a_transform() -> None:
    check_randomness(lambda: [LatentDropout(), Slope()])
    check_calls(lambda: [LatentDropout(), Slope()])


class OtherShapesInFloat64(Regularizer):
    def model_loss(self, step: Step) -> Tensor:
        return (step.z.flatten(1) @ step.z.new_ones(8 if step.z.dtype == torch.float32 else 3)).mean()


def test_an_error_that_is_not_about_dtypes_is_left_as_it_is() -> None:
    with pytest.raises(RuntimeError, match="size mismatch"):
        check_dtype(OtherShapesInFloat64)


class NoSuper(Regularizer):
    def __init__(self) -> None:
        self.weight = 1.0

    def model_loss(self, step: Step) -> Tensor:
        return self.weight * step.z.abs().mean()


class Required(ACAI):
    def __init__(self, weight: float) -> None:
        super().__init__(weight)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (ACAI(), r"an object of type ACAI was given in place of what makes the part: give a class, or a function"),
        ([ACAI], "an object of type list was given"),
        ("ACAI", "an object of type str was given"),
        (Required, r"Required can't be made without its weight: give what makes it, lambda: Required\(weight=...\)"),
        (NoSuper, r"NoSuper.__init__ must begin with super\(\).__init__\(\)"),
        (lambda: None, "a NoneType is no regularizer"),
    ],
)
def test_what_makes_no_regularizer(factory: Any, message: str) -> None:
    with pytest.raises(NotConforming, match=message):
        check_regularizer(factory)


class MisspelledHook(Regularizer):
    def modelloss(self, step: Any) -> Any:
        return step.z.square().mean()


class MisspelledDoubt(ACAI):
    def doubts(self, z: Tensor, x: Tensor) -> Tensor:
        return self.critic(x)


class NoHook(Regularizer):
    pass


class DoubtAlone(Regularizer):
    def doubt(self, z: Tensor, x: Tensor) -> Tensor:
        return z.flatten(1).norm(dim=1)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (MisspelledHook, "MisspelledHook.modelloss is no hook: did you mean model_loss?"),
        (MisspelledDoubt, "MisspelledDoubt.doubts is no hook: did you mean doubt?"),
        (NoHook, "writes none of the"),
        (DoubtAlone, "DoubtAlone writes none of the hooks .*: it does nothing in training"),
    ],
)
def test_a_part_that_does_nothing(part: type[Regularizer], message: str) -> None:
    with pytest.raises(NotConforming, match=message):
        check_regularizer(part)


class CriticUnderAnotherName(Regularizer):
    def build(self, architecture: Architecture) -> None:
        self.judge = DenseCritic()
        self.judge.build(architecture.latent_shape)

    def model_loss(self, step: Step) -> Tensor:
        return self.judge(step.z).square().mean()

    def own_loss(self, step: Step) -> Tensor:
        return (self.judge(step.z) - 1).square().mean()


def test_a_critic_under_another_name() -> None:
    with pytest.raises(UserError, match=r"CriticUnderAnotherName defines own_loss, .* set self.critic to a module"):
        check_regularizer(CriticUnderAnotherName)
