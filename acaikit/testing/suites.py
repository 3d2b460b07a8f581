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
    only_images : str
        How a part of this kind says that it is for images alone; empty where it can't.
    """

    rules: Sequence[Rule]
    data: Sequence[str] = tuple(DATA)
    only_images: str = ""


_REFUSE = "raise acaikit.errors.UserError in build() where len({}) != 3"

SUITES: Mapping[str, Suite] = {
    "encoders": Suite(encoder.RULES, only_images=_REFUSE.format("data_shape")),
    "decoders": Suite(decoder.RULES, only_images=_REFUSE.format("data_shape")),
    "critics": Suite(critic.RULES, only_images=_REFUSE.format("shape")),
    "likelihoods": Suite(likelihood.RULES),
    "regularizers": Suite(regularizer.RULES, only_images=_REFUSE.format("architecture.data_shape")),
    "datasets": Suite(dataset.RULES, data=()),
    "evaluators": Suite(evaluator.RULES, only_images="let fits() return False where len(trained.dataset.shape) != 3"),
    "paths": Suite(path.RULES),
}
