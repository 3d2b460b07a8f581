from __future__ import annotations

import math
import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from acaikit.errors import EvaluationError, EvaluationWarning, UserError
from acaikit.evaluators import Evaluator, Reconstruction, Result
from acaikit.evaluators.base import Trained
from acaikit.progress import progress
from acaikit.registry import Part, parts
from acaikit.rng import generator
from acaikit.testing import NotConforming, check_evaluator

SMALL: dict[str, dict[str, Any]] = {"KMeans": {"restarts": 2}, "StrictKMeans": {"restarts": 2}}
UNLABELLED = ("Interpolation", "Latents", "RealismIndex", "Reconstruction", "Scorecard")

OURS = [part for part in parts() if part.kind == "evaluators" and part.distribution == "acaikit"]


def made(part: Part) -> Evaluator:
    return part.load()(**SMALL.get(part.name, {}))


@pytest.mark.parametrize("part", OURS, ids=lambda part: part.name)
def test_every_registered_evaluator_conforms(part: Part) -> None:
    check_evaluator(lambda: made(part))


# A scorecard is put together of the others, and takes its time; it is tried on vectors without labels below.
OTHER_DATA = [
    (p, data) for p in OURS for data in ("sequences", "vectors") if (p.name, data) != ("Scorecard", "vectors")
]


@pytest.mark.parametrize(("part", "data"), OTHER_DATA, ids=lambda value: getattr(value, "name", value))
def test_on_other_data(part: Part, data: str) -> None:
    check_evaluator(lambda: made(part), data)


@pytest.mark.parametrize("part", [part for part in OURS if part.name in UNLABELLED], ids=lambda part: part.name)
def test_without_labels(part: Part) -> None:
    check_evaluator(lambda: made(part), "vectors", labels=False)


class LatentNorm(Evaluator):
    """Conforms; each of the others breaks one rule."""

    key = "norm"

    def __init__(self, examples: int = 20) -> None:
        self.examples = examples

    def fits(self, trained: Trained) -> bool:
        return True

    def latents(self, trained: Trained) -> Tensor:
        return trained.model.encode(trained.dataset.test().examples(slice(0, self.examples), trained.device)).flatten(1)

    def score(self, trained: Trained) -> Any:
        return self.latents(trained).norm(dim=1).mean().item()

    def evaluate(self, trained: Trained) -> Result:
        return Result({"mean": self.score(trained)}, {"latents": self.latents(trained).cpu().numpy()})


class OwnDraws(LatentNorm):
    def score(self, trained: Trained) -> float:
        z = self.latents(trained)
        shift = torch.randn(z.shape, generator=generator(0, "shift")) + np.random.default_rng(0).normal()
        return (z + shift).norm().item()


class SaysNothingOfNaN(LatentNorm):
    def score(self, trained: Trained) -> float:
        norm = super().score(trained)
        if not math.isfinite(norm):
            raise EvaluationError("the latents are not finite")
        return norm


class CountsTheTestSet(LatentNorm):
    """Finite for a diverged model too, because it says nothing of the model."""

    def score(self, trained: Trained) -> float:
        return float(len(trained.dataset.test()))


class TakesGradients(LatentNorm):
    def score(self, trained: Trained) -> float:
        with torch.enable_grad():
            z = self.latents(trained).detach().requires_grad_()
            (slope,) = torch.autograd.grad(trained.model.decode(z.unflatten(1, trained.model.latent_shape)).sum(), z)
        return slope.norm().item()


class Warns(LatentNorm):
    def score(self, trained: Trained) -> float:
        warnings.warn("some words", EvaluationWarning, stacklevel=1)
        with progress("measuring", total=1):
            return super().score(trained)


class Strict(LatentNorm):
    key = "norm_strict"


class HasAStrictVersion(LatentNorm):
    def under(self, protocol: str) -> Evaluator:
        return Strict(5) if protocol == "strict" else self


@pytest.mark.parametrize(
    "kind", [LatentNorm, OwnDraws, SaysNothingOfNaN, CountsTheTestSet, TakesGradients, Warns, HasAStrictVersion]
)
def test_what_conforms(kind: type[Evaluator], capsys: pytest.CaptureFixture[str]) -> None:
    check_evaluator(kind, "vectors")
    check_evaluator(kind, "vectors", labels=False)
    assert capsys.readouterr() == ("", "")


class NoKey(Evaluator):
    def fits(self, trained: Trained) -> bool:
        return True

    def evaluate(self, trained: Trained) -> Result:
        return Result({"one": 1.0})


class KeyOfTwoFolders(LatentNorm):
    key = "latent/norm"


class EmptyKey(LatentNorm):
    key = ""


class KeyOfAnother(LatentNorm):
    key = "reconstruction"


class NoDefault(LatentNorm):
    def __init__(self, examples: int) -> None:
        super().__init__(examples)


class NoVersion(LatentNorm):
    def under(self, protocol: str) -> Any:
        return None


class SameKeyForAnotherWay(LatentNorm):
    def under(self, protocol: str) -> Evaluator:
        return SameKeyForAnotherWay(5) if protocol == "strict" else self


class ParameterThatIsNaN(LatentNorm):
    def __init__(self, examples: int = 20, level: float = math.nan) -> None:
        super().__init__(examples)
        self.level = level


class ParameterThatIsAnObject(LatentNorm):
    def __init__(self, examples: int = 20, log: Callable[[float], float] = math.log) -> None:
        super().__init__(examples)
        self.log = log


class ParameterUntold(LatentNorm):
    def __init__(self, examples: int = 20, level: float = 0.5) -> None:
        super().__init__(examples)
        self._level = level


class FitsRaises(LatentNorm):
    def fits(self, trained: Trained) -> bool:
        return trained.dataset.classes > 2


class FitsInNumpy(LatentNorm):
    def fits(self, trained: Trained) -> Any:
        return np.isfinite(1.0)


class FitsNowhere(LatentNorm):
    needs = "a mind"

    def fits(self, trained: Trained) -> bool:
        return False


class GivesUp(LatentNorm):
    def evaluate(self, trained: Trained) -> Result:
        raise EvaluationError("too few examples")


class PlainDict(LatentNorm):
    def evaluate(self, trained: Trained) -> Any:
        return {"mean": 1.0}


class FindsNothing(LatentNorm):
    def evaluate(self, trained: Trained) -> Result:
        return Result({})


class ScoreOfTorch(LatentNorm):
    def score(self, trained: Trained) -> Any:
        return self.latents(trained).mean()


class ScoreOfNumpy(LatentNorm):
    def score(self, trained: Trained) -> Any:
        return self.latents(trained).double().numpy().mean()


class InfiniteScore(LatentNorm):
    def score(self, trained: Trained) -> float:
        return math.inf


class ScoreWithoutName(LatentNorm):
    def evaluate(self, trained: Trained) -> Result:
        return Result({"": 1.0})


class ArrayOfTorch(LatentNorm):
    def evaluate(self, trained: Trained) -> Result:
        return Result({}, {"latents": self.latents(trained)})


class ArrayOfWords(LatentNorm):
    def evaluate(self, trained: Trained) -> Result:
        return Result({}, {"names": np.array(["a", "b"], dtype=object)})


class ChangesWeights(LatentNorm):
    def score(self, trained: Trained) -> float:
        next(trained.model.decoder.parameters()).mul_(2)
        return super().score(trained)


class ChangesTheProbe(LatentNorm):
    def score(self, trained: Trained) -> float:
        if trained.probe is not None:
            trained.probe.layer.bias.add_(1)
        return super().score(trained)


class AddsABuffer(LatentNorm):
    def score(self, trained: Trained) -> float:
        trained.model.register_buffer("mean", self.latents(trained).mean())
        return super().score(trained)


class InTrainingMode(LatentNorm):
    def score(self, trained: Trained) -> float:
        trained.model.encoder.train()
        return super().score(trained)


class Freezes(LatentNorm):
    def score(self, trained: Trained) -> float:
        trained.model.requires_grad_(False)
        return super().score(trained)


class Backward(LatentNorm):
    def score(self, trained: Trained) -> float:
        with torch.enable_grad():
            norm = self.latents(trained).norm()
            norm.backward()
        return norm.item()


class BackwardWithoutGradients(LatentNorm):
    def score(self, trained: Trained) -> float:
        norm = self.latents(trained).norm()
        norm.backward()
        return norm.item()


class ChangesTheTestSet(LatentNorm):
    def score(self, trained: Trained) -> float:
        trained.dataset.test().data.clamp_(-0.5, 0.5)
        return super().score(trained)


class DrawsFromTorch(LatentNorm):
    def score(self, trained: Trained) -> float:
        z = self.latents(trained)
        return (z + torch.randn_like(z)).norm().item()


class SeedsTorch(LatentNorm):
    def score(self, trained: Trained) -> float:
        torch.manual_seed(0)
        return super().score(trained)


class DrawsFromNumpy(LatentNorm):
    def score(self, trained: Trained) -> float:
        return super().score(trained) * float(np.random.uniform())


class DrawsFromPython(LatentNorm):
    def score(self, trained: Trained) -> float:
        return super().score(trained) * random.random()


class FreshDraws(LatentNorm):
    def score(self, trained: Trained) -> float:
        return super().score(trained) * float(np.random.default_rng().uniform())


class ChangesWhatIsKept(LatentNorm):
    def fits(self, trained: Trained) -> bool:
        return trained.dataset.classes is not None

    def score(self, trained: Trained) -> float:
        codes = trained.codes(self.examples).train
        codes += 1
        return float(codes.mean())


class KeepsTheFirst(LatentNorm):
    _kept: float | None = None

    def score(self, trained: Trained) -> float:
        if self._kept is None:
            self._kept = super().score(trained)
        return self._kept


class KeepsTheScore(LatentNorm):
    def score(self, trained: Trained) -> float:
        self.last = super().score(trained)
        return self.last


class SecondExample(LatentNorm):
    def score(self, trained: Trained) -> float:
        return self.latents(trained)[1].norm().item()


class ThirdExample(LatentNorm):
    def score(self, trained: Trained) -> float:
        z = self.latents(trained)
        return z[2 if len(z) > 1 else 0].norm().item()


class NeedsLabels(LatentNorm):
    def score(self, trained: Trained) -> float:
        return trained.dataset.test().labels.float().mean().item()


class NeedsTheProbe(LatentNorm):
    def fits(self, trained: Trained) -> bool:
        return trained.dataset.classes is not None

    def score(self, trained: Trained) -> float:
        return trained.probe.layer.weight.norm().item()


class NeedsACritic(LatentNorm):
    def score(self, trained: Trained) -> float:
        z = self.latents(trained).unflatten(1, trained.model.latent_shape)
        return trained.model.doubts(z)["ACAI"].mean().item()


class OneOverVariance(LatentNorm):
    def score(self, trained: Trained) -> float:
        return (
            1 / self.latents(trained).var(0, correction=0).add(1e-3 if len(self.latents(trained)) < 3 else 0).mean()
        ).item()


class ShareOfPositives(LatentNorm):
    def score(self, trained: Trained) -> float:
        return (self.latents(trained) > 0).double().mean().item()


class TurnsOffTheKL(LatentNorm):
    def score(self, trained: Trained) -> float:
        for regularizer in trained.model.regularizers.values():
            regularizer.weight = 0.0
        return super().score(trained)


FAULTY: list[tuple[Callable[[], Any], str]] = [
    (dict, "a dict is no evaluator: subclass acaikit.evaluators.Evaluator"),
    (NoKey, "NoKey has no key: give the class a short name"),
    (KeyOfTwoFolders, r"the key of KeyOfTwoFolders can't be part of a file name: .* 'latent/norm'"),
    (EmptyKey, "the key of EmptyKey can't be part of a file name"),
    (KeyOfAnother, "has the key 'reconstruction' of acaikit's own Reconstruction: choose another"),
    (lambda: NoDefault(3), r"NoDefault\(\) can't be made .*'examples'.*: give every parameter a default"),
    (NoVersion, r"NoVersion.under\('paper'\) returns a NoneType: .* may be self"),
    (SameKeyForAnotherWay, r"under\(\) returns another way of measuring under the same key 'norm'"),
    (ParameterThatIsNaN, "ParameterThatIsNaN.protocol is not JSON .*not JSON compliant"),
    (ParameterThatIsAnObject, "protocol is not JSON .*: keep what is no parameter under a name that begins with '_'"),
    (ParameterUntold, "protocol lacks the parameter 'level': keep it as self.level"),
    (FitsRaises, "FitsRaises.fits raises TypeError on data without labels"),
    (FitsInNumpy, "FitsInNumpy.fits returns a bool_? on vectors with labels: return True or False"),
    (FitsNowhere, r"doesn't fit vectors with labels, .* say with data= and labels= .* \(it needs a mind\)"),
    (GivesUp, r"fits vectors with labels, but can't measure a sound model \(too few examples\)"),
    (PlainDict, "PlainDict.evaluate returns a dict on vectors with labels: return a Result"),
    (FindsNothing, "FindsNothing finds nothing on vectors with labels"),
    (ScoreOfTorch, r"scores\['mean'\] is a Tensor: make it a float, with .item\(\)"),
    (ScoreOfNumpy, r"scores\['mean'\] is a float64: make it a float"),
    (InfiniteScore, r"scores\['mean'\] is infinite on vectors with labels: where there is no value, say NaN"),
    (ScoreWithoutName, "what ScoreWithoutName finds on .* can't be stored: a name can't be empty"),
    (ArrayOfTorch, r"arrays\['latents'\] is a Tensor: make it a numpy array, with .cpu\(\).numpy\(\)"),
    (ArrayOfWords, "what ArrayOfWords finds on .* can't be stored: .* of type object"),
    (ChangesWeights, "evaluate changes the model's decoder.* change a copy"),
    (ChangesTheProbe, "evaluate changes the probe's layer.bias"),
    (AddsABuffer, "evaluate changes the model's mean"),
    (InTrainingMode, "evaluate changes the training flag of the model's encoder"),
    (Freezes, "evaluate changes requires_grad of the model's encoder"),
    (Backward, r"evaluate changes the gradient of the model's encoder.* take gradients with torch.autograd.grad"),
    (BackwardWithoutGradients, r"raises RuntimeError on vectors with labels .* torch.enable_grad\(\) switches them on"),
    (ChangesTheTestSet, "evaluate changes the dataset's test examples"),
    (DrawsFromTorch, "evaluate draws from torch's global generator, or seeds it: use one of its own"),
    (SeedsTorch, "evaluate draws from torch's global generator, or seeds it"),
    (DrawsFromNumpy, "evaluate draws from numpy's global generator"),
    (DrawsFromPython, "evaluate draws from Python's global generator"),
    (FreshDraws, r"two measurements of one model by FreshDraws differ \(scores\['mean'\]\): draw from a generator"),
    (ChangesWhatIsKept, "two measurements of one model .* change nothing that Trained keeps"),
    (KeepsTheFirst, r"what KeepsTheFirst finds depends on what it measured before \(scores\['mean'\]\)"),
    (KeepsTheScore, "KeepsTheScore.evaluate changes its protocol: .* keep nothing of it on self"),
    (SecondExample, "evaluate raises IndexError on a test set of one example"),
    (ThirdExample, "evaluate raises IndexError on a test set of two examples"),
    (NeedsLabels, "evaluate raises AttributeError on data without labels"),
    (NeedsTheProbe, r"evaluate raises AttributeError on a model without a probe .* no case for fits\(\)"),
    (NeedsACritic, "evaluate raises KeyError on a model without regularizers"),
    (OneOverVariance, r"scores\['mean'\] is infinite on a model whose latents are all the same"),
    (ShareOfPositives, r"scores\['mean'\] is 0 on a model whose weights are NaN: raise EvaluationError, or say NaN"),
    (TurnsOffTheKL, "training goes on differently where TurnsOffTheKL measures"),
]


@pytest.mark.parametrize(("factory", "message"), FAULTY, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_rule_is_named(factory: Callable[[], Any], message: str) -> None:
    with pytest.raises(NotConforming, match=message):
        check_evaluator(factory, "vectors")


def test_unknown_data() -> None:
    with pytest.raises(UserError, match="can't check on 'image': did you mean images"):
        check_evaluator(Reconstruction, data="image")


def test_the_global_generators_are_left_alone() -> None:
    def states() -> list[Any]:
        return [torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()]

    before = states()
    check_evaluator(LatentNorm, "vectors")
    assert states() == before
