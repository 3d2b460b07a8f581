from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from acaikit.divergence import BATCH, Diverged, Guard, not_finite
from acaikit.engine import Trainer
from acaikit.engine import train as train_on
from acaikit.errors import UserError
from acaikit.objective import generators
from acaikit.regularizer import Architecture
from acaikit.regularizers import ACAI, KL, VQEMA, Regularizer
from acaikit.testing.fixtures import small_experiment, small_trainer
from acaikit.testing.states import copied, difference
from acaikit.types import Step

NUMBERS = st.one_of(st.floats(width=32), st.sampled_from([float("nan"), float("inf"), -float("inf"), 3e38]))


@settings(deadline=None)
@given(st.lists(st.lists(NUMBERS, min_size=1, max_size=4), min_size=1, max_size=4))
def test_what_is_not_finite_is_found_and_named(rows: list[list[float]]) -> None:
    tensors = [torch.tensor(row) for row in rows]
    named = {str(i): tensor for i, tensor in enumerate(tensors)}
    expected = [str(i) for i, row in enumerate(rows) if not np.isfinite(np.array(row, np.float32)).all()]
    assert not_finite(named.items()) == expected
    guard = Guard(torch.device("cpu"))
    guard.judge(torch.zeros(1), {}, named)
    assert (guard.left_out.item(), guard.faults()) == (bool(expected), expected)
    assert guard.look() == (not expected, 0, 0, bool(expected))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Diverged(7, ["ACAI"], []), "training diverged in step 7: the loss ACAI is not finite"),
        (
            Diverged(7, ["a", "b"], ["x"]),
            "training diverged in step 7: the losses a, b are not finite; x is not finite",
        ),
        (
            Diverged(7, ["a"], [BATCH, *"pqrst"]),
            "training diverged in step 7: the batch holds NaN or inf; the loss a is not finite; p, q, r and 2 more are "
            "not finite",
        ),
        (
            Diverged(7, [], ["x"], 100),
            "training diverged in step 7, after 100 steps in succession that were skipped: x is not finite",
        ),
    ],
)
def test_the_message(fault: Diverged, message: str) -> None:
    assert str(fault) == str(pickle.loads(pickle.dumps(fault))) == message


class Poison(Regularizer):
    """Adds what makes a loss, or a gradient alone, infinite in the steps that it is told of."""

    def __init__(self, *steps: int, gradient: bool = False) -> None:
        super().__init__()
        self.steps, self.gradient, self.step = steps, gradient, 0

    def model_loss(self, step: Step) -> Tensor:
        self.step += 1
        if self.step not in self.steps:
            return step.z.new_zeros(())
        return (step.z - step.z).abs().sum().sqrt() if self.gradient else step.z.sum() / 0


class SecondPlayer(ACAI):
    def own_loss(self, step: Step) -> Tensor:
        return super().own_loss(step) * float("inf")


def of_weights(trainer: Trainer) -> dict[str, Any]:
    """Everything that a skipped step must leave alone."""
    state = trainer.state_dict()
    return copied({name: state[name] for name in ("model", "probe", "optimizers", "losses")})


def train(trainer: Trainer, steps: int) -> None:
    for _ in range(steps):
        trainer.step()


def poisoned(trainer: Trainer, *steps: int) -> Trainer:
    """Put a NaN into the batches of some steps, counted from 1."""
    real = trainer.stream.next

    def batch() -> Any:
        x, y = real()
        if trainer.steps + 1 in steps:
            x[1].view(-1)[2] = float("nan")
        return x, y

    trainer.stream.next = batch  # type: ignore[method-assign]
    return trainer


def whole() -> list[Regularizer]:
    return [KL(), VQEMA(entries=8, vectors=2, hidden=5), ACAI()]


@pytest.mark.parametrize("on_nan", ["stop", "rewind"])
def test_a_batch_that_is_not_finite_is_named_before_anything_moves(on_nan: str) -> None:
    trainer = poisoned(small_trainer(whole(), "vectors"), 3)
    trainer.on_nan = on_nan
    train(trainer, 2)
    before = of_weights(trainer)
    with pytest.raises(Diverged, match="in step 3: the batch holds NaN") as caught:
        trainer.step()
    assert (caught.value.step, caught.value.terms[0], caught.value.tensors[0]) == (3, "reconstruction", "the batch")
    assert difference(before, of_weights(trainer)) is None
    assert (trainer.steps, trainer.skipped) == (2, 0)


@pytest.mark.parametrize(
    ("part", "terms", "ours"),
    [
        (lambda: Poison(1), ["Poison"], "encoder."),
        (lambda: Poison(1, gradient=True), [], "encoder."),
        (SecondPlayer, ["SecondPlayer/critic"], "_regularizers.SecondPlayer.critic."),
    ],
)
def test_terms_and_gradients_are_named(part: Callable[[], Regularizer], terms: list[str], ours: str) -> None:
    trainer = small_trainer([part()], "vectors")
    with pytest.raises(Diverged) as caught:
        trainer.step()
    assert caught.value.terms == terms
    gradients = {f"gradient of {name}" for name, _ in trainer.model.named_parameters() if name.startswith(ours)}
    assert set(caught.value.tensors) == gradients


def test_the_probes_gradient_is_named() -> None:
    trainer = small_trainer([], "vectors")
    assert trainer.probe is not None
    trainer.probe.layer.bias.register_hook(lambda gradient: gradient / 0)
    with pytest.raises(Diverged) as caught:
        trainer.step()
    assert (caught.value.terms, caught.value.tensors) == ([], ["gradient of probe.layer.bias"])


def test_gradients_whose_squares_overflow_are_no_divergence() -> None:
    trainer = small_trainer([], "vectors")
    next(trainer.model.parameters()).register_hook(lambda gradient: gradient * 1e30)
    trainer.step()
    assert trainer.steps == 1


def test_a_skipped_step_is_a_step_without_an_update() -> None:
    """Against a run whose third step is taken by hand, up to the update."""
    skipping, by_hand = poisoned(small_trainer(whole(), "vectors"), 3), small_trainer(whole(), "vectors")
    skipping.on_nan = "skip"
    train(skipping, 2)
    before = of_weights(skipping)
    losses = skipping.step()
    assert losses["reconstruction"].isnan() and difference(before, of_weights(skipping)) is None
    assert (skipping.steps, skipping.skipped, skipping.samples) == (3, 1, 3 * skipping.experiment.batch_size)
    train(skipping, 3)

    train(by_hand, 2)
    by_hand.objective.backward(*by_hand.stream.next(), by_hand.noise)
    train(by_hand, 3)
    assert difference(of_weights(skipping), of_weights(by_hand)) is None
    assert skipping.mean_losses() == by_hand.mean_losses()


@pytest.mark.parametrize("steps", [2, 3, 4])
def test_a_run_that_skips_is_resumed_to_the_bit(steps: int) -> None:
    straight = poisoned(small_trainer(whole(), "vectors"), 3, 4)
    straight.on_nan = "skip"
    train(straight, steps)
    saved = copy.deepcopy(straight.state_dict())
    train(straight, 6 - steps)
    resumed = poisoned(small_trainer(whole(), "vectors", seed=1), 3, 4)
    resumed.load_state_dict(saved)
    assert resumed.on_nan == "skip"
    train(resumed, 6 - steps)
    assert difference(copied(straight.state_dict()), copied(resumed.state_dict())) is None


@pytest.mark.parametrize("well", [None, 60])
def test_a_run_that_only_skips_is_stopped(well: int | None) -> None:
    bad = [step for step in range(2, 400) if step != well]
    trainer = small_trainer([Poison(*bad)], "vectors")
    trainer.on_nan = "skip"
    with pytest.raises(Diverged, match="after 100 steps in succession that were skipped: the loss Poison") as caught:
        train(trainer, 400)
    last = 1 if well is None else well
    assert (caught.value.step, caught.value.skipped) == (last + 101, 100)
    assert trainer.skipped == (100 if well is None else 158)


def test_successive_skips_are_counted_across_a_restart() -> None:
    trainer = small_trainer([Poison(*range(1, 400))], "vectors")
    trainer.on_nan = "skip"
    train(trainer, 99)
    resumed = small_trainer([Poison(*range(1, 400))], "vectors")
    resumed.load_state_dict(copy.deepcopy(trainer.state_dict()))
    resumed.step()
    with pytest.raises(Diverged, match="in step 101, after 100 steps"):
        resumed.step()


class Buffers(Regularizer):
    """Writes what it is told into its buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("least", torch.full((3,), float("inf")))
        self.register_buffer("seen", torch.zeros(3, dtype=torch.int64))

    def corrupt(self, x: Tensor, noise: object) -> Tensor:
        return x


def test_a_checkpoint_is_looked_at() -> None:
    trainer = small_trainer([Buffers()], "vectors")
    train(trainer, 2)
    trainer.check()
    trainer.model.regularizers["Buffers"].get_buffer("least")[1] = float("nan")
    assert trainer.probe is not None
    with torch.no_grad():
        trainer.probe.layer.weight[0, 0] = float("inf")
        next(trainer.model.decoder.parameters()).view(-1)[-1] = float("nan")
    with pytest.raises(Diverged) as caught:
        trainer.check()
    assert (caught.value.step, caught.value.terms) == (2, [])
    first = next(name for name, _ in trainer.model.named_parameters() if name.startswith("decoder."))
    assert caught.value.tensors == [first, "probe.layer.weight", "_regularizers.Buffers.least"]


@pytest.mark.parametrize("on_nan", ["halt", 3, None])
def test_there_is_no_other_way(on_nan: Any) -> None:
    with pytest.raises(UserError, match="on_nan must be one of stop, skip, rewind, not "):
        Trainer(small_experiment([], "vectors"), on_nan=on_nan)


def test_generators_are_drawn_from_as_in_any_step() -> None:
    """A skipped step draws: what follows it is the same whether it was skipped or not."""
    trainer = poisoned(small_trainer([ACAI()], "vectors"), 1)
    trainer.on_nan = "skip"
    trainer.step()
    fresh = generators(trainer.model, 0, "cpu")["ACAI"]
    torch.rand(trainer.experiment.batch_size, generator=fresh)
    assert torch.equal(trainer.noise["ACAI"].get_state(), fresh.get_state())


def deferred(trainer: Trainer, every: int) -> Trainer:
    trainer.stepper.defer(every)
    return trainer


@pytest.mark.parametrize("on_nan", ["stop", "rewind"])
@pytest.mark.parametrize("every", [2, 3, 5])
def test_a_device_that_is_looked_at_later_has_moved_nothing_since(on_nan: str, every: int) -> None:
    trainers = [poisoned(small_trainer(whole(), "vectors"), 3), poisoned(small_trainer(whole(), "vectors"), 3)]
    deferred(trainers[1], every)
    faults = []
    for trainer in trainers:
        trainer.on_nan = on_nan
        with pytest.raises(Diverged) as caught:
            train(trainer, 2 + every)
        faults.append(caught.value.args)
    assert faults[0] == faults[1]
    assert difference(of_weights(trainers[0]), of_weights(trainers[1])) is None
    assert [(t.steps, t.samples, t.skipped) for t in trainers] == 2 * [(2, 2 * trainers[0].experiment.batch_size, 0)]


@pytest.mark.parametrize("look", ["state_dict", "check", "health", "evaluate", "mean_losses", "look"])
def test_whatever_reads_a_trainer_learns_of_a_divergence(look: str) -> None:
    trainer = deferred(poisoned(small_trainer(whole(), "vectors"), 3), 1_000)
    train(trainer, 5)
    with pytest.raises(Diverged, match="in step 3"):
        getattr(trainer, look)()
    getattr(trainer, look)()


def test_training_ends_with_a_look() -> None:
    trainer = deferred(poisoned(small_trainer([], "vectors"), 3), 1_000)
    trainer.budget = trainer.experiment.evaluate_every = 10**9  # no row is due, and no end
    with pytest.raises(Diverged, match="in step 3"):
        train_on(trainer, stop=lambda: trainer.steps >= 5)


@pytest.mark.parametrize("every", [2, 7, 32])
@pytest.mark.parametrize("bad", [(3,), (2, 3, 7), (5, 6, 7, 8)])
def test_steps_are_skipped_on_the_device_as_on_the_host(every: int, bad: tuple[int, ...]) -> None:
    now = poisoned(small_trainer(whole(), "vectors"), *bad)
    later = deferred(poisoned(small_trainer(whole(), "vectors"), *bad), every)
    for trainer in (now, later):
        trainer.on_nan = "skip"
        train(trainer, 8)
    assert later.skipped == len(bad)
    assert difference(copied(now.state_dict()), copied(later.state_dict())) is None
    assert now.mean_losses() == later.mean_losses()


class Running(Regularizer):
    """Keeps a mean of the latents as anybody would write it, and counts on the host."""

    def build(self, architecture: Architecture) -> None:
        self.register_buffer("mean", torch.zeros(architecture.latent_shape))
        self.updates = 0

    def model_loss(self, step: Step) -> Tensor:
        return (step.z - self.mean).square().mean()

    def after_step(self, step: Step) -> None:
        self.mean = 0.9 * self.mean + 0.1 * step.z.mean(0)
        self.updates += 1


class Vouched(Running):
    recordable = True


@pytest.mark.parametrize(("part", "updates"), [(Running, 7), (Vouched, 8)])
def test_a_buffer_that_is_replaced_is_held_back_too(part: type[Running], updates: int) -> None:
    now = poisoned(small_trainer([part()], "vectors"), 3)
    later = deferred(poisoned(small_trainer([part()], "vectors"), 3), 8)
    for trainer in (now, later):
        trainer.on_nan = "skip"
        train(trainer, 8)
    assert difference(copied(now.state_dict()), copied(later.state_dict())) is None
    assert now.model.regularizers[part.__name__].updates == 7
    assert later.model.regularizers[part.__name__].updates == updates


@pytest.mark.parametrize("every", [1, 32])
def test_a_step_that_is_interrupted_is_none(every: int) -> None:
    class Interrupted(Running):
        def after_step(self, step: Step) -> None:
            super().after_step(step)
            if self.updates == 3:
                raise KeyboardInterrupt

    trainer = deferred(small_trainer([Interrupted()], "vectors"), every)
    train(trainer, 2)
    with pytest.raises(KeyboardInterrupt):
        trainer.step()
    train(trainer, 3)
    trainer.look()
    assert (trainer.steps, trainer.samples) == (5, 5 * trainer.experiment.batch_size)
    assert trainer.stepper.means.count == 5


def test_going_back_asks_for_nothing_that_it_discards() -> None:
    trainer = deferred(poisoned(small_trainer(whole(), "vectors"), 3), 32)
    saved = copy.deepcopy(trainer.state_dict())
    train(trainer, 4)
    trainer.load_state_dict(saved)
    assert trainer.state_dict()["steps"] == 0
    train(trainer, 2)
    trainer.look()
    assert trainer.steps == 2


def test_a_state_that_does_not_fit_leaves_what_is_to_be_looked_at() -> None:
    trainer = deferred(poisoned(small_trainer(whole(), "vectors"), 3), 32)
    saved = copy.deepcopy(trainer.state_dict())
    train(trainer, 4)
    with pytest.raises(UserError, match="doesn't fit"):
        trainer.load_state_dict(saved | {"steps": -1})
    with pytest.raises(Diverged, match="in step 3"):
        trainer.look()


def test_a_first_step_that_is_skipped_on_the_device_can_be_saved() -> None:
    later = deferred(poisoned(small_trainer(whole(), "vectors"), 1), 5)
    later.on_nan = "skip"
    train(later, 1)
    assert later.mean_losses() == {}
    resumed = small_trainer(whole(), "vectors", seed=1)
    resumed.load_state_dict(copy.deepcopy(later.state_dict()))
    train(later, 3)
    train(resumed, 3)
    assert difference(of_weights(later), of_weights(resumed)) is None


def test_successive_skips_are_counted_on_the_device() -> None:
    trainer = deferred(small_trainer([Poison(*(step for step in range(2, 400) if step != 60))], "vectors"), 32)
    trainer.on_nan = "skip"
    with pytest.raises(Diverged, match="after 100 steps in succession that were skipped: the loss Poison") as caught:
        train(trainer, 400)
    assert (caught.value.step, caught.value.skipped, trainer.steps, trainer.skipped) == (161, 100, 160, 158)


def test_after_a_divergence_the_device_goes_on() -> None:
    now, later = (poisoned(small_trainer(whole(), "vectors"), 3) for _ in range(2))
    deferred(later, 2)
    for trainer in (now, later):
        train(trainer, 2)
    saved = copy.deepcopy(now.state_dict())
    for trainer in (now, later):
        with pytest.raises(Diverged):
            train(trainer, 3)
        trainer.load_state_dict(copy.deepcopy(saved))
        poisoned(trainer)
        trainer.on_nan = "skip"
        train(trainer, 4)
    assert difference(copied(now.state_dict()), copied(later.state_dict())) is None
