from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from acaikit.captured import WARM, Captured, Inputs, recordable
from acaikit.engine import Trainer, train
from acaikit.likelihoods import MSE
from acaikit.regularizer import Architecture
from acaikit.regularizers import ACAI, KL, VQEMA, AdversarialPrior, Denoising, LatentDropout, Regularizer
from acaikit.testing.fixtures import LinesAs, small_trainer
from acaikit.testing.states import copied, difference
from acaikit.types import Step

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
MODELS: dict[str, Callable[[], list[Regularizer]]] = {
    "baseline": list,
    "denoising": lambda: [Denoising()],
    "vae": lambda: [KL()],
    "aae": lambda: [AdversarialPrior()],
    "vqvae": lambda: [VQEMA(entries=8, vectors=2, hidden=5)],
    "dropout": lambda: [LatentDropout()],
    "acai": lambda: [ACAI()],
}


def tensors(tree: Any) -> Iterator[Tensor]:
    """Every tensor in what a function returned, in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, dict):
        yield from tensors(list(tree.values()))
    elif isinstance(tree, list | tuple):
        for item in tree:
            yield from tensors(item)
    elif is_dataclass(tree):
        yield from tensors([getattr(tree, field.name) for field in fields(tree)])


class Operations(TorchDispatchMode):
    """Notes every operation with what it is given and what it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        self.noted.append((operation, args, kwargs or {}, result))
        return result

    def repeat(self) -> None:
        with torch.no_grad(), torch._C._AutoDispatchBelowAutograd():
            for operation, args, kwargs, result in self.noted:
                for mine, new in zip(tensors(result), tensors(operation(*args, **kwargs)), strict=True):
                    if new.data_ptr() != mine.data_ptr():
                        mine.copy_(new)


class Tape:
    """Does on a CPU what a CUDA graph does: a replay repeats operations on the same memory, and nothing of Python."""

    def __init__(self) -> None:
        self.obstacle: str | None = None
        self.recorded = self.replayed = 0
        self.generators: list[Generator] = []

    def run(self, function: Callable[..., Any], inputs: Inputs) -> Any:
        return function(*inputs)

    def record(
        self, function: Callable[..., Any], inputs: Inputs, generators: Iterable[Generator]
    ) -> tuple[Any, Callable[[], None]]:
        self.recorded += 1
        self.generators = list(generators)
        with Operations() as operations:
            result = function(*inputs)
        done = [True]

        def replay() -> None:
            self.replayed += 1
            if done:  # recording it has done the work of the first replay
                done.clear()
            else:
                operations.repeat()

        return result, replay


class Broken(Tape):
    """Fails to record, having drawn what the function draws."""

    def record(self, function: Callable[..., Any], inputs: Inputs, generators: Iterable[Generator]) -> Any:
        for generator in generators:
            torch.rand(5, generator=generator)
        raise RuntimeError("operation not permitted\nwhen stream is capturing")


def whole(trainer: Trainer) -> dict[str, Any]:
    return copied(trainer.state_dict())


def taped(tape: Tape, regularizers: list[Regularizer], look_every: int = 5, **more: Any) -> Trainer:
    trainer = small_trainer(regularizers, "images", **more)
    trainer.stepper.defer(look_every)
    trainer.stepper.record(tape)
    return trainer


def steps(trainer: Trainer, count: int) -> list[dict[str, float]]:
    return [{name: loss.item() for name, loss in trainer.step().items()} for _ in range(count)]


def test_a_function_is_recorded_after_a_few_calls_and_replayed_with_new_inputs() -> None:
    tape, calls = Tape(), []
    draw = Generator().manual_seed(0)

    def function(x: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        calls.append(x)
        return {"twice": 2 * x, "drawn": torch.rand(2, generator=draw)}

    captured = Captured(function, tape, lambda: [draw])
    again = Generator().manual_seed(0)
    outputs = []
    for n in range(2 * WARM + 2):
        given = torch.full((3,), float(n))
        found = captured(given, None)
        outputs.append(found["twice"])
        assert torch.equal(found["twice"], 2 * given) and torch.equal(found["drawn"], torch.rand(2, generator=again))
    assert (tape.recorded, tape.replayed) == (1, WARM + 2)
    assert len({output.data_ptr() for output in outputs[WARM:]}) == 1
    assert len(calls) == WARM + 1


def test_inputs_of_another_shape_are_taken_as_they_come() -> None:
    tape = Tape()
    captured = Captured(lambda x, y: 2 * x, tape)
    for _ in range(WARM + 1):
        captured(torch.ones(3), None)
    for odd in (torch.ones(2), torch.ones(3, dtype=torch.float64)):
        assert torch.equal(captured(odd, None), 2 * odd)
    assert torch.equal(captured(torch.ones(3), torch.ones(1)), torch.full((3,), 2.0))
    assert tape.replayed == 1
    assert torch.equal(captured(torch.zeros(3), None), torch.zeros(3))
    assert (tape.recorded, tape.replayed) == (1, 2)


def test_what_was_never_warm_is_not_recorded() -> None:
    """A data set's last batch may be a short one, and the fourth."""
    tape = Tape()
    captured = Captured(lambda x: 2 * x, tape)
    for size in (64, 64, 10, 64, 64, 64, 10, 64, 64, 10, 64):
        assert torch.equal(captured(torch.ones(size)), torch.full((size,), 2.0))
    assert (tape.recorded, tape.replayed) == (1, 3)
    assert captured.obstacle is None


@pytest.mark.parametrize("model", MODELS)
def test_a_replayed_step_is_the_step(model: str) -> None:
    tape = Tape()
    replayed, eager = taped(tape, MODELS[model]()), small_trainer(MODELS[model](), "images")
    assert steps(replayed, 20) == steps(eager, 20)
    assert (tape.recorded, tape.replayed) == (1, 20 - WARM)
    assert list(map(id, tape.generators)) == list(map(id, replayed.noise.values()))
    assert difference(whole(replayed), whole(eager)) is None
    assert replayed.health() == eager.health()
    assert replayed.mean_losses() == eager.mean_losses()


@pytest.mark.parametrize("change", ["load", "stray", "precision"])
def test_what_moves_memory_drops_the_recording(change: str) -> None:
    tape = Tape()
    replayed, eager = taped(tape, MODELS["acai"]()), small_trainer(MODELS["acai"](), "images")
    saved = copy.deepcopy(eager.state_dict())
    for trainer in (replayed, eager):
        steps(trainer, WARM + 2)
        if change == "load":
            trainer.load_state_dict(copy.deepcopy(saved))
        elif change == "stray":
            trainer.stray()
        else:
            trainer.precision = "float32"
    assert steps(replayed, WARM + 2) == steps(eager, WARM + 2)
    assert tape.recorded == 2
    assert difference(whole(replayed), whole(eager)) is None


def weigh(trainer: Trainer, value: float) -> None:
    trainer.model.regularizers["KL"].weight = value


def learn(trainer: Trainer, value: float) -> None:
    for optimizer in trainer.optimizers.values():
        optimizer.param_groups[0]["lr"] = value / 100


def momentum(trainer: Trainer, value: float) -> None:
    for optimizer in trainer.optimizers.values():
        optimizer.param_groups[0]["betas"] = (value, 0.999)


def freeze(trainer: Trainer, value: float) -> None:
    trainer.model.encoder.requires_grad_(value > 0.3)


@pytest.mark.parametrize("turn", [weigh, learn, momentum, freeze])
def test_what_a_callback_sets_counts_at_once(turn: Callable[[Trainer, float], None]) -> None:
    tape = Tape()
    replayed, eager = taped(tape, MODELS["vae"]()), small_trainer(MODELS["vae"](), "images")
    for value in (0.5, 0.5, 0.1):
        for trainer in (replayed, eager):
            turn(trainer, value)
        assert steps(replayed, WARM + 2) == steps(eager, WARM + 2)
    assert (tape.recorded, tape.replayed) == (2, 2 + (WARM + 2) + 2)
    assert difference(whole(replayed), whole(eager)) is None


def test_means_of_losses_go_on_across_rows_and_restarts() -> None:
    tape = Tape()
    replayed, eager = taped(tape, MODELS["vae"]()), small_trainer(MODELS["vae"](), "images")
    for trainer in (replayed, eager):
        steps(trainer, 6)
    assert replayed.mean_losses() == eager.mean_losses()
    resumed = small_trainer(MODELS["vae"](), "images", seed=1)
    for trainer in (replayed, eager):
        steps(trainer, 3)
    resumed.load_state_dict(copy.deepcopy(replayed.state_dict()))
    for trainer in (replayed, eager, resumed):
        steps(trainer, 3)
    assert replayed.mean_losses() == eager.mean_losses() == resumed.mean_losses()
    assert replayed.mean_losses() == {}


def test_a_step_that_fails_to_record_goes_on_as_if_nothing_had_been_tried() -> None:
    broken, eager = taped(Broken(), MODELS["acai"]()), small_trainer(MODELS["acai"](), "images")
    assert steps(broken, 9) == steps(eager, 9)
    assert difference(whole(broken), whole(eager)) is None
    assert broken.stepper.obstacle == "recording it failed: operation not permitted when stream is capturing"


class Annealed(Regularizer):
    """Counts on the host."""

    def model_loss(self, step: Any) -> Tensor:
        self.count = getattr(self, "count", 0) + 1
        loss: Tensor = self.count * step.z.square().mean()
        return loss


class Vouched(Annealed):
    recordable = True


class Heir(Vouched):
    pass


class Foreign(MSE):
    pass


def test_a_likelihood_of_elsewhere_is_not_recorded() -> None:
    tape = Tape()
    trainer = taped(tape, [])
    trainer.model.likelihood = Foreign()
    trainer.stepper.record(tape)
    assert trainer.stepper.obstacle == "Foreign may keep on the host what changes from step to step"


class Rebinding(Regularizer):
    """Breaks its promise: each step's mean is another tensor."""

    recordable = True

    def build(self, architecture: Architecture) -> None:
        self.register_buffer("mean", torch.zeros(architecture.latent_shape))

    def model_loss(self, step: Step) -> Tensor:
        return (step.z - self.mean).square().mean()

    def after_step(self, step: Step) -> None:
        self.mean = 0.9 * self.mean + 0.1 * step.z.mean(0)


@pytest.mark.parametrize("part", [Vouched, Rebinding])
def test_a_promise_that_is_seen_to_be_broken_costs_time_alone(part: type[Regularizer]) -> None:
    tape = Tape()
    replayed, eager = taped(tape, [part()]), small_trainer([part()], "images")
    assert steps(replayed, WARM + 5) == steps(eager, WARM + 5)
    assert tape.recorded == 0


class Honest(Regularizer):
    recordable = True

    def model_loss(self, step: Step) -> Tensor:
        return step.z.square().mean()


@pytest.mark.parametrize(("part", "vouched"), [(Annealed, False), (Honest, True), (Heir, False), (ACAI, True)])
def test_parts_that_may_count_on_the_host_are_not_recorded(part: type[Regularizer], vouched: bool) -> None:
    assert recordable(part()) == vouched
    tape = Tape()
    trainer = taped(tape, [part()])
    steps(trainer, WARM + 1)
    assert tape.recorded == vouched
    said = f"{part.__name__} may keep on the host what changes from step to step"
    assert trainer.stepper.obstacle == (None if vouched else said)


def test_what_the_recorder_has_noticed_is_the_obstacle() -> None:
    tape = Tape()
    trainer = taped(tape, MODELS["baseline"]())
    tape.obstacle = "the host waits for the device 2 times in it"
    steps(trainer, WARM + 2)
    assert (trainer.stepper.obstacle, tape.recorded) == (tape.obstacle, 0)


def test_images_are_laid_out_as_convolutions_run_fastest() -> None:
    trainer = small_trainer([], "images", dataset=lambda shape: LinesAs((3, 8, 8)))
    seen = []
    trainer.model.encoder.register_forward_pre_hook(lambda encoder, inputs: seen.append(inputs[0].stride()))
    trainer.step()
    assert seen == [(192, 1, 24, 3)]


def test_a_cpu_records_nothing() -> None:
    trainer = small_trainer([Annealed()], "images")
    steps(trainer, WARM + 2)
    assert trainer.stepper.obstacle is None


def on_gpu(regularizers: list[Regularizer], record: bool = True) -> Trainer:
    trainer = Trainer(small_trainer(regularizers, "images").experiment, "cuda", precision="float32")
    if not record:
        trainer.stepper.record(None)
    return trainer


@CUDA
@pytest.mark.parametrize("model", MODELS)
def test_on_a_gpu_a_replayed_step_is_the_step(model: str) -> None:
    replayed, eager = on_gpu(MODELS[model]()), on_gpu(MODELS[model](), record=False)
    for ours, theirs in zip(steps(replayed, 30), steps(eager, 30), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)
    assert replayed.stepper.obstacle is None
    torch.testing.assert_close(replayed.model.state_dict(), eager.model.state_dict(), rtol=1e-2, atol=1e-3)


@CUDA
@pytest.mark.parametrize("model", MODELS)
def test_on_a_gpu_no_step_waits(model: str) -> None:
    trainer = on_gpu(MODELS[model]())
    trainer.stepper.defer(1_000)
    for _ in range(WARM + 2):
        trainer.step()
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(5):
            trainer.step()
    finally:
        torch.cuda.set_sync_debug_mode(before)


@CUDA
def test_on_a_gpu_a_resumed_run_goes_on() -> None:
    straight = on_gpu(MODELS["acai"]())
    steps(straight, 10)
    saved = copy.deepcopy(straight.state_dict())
    resumed = on_gpu(MODELS["acai"]())
    resumed.load_state_dict(saved)
    for ours, theirs in zip(steps(straight, 10), steps(resumed, 10), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)


@CUDA
def test_on_a_gpu_a_part_that_waits_is_not_recorded() -> None:
    class Waiting(ACAI):
        recordable = True

        def own_loss(self, step: Any) -> Tensor:
            assert step.alpha.max().item() <= 0.5
            return super().own_loss(step)

    trainer = on_gpu([Waiting()])
    train(trainer)
    steps(trainer, WARM + 2)
    assert trainer.stepper.obstacle is not None and "the host waits for the device" in trainer.stepper.obstacle
