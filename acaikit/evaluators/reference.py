"""The raw-data reference: what an evaluator of codes says of the data themselves."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import torch

from acaikit.data.base import Dataset
from acaikit.errors import EvaluationError, UserError
from acaikit.evaluators.base import Evaluator, Result
from acaikit.evaluators.codes import Codes
from acaikit.evaluators.of_codes import OfCodes
from acaikit.registry import parts


def of_raw_data(evaluators: Iterable[Evaluator]) -> list[OfCodes]:
    """Return `evaluators`, all of which look at codes alone, with the settings that they need for raw data.

    Raises
    ------
    UserError
        If one of them needs a model.
    """
    found = []
    for evaluator in evaluators:
        if not isinstance(evaluator, OfCodes):
            name = type(evaluator).__name__
            raise UserError(f"{name} measures a model, not the raw data; these can: {', '.join(_installed())}")
        found.append(evaluator.of_raw_data())
    return found


def measure_raw(dataset: Dataset, evaluator: OfCodes) -> Result:
    """Measure the data themselves: the flattened examples take the place of a model's codes.

    Raises
    ------
    EvaluationError
        If the dataset has no labels, or there is nothing that can be measured.
    """
    if dataset.classes is None:  # which is better said before gigabytes are fetched
        raise EvaluationError(f"{type(dataset).__name__} has no labels")
    with torch.no_grad():
        return evaluator.measure(Codes.raw(dataset, evaluator.examples))


def _installed() -> list[str]:
    names = []
    for part in parts():
        if part.kind == "evaluators":
            with suppress(UserError, TypeError):  # one that can't be imported, or is no class
                if issubclass(part.load(), OfCodes):
                    names.append(part.name)
    return names
