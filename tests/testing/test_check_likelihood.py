from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acaikit.errors import UserError
from acaikit.likelihoods import MSE, Bernoulli, Likelihood
from acaikit.registry import OURS, parts
from acaikit.testing import NotConforming, check_likelihood


@pytest.mark.parametrize("data", ["images", "sequences", "vectors"])
@pytest.mark.parametrize(
    "part", [p for p in parts() if p.kind == "likelihoods" and p.distribution == OURS], ids=lambda part: part.name
)
def test_every_registered_likelihood_conforms(part: Any, data: str) -> None:
    check_likelihood(part.load(), data)


class Laplace(MSE):
    """The mean absolute error: conforms. Each of those below breaks one rule."""

    def loss(self, output: Tensor, x: Tensor) -> Any:
        return F.l1_loss(output, x)


class LearnsItsScale(nn.Module, Likelihood):
    """Gaussian with a learned scale, whose output is squashed: has a parameter that starts at a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))

    def loss(self, output: Tensor, x: Tensor) -> Tensor:
        return ((output.tanh() - x) / self.log_scale.exp()).square().mean() / 2 + self.log_scale

    def image(self, output: Tensor) -> Tensor:
        return output.tanh()


@pytest.mark.parametrize("kind", [Laplace, LearnsItsScale])
def test_what_conforms(kind: type[Likelihood]) -> None:
    check_likelihood(kind, "vectors")


class KeepsALock(MSE):
    def __init__(self) -> None:
        self.lock = threading.Lock()


class LossPerExample(MSE):
    def loss(self, output: Tensor, x: Tensor) -> Any:
        return (output - x).square().flatten(1).mean(1)


class LossAsNumber(MSE):
    def loss(self, output: Tensor, x: Tensor) -> Any:
        return super().loss(output, x).item()


class SinglePrecision(MSE):
    def loss(self, output: Tensor, x: Tensor) -> Any:
        return super().loss(output.float(), x.float())


class MixedPrecision(MSE):
    def loss(self, output: Tensor, x: Tensor) -> Any:
        return (output - x).flatten(1).matmul(torch.ones(64, 1, device=x.device)).square().mean()


class NotANumber(MSE):
    def loss(self, output: Tensor, x: Tensor) -> Any:
        return super().loss(output, x).neg().log()


class DetachedLoss(MSE):
    def loss(self, output: Tensor, x: Tensor) -> Any:
        return super().loss(output.detach(), x)


class ImageInOneRow(MSE):
    def image(self, output: Tensor) -> Any:
        return output.flatten()


class ImageNotFinite(MSE):
    def image(self, output: Tensor) -> Any:
        return output.sqrt()


class Binary(Bernoulli):
    def image(self, output: Tensor) -> Any:
        return 2 * (output > 0).to(output) - 1


class StretchedOverTheBatch(MSE):
    def image(self, output: Tensor) -> Any:
        return output / output.abs().max()


class WrongSign(MSE):
    def loss(self, output: Tensor, x: Tensor) -> Any:
        return (-(output - x).square()).exp().mean()


class OtherScale(Bernoulli):
    """Shows probabilities, where data lie in [-1, 1]."""

    def image(self, output: Tensor) -> Any:
        return output.sigmoid() + 1


class Elsewhere(MSE):
    def loss(self, output: Tensor, x: Tensor) -> Any:
        return super().loss(output, x) * torch.ones(())


class Draws(MSE):
    def loss(self, output: Tensor, x: Tensor) -> Any:
        return super().loss(output, x + 0.01 * torch.randn_like(x))


class StateOutside(MSE):
    weight = 1.0

    def loss(self, output: Tensor, x: Tensor) -> Any:
        self.weight *= 1.1
        return self.weight * super().loss(output, x)


class Overflows(MSE):
    """Finite in float64 alone."""

    def loss(self, output: Tensor, x: Tensor) -> Any:
        return (1e20 * (output - x)).square().mean() * 1e-40


class ChangesTheData(MSE):
    def loss(self, output: Tensor, x: Tensor) -> Tensor:
        return super().loss(output, x.add_(1).div_(2))


class ChangesTheOutput(MSE):
    def loss(self, output: Tensor, x: Tensor) -> Tensor:
        return super().loss(output.mul_(2), x)


FAULTY: list[tuple[Callable[[], Any], str]] = [
    (ChangesTheData, "ChangesTheData.loss changes what it is given: leave out in-place steps such as x"),
    (ChangesTheOutput, "ChangesTheOutput.loss changes what it is given"),
    (MSE(), "an object of type MSE was given in place of what makes the part"),
    (dict, "a dict is no likelihood: subclass acaikit.likelihoods.Likelihood"),
    (KeepsALock, r"KeepsALock can't be copied by copy.deepcopy \(.*lock.*\): every run trains a copy"),
    (LossPerExample, r"must be a finite scalar, float64 for float64 data, not a torch.float64 of shape \[6\]"),
    (LossAsNumber, "must be a finite scalar, float64 for float64 data, not a float"),
    (SinglePrecision, r"not a torch.float32 of shape \[\]"),
    (MixedPrecision, "MixedPrecision.loss makes a tensor of its own dtype: give it dtype=x.dtype"),
    (NotANumber, r"not a torch.float64 of shape \[\] and value nan"),
    (DetachedLoss, r"DetachedLoss.loss moves nothing: leave out detach\(\)"),
    (ImageInOneRow, r"must have the shape and the dtype of the data, torch.float64 \[6, 64\] here, not .* \[384\]"),
    (ImageNotFinite, "ImageNotFinite.image is not finite for outputs of an ordinary size"),
    (Binary, "no gradient goes through Binary.image: critics judge it"),
    (StretchedOverTheBatch, "StretchedOverTheBatch.image of an example depends on the others in its batch"),
    (WrongSign, r"as WrongSign.loss falls, its image doesn't come to the data: .* a loss is made small"),
    (OtherScale, r"as OtherScale.loss falls, .* Data and image lie in \[-1, 1\]"),
    (Elsewhere, r"Elsewhere makes a tensor on the default device, .* device=x.device \(ones"),
    (Draws, "Draws draws from torch's global generator, or seeds it: a likelihood is deterministic"),
    (Overflows, "the loss 'reconstruction' is inf after 1 steps"),
    (StateOutside, "a restored run goes on differently"),
]


@pytest.mark.parametrize(("factory", "message"), FAULTY, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_rule_is_named(factory: Callable[[], Any], message: str) -> None:
    with pytest.raises(NotConforming, match=message):
        check_likelihood(factory, "vectors")


def test_unknown_data() -> None:
    with pytest.raises(UserError, match="can't check on 'image': did you mean images"):
        check_likelihood(MSE, data="image")
