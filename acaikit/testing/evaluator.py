"""The check of evaluators: what they find can be stored and found again, and measuring changes nothing."""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acaikit.artifacts.evaluations import read_evaluation, write_evaluation
from acaikit.engine import Trainer, train
from acaikit.errors import EvaluationError, EvaluationWarning
from acaikit.evaluators.base import Evaluator, Result, Trained
from acaikit.progress import silent
from acaikit.regularizers import ACAI, KL
from acaikit.testing.evaluator_naming import check_naming, protocol_text
from acaikit.testing.fixtures import STEPS, DatasetFor, Finite, LinesAs, small_trainer
from acaikit.testing.rules import NotConforming, Refused, Rule, keep, made_as
from acaikit.testing.side_effects import untouched
from acaikit.testing.states import copied, difference

Factory = Callable[[], Evaluator]


def check_evaluator(factory: Factory, data: str = "images", labels: bool = True) -> None:
    """Check an evaluator on a small model that has a prior and a critic; return None when all is well.

    Parameters
    ----------
    factory : callable
        Makes a new evaluator each time it is called; a class will do, unless its defaults are slow.
    data : str
        What to measure on: "images" ``[1, 8, 8]`` and "sequences" ``[4, 16]`` with convolutional networks, or "vectors"
        ``[64]`` with dense ones.
    labels : bool
        Whether the data have labels, and the model a tandem probe. Those with labels are drawn from a known factor.

    Raises
    ------
    UserError
        If `data` is none of these.
    NotConforming
        If it can't be made without arguments, key or protocol can't be stored, it doesn't fit such data, what it finds
        is no number or can't be stored, two measurements of one model differ, the model, the data or a global generator
        is changed, training goes on differently, or a hard case (a single test example, no labels, no probe, latents
        that are all the same, weights that are NaN) ends in an error that is no `EvaluationError`, or in a number that
        means nothing.
    """
    keep(RULES, factory, data, labels)


def _check_kind(factory: Factory) -> None:
    evaluator = factory()
    made_as(evaluator, Evaluator, "acaikit.evaluators")
    check_naming(evaluator)


def _on(labels: bool) -> DatasetFor:
    return LinesAs if labels else partial(Finite, labels=False)


def _model(data: str, dataset: DatasetFor, seed: int = 0) -> Trained:
    trainer = small_trainer([KL(), ACAI()], data, dataset=dataset, seed=seed)
    for _ in range(STEPS):
        trainer.step()
    return trainer.trained


def _filled(trained: Trained, value: float) -> Trained:
    with torch.no_grad():
        for module in (trained.model, trained.probe):
            for parameter in () if module is None else module.parameters():
                parameter.fill_(value)
    return trained


def _fits(evaluator: Evaluator, trained: Trained, on: str) -> bool:
    name = type(evaluator).__name__
    try:
        fits: Any = evaluator.fits(trained)
    except Exception as error:
        raise NotConforming(
            f"{name}.fits raises {type(error).__name__} on {on} ({error}): it returns True or False for any model and "
            f"dataset"
        ) from error
    if not isinstance(fits, bool):
        raise NotConforming(f"{name}.fits returns a {type(fits).__name__} on {on}: return True or False")
    return fits


def _measure(evaluator: Evaluator, trained: Trained, on: str) -> Result | EvaluationError:
    """Return what is found, or the error by which the evaluator says that there is no answer."""
    name = type(evaluator).__name__
    with trained.evaluating(), untouched(name, trained):
        try:
            found: Any = evaluator.evaluate(trained)
        except EvaluationError as error:
            return error
        except Exception as error:
            raise NotConforming(
                f"{name}.evaluate raises {type(error).__name__} on {on} ({error}): what has no answer is an "
                f"EvaluationError or no case for fits(); gradients are off, and torch.enable_grad() switches them on"
            ) from error
    if not isinstance(found, Result):
        raise NotConforming(f"{name}.evaluate returns a {type(found).__name__} on {on}: return a Result")
    _check_result(evaluator, found, on)
    return found


def _check_result(evaluator: Evaluator, found: Result, on: str) -> None:
    """See that there are numbers, and that they can be stored and read again."""
    name = type(evaluator).__name__
    if not found.scores and not found.arrays:
        raise NotConforming(f"{name} finds nothing on {on}: return a score or an array, or raise EvaluationError")
    for title, score in found.scores.items():
        if type(score) is not float:
            raise NotConforming(
                f"{name}'s scores[{title!r}] is a {type(score).__name__}: make it a float, with .item() or float()"
            )
        if math.isinf(score):
            raise NotConforming(f"{name}'s scores[{title!r}] is infinite on {on}: where there is no value, say NaN")
    for title, array in found.arrays.items():
        if not isinstance(array, np.ndarray):
            raise NotConforming(
                f"{name}'s arrays[{title!r}] is a {type(array).__name__}: make it a numpy array, with .cpu().numpy()"
            )
    with tempfile.TemporaryDirectory() as folder:
        try:
            stored = read_evaluation(
                write_evaluation(
                    Path(folder), evaluator.key, 0, "check", found.scores, evaluator.protocol, found.arrays
                )
            )
        except (TypeError, ValueError) as error:
            raise NotConforming(f"what {name} finds on {on} can't be stored: {error}") from error
    assert difference(_values(found), _values(Result(stored.scores, stored.arrays))) is None


def _values(found: Result | EvaluationError) -> dict[str, Any]:
    if isinstance(found, EvaluationError):
        return {"the error": str(found)}
    return copied(found.scores, "scores") | copied(found.arrays, "arrays")


def _check_measurement(factory: Factory, data: str, labels: bool) -> None:
    """Measure two models, each of them twice."""
    evaluator, on = factory(), f"{data} {'with' if labels else 'without'} labels"
    name, protocol = type(evaluator).__name__, protocol_text(evaluator)
    results = []
    for seed in (0, 1):
        trained = _model(data, _on(labels), seed)
        if not _fits(evaluator, trained, on):
            raise Refused(
                f"{name} doesn't fit {on}, so that nothing can be checked: say with data= and labels= what it measures "
                f"(it needs {evaluator.needs})"
            )
        found = _measure(evaluator, trained, on)
        if isinstance(found, EvaluationError):
            raise NotConforming(f"{name} fits {on}, but can't measure a sound model ({found}): then fits() says False")
        path = difference(_values(found), _values(_measure(evaluator, trained, on)))
        if path is not None:
            raise NotConforming(
                f"two measurements of one model by {name} differ ({path}): draw from a generator with a fixed seed, "
                f"acaikit.rng.generator(seed, name), and change nothing that Trained keeps"
            )
        results.append(found)
    if protocol_text(evaluator) != protocol:
        raise NotConforming(
            f"{name}.evaluate changes its protocol: return what is found, and keep nothing of it on self"
        )
    # The second model again, by an evaluator that has not seen the first.
    path = difference(_values(results[1]), _values(_measure(factory(), _model(data, _on(labels), seed=1), on)))
    if path is not None:
        raise NotConforming(
            f"what {name} finds depends on what it measured before ({path}): keep nothing of a model on self"
        )


def _hard_cases(data: str, labels: bool) -> Iterator[tuple[str, Trained]]:
    for count, size in {"one example": 1, "two examples": 2}.items():
        yield f"a test set of {count}", _model(data, partial(Finite, labels=labels, test_size=size))
    yield "two test examples drawn from a known factor", _model(data, partial(LinesAs, test_size=2))
    yield "data without labels", _model(data, _on(labels=False))
    sound = _model(data, _on(labels))
    yield "a model without a probe", Trained(sound.model, None, sound.dataset)
    yield "a model without regularizers", small_trainer([], data, dataset=_on(labels)).trained
    yield "a model whose latents are all the same", _filled(sound, 0)


def _check_hard_cases(factory: Factory, data: str, labels: bool) -> None:
    """See that each case is refused by fits(), ends in numbers, or ends in an `EvaluationError`."""
    evaluator = factory()
    for on, trained in _hard_cases(data, labels):
        if _fits(evaluator, trained, on):
            _measure(evaluator, trained, on)


def _check_diverged(factory: Factory, data: str, labels: bool) -> None:
    """See that a model whose weights are NaN gets no number but those that every model gets."""
    evaluator, on = factory(), "a model whose weights are NaN"
    trained = _filled(_model(data, _on(labels)), math.nan)
    found = _measure(evaluator, trained, on) if _fits(evaluator, trained, on) else None
    numbers = {} if not isinstance(found, Result) else {k: v for k, v in found.scores.items() if not math.isnan(v)}
    sound = [_measure(evaluator, _model(data, _on(labels), seed), "a sound model") for seed in (0, 1) if numbers]
    for title, score in numbers.items():
        if any(not isinstance(other, Result) or other.scores.get(title) != score for other in sound):
            raise NotConforming(
                f"{type(evaluator).__name__}'s scores[{title!r}] is {score:g} on {on}: raise EvaluationError, or say "
                f"NaN, where latents or images are not finite"
            )


def _check_training(factory: Factory, data: str, labels: bool) -> None:
    """Train with the evaluator and without, and compare all that training changes."""
    evaluator = factory()
    runs: list[Trainer] = []
    for evaluators in ([], [evaluator]):
        trainer = small_trainer([KL(), ACAI()], data, dataset=_on(labels), evaluators=evaluators)
        train(trainer)
        runs.append(trainer)
    path = difference(*(copied(trainer.state_dict(), "state") for trainer in runs))
    if path is not None:
        raise NotConforming(
            f"training goes on differently where {type(evaluator).__name__} measures (first difference: {path}): it "
            f"must leave the model, its regularizers and torch's settings as they are"
        )


def _quietly(check: Callable[[Factory, str, bool], None]) -> Callable[..., None]:
    def quiet(factory: Factory, data: str, labels: bool = True) -> None:
        with warnings.catch_warnings(), silent():
            warnings.simplefilter("ignore", EvaluationWarning)
            check(factory, data, labels)

    return quiet


RULES = (
    Rule(
        "can be made by name, with a key and a protocol that can be stored", lambda factory, *on: _check_kind(factory)
    ),
    Rule("finds the same twice, and changes nothing", _quietly(_check_measurement)),
    Rule("says so where there is no answer: few examples, no labels, equal latents", _quietly(_check_hard_cases)),
    Rule("finds no number where weights are NaN", _quietly(_check_diverged)),
    Rule("leaves training as it is", _quietly(_check_training)),
)
