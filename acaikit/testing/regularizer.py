"""The check of regularizers: gradients against a slow oracle, and the rules that keep a run repeatable."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from acaikit.errors import UserError
from acaikit.evaluators.interpolation import Interpolation
from acaikit.evaluators.probe import ProbeAccuracy
from acaikit.objective import overrides
from acaikit.regularizer import Regularizer
from acaikit.testing.device import new_tensors_elsewhere
from acaikit.testing.fixtures import STEPS, small_experiment
from acaikit.testing.regularizer_gradients import (
    TOLERANCE,
    Factory,
    check_gradients,
    double,
    made,
    trainer_with,
)
from acaikit.testing.regularizer_health import check_health
from acaikit.testing.regularizer_hooks import DETERMINISTIC, FROM_NOISE, check_calls, check_hooks, undrawing
from acaikit.testing.regularizer_losses import check_dtype, check_repeats, check_steps
from acaikit.testing.regularizer_recording import check_recordable
from acaikit.testing.rules import NotApplicable, NotConforming, Refused, Rule, keep, made_as
from acaikit.testing.states import copied, difference
from acaikit.testing.training import LOOK_FOR, check_resumed, check_seeded


def check_regularizer(factory: Factory, data: str = "images") -> None:
    """Check a regularizer, or a composition of several; return None when all is well.

    Parameters
    ----------
    factory : callable
        Makes a new regularizer, or a sequence of them, each time it is called; a class whose parameters all have
        defaults will do.
    data : str
        What to train on: "images" ``[1, 8, 8]`` and "sequences" ``[4, 16]`` with convolutional networks, or "vectors"
        ``[64]`` with dense ones.

    Raises
    ------
    UserError
        If `data` is none of these.
    NotConforming
        If it writes no hook, a hook gives something else than it is to give or changes what it is given, a loss or a
        gradient is not finite, the losses of the same step differ from call to call, gradients reach another player
        than they should, weights or draws depend on a global generator, a tensor is made on a device or in a dtype of
        its own, one that says ``recordable = True`` can't be recorded, `doubt` is no finite number per example,
        `health` gives no signs or changes something, evaluation changes state or is random, or a run saved, restored
        and continued differs from one that was never interrupted.
        `Refused`, a kind of it, if it can't be built for such data.
    """
    keep(RULES, factory, data)


def _check_build(factory: Factory, data: str) -> None:
    """See that it is a regularizer, and that a model of such data can be built with it."""
    regularizers = made(factory)
    for regularizer in regularizers:
        made_as(regularizer, Regularizer, "acaikit.regularizers")
    experiment = small_experiment(regularizers, data)
    try:
        experiment.build()
    except UserError as error:
        raise Refused(f"{' and '.join(type(r).__name__ for r in regularizers)} refuses {data}: {error}") from error


def check_randomness(factory: Factory, data: str = "images") -> None:
    """Train twice with torch's global generator in different states, and see that nothing drew from it."""
    check_seeded(lambda seed: undrawing(trainer_with(factory, data, seed)), "a regularizer", FROM_NOISE)


def check_device(factory: Factory, data: str = "images") -> None:
    """Train while new tensors land on another device by default, as they do when the model is on a GPU."""
    trainer = trainer_with(factory, data)
    x, y = trainer.stream.next()
    with new_tensors_elsewhere("a hook", "x"):
        _, views = trainer.objective.backward(x, y, trainer.noise)
        for name, regularizer in trainer.model.regularizers.items():
            regularizer.after_step(views[name])
            with torch.no_grad():
                regularizer.doubt(views[name].z, views[name].x)
                regularizer.health(views[name])


def check_doubt(factory: Factory, data: str = "images") -> None:
    """See that `doubt` is None or one finite number per example, the same each time and whatever it is asked beside."""
    trainer = trainer_with(factory, data)
    for _ in range(STEPS):
        trainer.step()
    double(trainer)
    model = trainer.model
    with torch.no_grad():
        z = model.encode(trainer.experiment.dataset.test().examples(slice(0, 4)).double())
        x = model.decode(z)
        for name, regularizer in model.regularizers.items():
            doubt, again = (_doubt(name, regularizer, z, x) for _ in range(2))
            if not torch.equal(doubt, again):
                raise NotConforming(f"{name}.doubt gives two answers to one question: it must be deterministic")
            alone = torch.cat([_doubt(name, regularizer, z[i : i + 1], x[i : i + 1]) for i in range(len(z))])
            if not torch.allclose(alone, doubt, rtol=TOLERANCE, atol=TOLERANCE):
                raise NotConforming(
                    f"{name}.doubt of an example depends on the others in its batch: take no mean, norm or order over "
                    f"the first axis"
                )


def _doubt(name: str, regularizer: Regularizer, z: Tensor, x: Tensor) -> Tensor:
    """Return what `doubt` returns, or zeros where that is None."""
    try:
        doubt: Any = regularizer.doubt(z, x)
    except (RuntimeError, IndexError) as error:
        raise NotConforming(
            f"{name}.doubt can't be asked about {len(z)} latents ({error}): it takes any number of them, and makes its "
            f"own tensors with dtype=z.dtype"
        ) from error
    if doubt is None:
        return z.new_zeros(len(z))
    if not isinstance(doubt, Tensor) or doubt.shape != (len(z),) or not doubt.isfinite().all():
        said = f"{doubt.tolist()}" if isinstance(doubt, Tensor) else f"a {type(doubt).__name__}"
        raise NotConforming(
            f"{name}.doubt must be None or a tensor of one finite number per example: {len(z)} here, not {said}"
        )
    return doubt


def check_evaluation(factory: Factory, data: str = "images") -> None:
    """Evaluate, and see that it draws nothing, changes no state and gives the same finite result twice."""
    trainer = undrawing(trainer_with(factory, data))
    trainer.step()
    before = copied(trainer.state_dict(), "state")
    x = trainer.experiment.dataset.test().examples(slice(0, 8))
    with torch.no_grad():
        once, twice = trainer.model.interpolate(x[:4], x[4:]), trainer.model.interpolate(x[:4], x[4:])
        trainer.model.doubts(trainer.model.encode(x))
        for evaluator in (Interpolation(pairs=2, steps=3), ProbeAccuracy()):
            evaluator.evaluate(trainer.trained)
    if not once.isfinite().all():
        raise NotConforming(f"what is decoded in evaluation, after a step of training, is not finite: {LOOK_FOR}")
    if not torch.equal(once, twice):
        raise NotConforming(f"two evaluations differ: {DETERMINISTIC}")
    path = difference(before, copied(trainer.state_dict(), "state"))
    if path is not None:
        raise NotConforming(f"evaluation changed {path}: hooks must not change state; that is what after_step is for")


def check_resume(factory: Factory, data: str = "images") -> None:
    """Save, restore into a new trainer, continue, and compare with never having stopped, bit for bit."""
    check_resumed(lambda seed: trainer_with(factory, data, seed))


def _check_doubt(factory: Factory, data: str) -> None:
    if not any(overrides(regularizer, "doubt") for regularizer in made(factory)):
        raise NotApplicable("it writes no doubt")
    check_doubt(factory, data)


# A broken rule breaks later checks too: the first to fail is the one that names it.
RULES = (
    Rule("can be built for the data", _check_build),
    Rule("writes a hook that training calls", lambda factory, data: check_hooks(factory)),
    Rule("gives what its hooks are to give, and changes nothing they are given", check_calls),
    Rule("keeps to the dtype of the data, with finite losses and gradients", check_dtype),
    Rule("takes one training step after another, with losses that stay finite", check_steps),
    Rule("draws from its own noise, and its weights from the run's seed", check_randomness),
    Rule("gives the same losses for the same step", check_repeats),
    Rule("doubts each example by itself", _check_doubt),
    Rule("tells signs of health, and changes nothing by it", check_health),
    Rule("is deterministic in evaluation, and changes nothing there", check_evaluation),
    Rule("makes its tensors on the device of the data", check_device),
    Rule("moves its own player by each loss, and no other", check_gradients),
    Rule("goes on with the same bits after a restart", check_resume),
    Rule("keeps nothing on the host that changes, where it says so (recordable)", check_recordable),
)
