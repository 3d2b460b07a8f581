from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from acaikit import engine
from acaikit.engine import Trainer
from acaikit.errors import UserError
from acaikit.fingerprint import changes, fingerprint
from acaikit.precision import PRECISIONS, compute_in, networks
from acaikit.regularizers import ACAI, KL, VQEMA, AdversarialPrior, Regularizer
from acaikit.testing.fixtures import small_experiment
from acaikit.testing.states import copied, difference

CPU = torch.device("cpu")
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")


def everything() -> list[Regularizer]:
    return [KL(), VQEMA(entries=8, vectors=2, hidden=5), AdversarialPrior(), ACAI()]


def trainer(precision: str, make: Callable[[], list[Regularizer]] = everything, seed: int = 0) -> Trainer:
    return Trainer(small_experiment(make(), "images", seed=seed), precision=precision)


def whole(trainer: Trainer) -> dict[str, Any]:
    return copied(trainer.state_dict() | {"fingerprint": None, "precision": None})


def layers(trainer: Trainer) -> Iterator[tuple[str, nn.Module]]:
    return ((n, m) for n, m in trainer.model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear))


@pytest.mark.parametrize("precision", ["fp16", None, 32])
def test_there_is_no_other(precision: Any) -> None:
    with pytest.raises(UserError, match="precision must be one of tf32, float32, bf16, not "):
        Trainer(small_experiment([], "vectors"), precision=precision)


def test_a_cpu_has_no_tf32() -> None:
    tf32, float32 = trainer("tf32"), trainer("float32")
    for _ in range(3):
        tf32.step()
        float32.step()
    assert difference(whole(tf32), whole(float32)) is None
    assert fingerprint(CPU, "tf32") == fingerprint(CPU, "float32") == fingerprint(CPU)
    assert fingerprint(CPU, "bf16") == fingerprint(CPU) | {"precision": "bf16"}


def test_bfloat16_stays_inside_the_networks() -> None:
    t = trainer("bf16")
    inside: dict[str, set[torch.dtype]] = {}
    outside: dict[str, torch.dtype] = {}
    handles = [
        layer.register_forward_pre_hook(
            lambda layer, inputs, name=name: inside.setdefault(name, set()).add(
                torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
            )
        )
        for name, layer in layers(t)
    ]
    for index, network in enumerate(networks(t.model)):
        network.register_forward_hook(
            lambda network, inputs, output, index=index: outside.__setitem__(str(index), output.dtype)
        )
    losses = t.step()
    for handle in handles:
        handle.remove()
    assert inside and set(map(frozenset, inside.values())) == {frozenset({torch.bfloat16})}
    assert len(outside) == len(list(networks(t.model))) > 5 and set(outside.values()) == {torch.float32}
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    kept = [*t.model.parameters(), *(p.grad for p in t.model.parameters() if p.grad is not None)]
    kept += [m for o in t.optimizers.values() for s in o.state.values() for m in s.values()]
    assert {tensor.dtype for tensor in kept} == {torch.float32}


def test_products_are_rounded_to_bfloat16_and_sums_are_not() -> None:
    """Against the layers by hand: inputs and weights rounded, the critic's mean in float32."""
    t = trainer("bf16", lambda: [ACAI()])
    critic = t.model.regularizers["ACAI"].critic
    x = t.stream.next()[0]
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            features = critic.encoder.layers(x)
        assert features.dtype == torch.bfloat16
        assert torch.equal(critic(x), features.float().flatten(1).mean(1))


def test_bfloat16_trains_like_float32() -> None:
    exact, rough = trainer("float32"), trainer("bf16")
    for step in range(4):
        one, other = exact.step(), rough.step()
        for name in one:
            assert other[name].item() == pytest.approx(one[name].item(), rel=0.1, abs=0.02), (step, name)
    assert difference(whole(exact), whole(rough)) is not None


def test_evaluation_is_float32() -> None:
    exact, rough = trainer("float32"), trainer("bf16")
    rough.step()
    exact.model.load_state_dict(rough.model.state_dict())
    x = exact.stream.next()[0]
    with exact.trained.evaluating(), rough.trained.evaluating():
        assert torch.equal(exact.model.reconstruct(x), rough.model.reconstruct(x))


def test_the_precision_is_changed_between_steps() -> None:
    changed, exact = trainer("bf16"), trainer("float32")
    changed.precision = "float32"
    for t in (changed, exact):
        t.step()
    assert difference(whole(changed), whole(exact)) is None


def test_a_state_remembers_its_precision() -> None:
    straight, resumed = trainer("bf16"), trainer("tf32", seed=1)
    straight.step()
    resumed.load_state_dict(copy.deepcopy(straight.state_dict()))
    assert resumed.precision == "bf16"
    for t in (straight, resumed):
        t.step()
    assert difference(copied(straight.state_dict()), copied(resumed.state_dict())) is None


def test_a_state_of_before_there_was_a_choice_is_loaded() -> None:
    t = trainer("bf16")
    state = copy.deepcopy(t.state_dict())
    del state["precision"], state["fingerprint"]["convolutions"]
    state["fingerprint"]["channels_last"] = True
    t.load_state_dict(state)
    assert t.precision == PRECISIONS[0]
    (change,) = changes(t.trained_under, fingerprint(CPU, "bf16"))
    assert change.startswith("convolutions channels_last -> channels_last, composed: another layout")
    with pytest.raises(UserError, match="doesn't fit the experiment: precision is 'fp8'"):
        t.load_state_dict(state | {"precision": "fp8"})
    assert t.precision == PRECISIONS[0]


def test_a_precision_that_there_is_not_changes_nothing() -> None:
    changed, exact = trainer("bf16"), trainer("bf16")
    with pytest.raises(UserError, match="precision must be one of"):
        changed.precision = "fp16"
    for t in (changed, exact):
        t.step()
    assert difference(copied(changed.state_dict()), copied(exact.state_dict())) is None


def test_a_state_whose_precision_the_device_lacks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rough, exact = trainer("bf16"), trainer("float32", seed=1)
    rough.step()

    def lacking(precision: str, *more: Any) -> Any:
        if precision == "bf16":
            raise UserError("this has no bfloat16")
        return compute_in(precision, *more)

    monkeypatch.setattr(engine, "compute_in", lacking)
    before = copied(exact.state_dict())
    with pytest.raises(UserError, match="no bfloat16"):
        exact.load_state_dict(copy.deepcopy(rough.state_dict()))
    assert difference(before, copied(exact.state_dict())) is None


def test_a_state_that_can_not_be_loaded_changes_no_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    t = trainer("float32")
    monkeypatch.setattr(t.model, "load_state_dict", {}.__getitem__)
    with pytest.raises(UserError, match="doesn't fit"):
        t.load_state_dict(copy.deepcopy(trainer("bf16").state_dict()))
    assert t.precision == "float32"


class Two(nn.Linear):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x), {"twice": 2 * super().forward(x)}


class Nested(Regularizer):
    """Never calls its list, and is given more than one tensor."""

    def build(self, architecture: Any) -> None:
        self.many = nn.ModuleList([nn.Linear(*2 * architecture.latent_shape), Two(*2 * architecture.latent_shape)])

    def model_loss(self, step: Any) -> Tensor:
        one = self.many[0](step.z)
        two, more = self.many[1](step.z)
        self.seen = [one, two, more["twice"]]
        loss: Tensor = (one * two).mean()
        return loss


def test_layers_in_lists_compute_in_bfloat16_and_every_tensor_is_float32_again() -> None:
    t = Trainer(small_experiment([Nested()], "vectors"), precision="bf16")
    t.step()
    for seen in t.model.regularizers["Nested"].seen:
        assert seen.dtype == torch.float32 and torch.equal(seen, seen.bfloat16().float())


class Failing(Regularizer):
    def build(self, architecture: Any) -> None:
        self.layer = nn.Linear(1, 1)

    def model_loss(self, step: Any) -> Tensor:
        out: Tensor = self.layer(step.z)  # of another size
        return out.sum()


def test_a_network_that_fails_leaves_no_autocast_behind() -> None:
    t = trainer("bf16", lambda: [Failing()])
    with pytest.raises(RuntimeError, match="shapes"):
        t.step()
    assert not torch.is_autocast_enabled("cpu")


@CUDA
@pytest.mark.parametrize("precision", PRECISIONS)
def test_on_a_gpu_the_switches_are_set(precision: str) -> None:
    t = Trainer(small_experiment(everything(), "images"), "cuda", precision=precision)
    assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == (precision != "float32")
    losses = [t.step() for _ in range(6)][-1]
    assert t.stepper.obstacle is None and all(loss.isfinite() for loss in losses.values())
    assert t.trained_under["precision"] == precision
