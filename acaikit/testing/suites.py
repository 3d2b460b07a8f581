"""Every kind of part with its rules, and what it is checked on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from acaikit.testing import critic, dataset, decoder, encoder, evaluator, likelihood, path, regularizer
from acaikit.testing.fixtures import DATA
from acaikit.testing.rules import Rule


@dataclass(frozen=True)
class Suite:
    """The rules of a kind of part.

    Attributes
    ----------
    rules : sequence of Rule
        In order: where one is broken, those after it may say what isn't so.
    data : sequence of str
        The kinds of data that each rule is checked on; none where a part brings its own.
    """

    rules: Sequence[Rule]
    data: Sequence[str] = tuple(DATA)


SUITES: Mapping[str, Suite] = {
    "encoders": Suite(encoder.RULES),
    "decoders": Suite(decoder.RULES),
    "critics": Suite(critic.RULES),
    "likelihoods": Suite(likelihood.RULES),
    "regularizers": Suite(regularizer.RULES),
    "datasets": Suite(dataset.RULES, data=()),
    "evaluators": Suite(evaluator.RULES),
    "paths": Suite(path.RULES),
}
