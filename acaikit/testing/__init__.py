"""Conformance checks for authors of parts: one call tells whether a part keeps the rules that acaikit relies on.

Examples
--------
>>> from acaikit.regularizers import ACAI
>>> from acaikit.testing import check_evaluator, check_regularizer
>>> check_regularizer(ACAI)
>>> check_regularizer(lambda: [ACAI(weight=1.0)])
>>> check_regularizer(ACAI, data="vectors")

>>> from acaikit.evaluators import Reconstruction
>>> check_evaluator(Reconstruction)
>>> check_evaluator(lambda: Reconstruction(limit=10), data="sequences", labels=False)
"""

from acaikit.testing.conformance import NotConforming
from acaikit.testing.evaluator import check_evaluator
from acaikit.testing.regularizer import (
    check_device,
    check_doubt,
    check_dtype,
    check_evaluation,
    check_gradients,
    check_hooks,
    check_randomness,
    check_regularizer,
    check_resume,
)

__all__ = [
    "NotConforming",
    "check_device",
    "check_doubt",
    "check_dtype",
    "check_evaluation",
    "check_evaluator",
    "check_gradients",
    "check_hooks",
    "check_randomness",
    "check_regularizer",
    "check_resume",
]
