"""Measuring by evaluators: what they find is looked at, and one that can't measure costs the others nothing."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Real

from acaikit import checks
from acaikit.errors import EvaluationError, EvaluationWarning, UserError
from acaikit.evaluators.base import Evaluator, Result, Trained
from acaikit.progress import silent
from acaikit.types import Scores


def measure(trained: Trained, evaluators: Sequence[Evaluator]) -> Scores:
    """Return all scores of the evaluators that fit, as ``evaluator/score``; none of one that can't measure."""
    scores: Scores = {}
    with trained.evaluating(), silent():
        for evaluator in evaluators:
            if evaluator.fits(trained):
                try:
                    found = result_of(evaluator, trained).scores
                except EvaluationError as error:
                    warnings.warn(f"no {evaluator.key} scores: {error}", EvaluationWarning, stacklevel=3)
                    continue
                scores |= {f"{evaluator.key}/{name}": value for name, value in found.items()}
    return scores


def result_of(evaluator: Evaluator, trained: Trained) -> Result:
    """Return what an evaluator finds; raise `UserError` where that is no `Result` of numbers."""
    said = f"{type(evaluator).__name__}.evaluate"
    found = evaluator.evaluate(trained)
    checks.instance(f"what {said} returns", found, Result)
    checks.instance(f"the scores that {said} returns", found.scores, dict)
    checks.instance(f"the arrays that {said} returns", found.arrays, dict)
    for name, score in found.scores.items():
        if not isinstance(score, Real):
            raise UserError(f"{said} returns {checks.said(score)} as the score {name!r}: return a number, float(...)")
    return found
