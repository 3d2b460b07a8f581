from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from acaikit.engine import Trainer
from acaikit.errors import UserError
from acaikit.health import SETTLED, Sign, critic_spread, latent_scale
from acaikit.regularizers import ACAI, KL, VQEMA, AdversarialPrior, Regularizer
from acaikit.testing import NotConforming, check_health, check_regularizer
from acaikit.testing.fixtures import small_trainer
from acaikit.types import Step


@pytest.mark.parametrize(
    ("outputs", "value", "warns"),
    [
        ([1.0, 3.0], 1.0, False),
        ([0.2, 0.2, 0.2], 0.0, True),
        ([0.0, 0.0], 0.0, True),
        ([1e6, 1e6 + 1], 0.5, True),
        ([1e6, 1e6 + 4], 2.0, False),
        ([1e-4, -1e-4], 1e-4, False),
        ([1.0], 0.0, True),
        ([float("nan"), 1.0], float("nan"), False),
    ],
)
def test_spread_of_a_critic(outputs: list[float], value: float, warns: bool) -> None:
    sign = critic_spread(torch.tensor(outputs))
    assert sign.value == pytest.approx(value, rel=0.05, nan_ok=True)
    assert (sign.warning is not None) == warns


@pytest.mark.parametrize(("size", "warns"), [(1.0, False), (999.0, False), (1001.0, True), (math.inf, True)])
def test_scale_of_the_latents(size: float, warns: bool) -> None:
    sign = latent_scale(torch.tensor([[size, -size], [-size, size]]))
    assert sign.value == pytest.approx(size)
    assert (sign.warning is not None) == warns


@pytest.mark.parametrize("sign", [("high",), (torch.ones(()),), (None,), (1.0, 5)])
def test_a_sign_is_a_number_and_a_text(sign: Any) -> None:
    with pytest.raises(UserError, match=r"a sign of health's (value|warning) must be a"):
        Sign(*sign)


def trained(*regularizers: Regularizer, steps: int = 2) -> Trainer:
    trainer = small_trainer(regularizers, "images")
    for _ in range(steps):
        trainer.step()
    return trainer


def test_there_are_signs_once_there_was_a_step() -> None:
    trainer = small_trainer([ACAI(), KL(), ACAI()], "images")
    assert trainer.health() == {}
    trainer.step()
    names = ["latent_scale", "ACAI/critic_spread", "KL/active_units", "ACAI_2/critic_spread"]
    assert list(trainer.health()) == names


def test_latents_of_a_model_without_regularizers_have_a_scale() -> None:
    trainer = trained()
    batches: list[Tensor] = []
    real = trainer.stream.next
    trainer.stream.next = lambda: batches.append((b := real())[0]) or b  # type: ignore[method-assign, func-returns-value]
    trainer.step()
    z = trainer.model.encode(batches[-1]).detach().double().numpy()
    assert trainer.health()["latent_scale"].value == pytest.approx(float((z**2).mean() ** 0.5), rel=1e-5)


def test_latents_that_explode_are_told() -> None:
    trainer = trained()
    with torch.no_grad():
        list(trainer.model.encoder.parameters())[-1].fill_(1e4)
    warning = trainer.health()["latent_scale"].warning
    assert warning is not None and "latents have grown" in warning


def test_a_model_as_it_is_drawn_is_well() -> None:
    vq = VQEMA(entries=64, vectors=2, hidden=8)
    signs = trained(KL(weight=0.0), vq, AdversarialPrior(), ACAI(), steps=4).health()
    assert {name: sign.warning for name, sign in signs.items() if sign.warning and "KL" not in name} == {}


@pytest.mark.parametrize("part", [ACAI, AdversarialPrior])
def test_a_critic_whose_last_layer_is_zero_has_collapsed(part: Callable[[], Regularizer]) -> None:
    trainer = trained(part())
    name = f"{part.__name__}/critic_spread"
    trainer.steps = SETTLED
    before = trainer.health()[name]
    assert before.warning is None and before.value > 0
    *_, weight, _ = trainer.model.regularizers[part.__name__].critic.parameters()
    with torch.no_grad():
        weight.zero_()
    after = trainer.health()[name]
    assert after.value == pytest.approx(0, abs=1e-6)
    assert after.warning is not None and "the critic has collapsed" in after.warning
    trainer.steps = SETTLED - 1
    assert trainer.health()[name] == Sign(after.value)


@pytest.mark.parametrize("part", [ACAI, AdversarialPrior])
def test_of_a_batch_of_one_a_critic_tells_nothing(part: Callable[[], Regularizer]) -> None:
    trainer = trained(part())
    (step,) = trainer._last[1].values()
    alone = SimpleNamespace(z=step.z[:1])
    assert trainer.model.regularizers[part.__name__].health(alone) == {}


class Emits(Regularizer):
    def health(self, step: Step) -> Any:
        return self.told(step)

    def model_loss(self, step: Step) -> Tensor:
        return step.z.square().mean()

    def told(self, step: Step) -> Any:
        return {"mean": Sign(step.z.mean().item())}


class Unnamed(Emits):
    def told(self, step: Step) -> Any:
        return Sign(1.0)


class BareNumber(Emits):
    def told(self, step: Step) -> Any:
        return {"mean": 1.0}


class OfATensor(Emits):
    def told(self, step: Step) -> Any:
        return {"mean": Sign(step.z.mean())}  # type: ignore[arg-type]


class Drawing(Emits):
    def told(self, step: Step) -> Any:
        return {"mean": Sign(torch.rand(1).item())}


class Counting(Emits):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("asked", torch.zeros(()))

    def told(self, step: Step) -> Any:
        self.asked += 1
        return {}


class Remembering(Emits):
    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def told(self, step: Step) -> Any:
        self.asked += 1
        return {"asked": Sign(self.asked)}


class Decoding(Emits):
    def emit(self, z: Tensor, noise: Any) -> Tensor:
        return z if noise is None else z + torch.randn(z.shape, generator=noise, device=z.device, dtype=z.dtype)

    def told(self, step: Step) -> Any:
        return {"mean": Sign(step.decode(step.z).mean().item())}


class Elsewhere(Emits):
    def told(self, step: Step) -> Any:
        return {"mean": Sign((step.z + torch.ones(len(step.z), 1, 1, 1)).mean().item())}


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Unnamed, "what Unnamed.health returns must be a dict, not a Sign"),
        (BareNumber, "what BareNumber.health returns as 'mean' must be a Sign, not 1.0"),
        (OfATensor, "a sign of health's value must be a Real, not a Tensor"),
        (Drawing, "health draws from torch's global generator, or seeds it: it must be deterministic"),
        (Counting, "health changes .*asked"),
        (Remembering, "health gives two answers to one question, .*Remembering/asked"),
        (Decoding, "health changes .*: leave out step.decode"),
    ],
)
def test_health_that_breaks_a_rule_is_named(part: Callable[[], Regularizer], message: str) -> None:
    with pytest.raises(NotConforming, match=message):
        check_health(part)


def test_health_on_another_device_is_named() -> None:
    with pytest.raises(NotConforming, match=r"give it device=x.device"):
        check_regularizer(Elsewhere)


def test_health_that_is_well() -> None:
    check_health(Emits)
    check_health(lambda: Emits(), "vectors")
    check_health(list)
