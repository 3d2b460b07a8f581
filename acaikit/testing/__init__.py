"""Conformance checks for authors of parts: one call tells whether a part keeps the rules that acaikit relies on.

Examples
--------
>>> from acaikit.regularizers import ACAI
>>> from acaikit.testing import check_encoder, check_evaluator, check_path, check_regularizer
>>> check_regularizer(ACAI)
>>> check_regularizer(lambda: [ACAI(weight=1.0)])
>>> check_regularizer(ACAI, data="vectors")

>>> from acaikit.evaluators import Reconstruction
>>> check_evaluator(Reconstruction)
>>> check_evaluator(lambda: Reconstruction(limit=10), data="sequences", labels=False)

>>> from acaikit.nets import ConvEncoder
>>> from acaikit.paths import Geodesic, slerp
>>> check_encoder(lambda: ConvEncoder(scales=2))
>>> check_path(slerp)
>>> check_path(Geodesic)
"""

from acaikit.testing.critic import check_critic
from acaikit.testing.dataset import check_dataset
from acaikit.testing.decoder import check_decoder
from acaikit.testing.encoder import check_encoder
from acaikit.testing.evaluator import check_evaluator
from acaikit.testing.likelihood import check_likelihood
from acaikit.testing.path import check_path
from acaikit.testing.regularizer import (
    check_device,
    check_doubt,
    check_evaluation,
    check_randomness,
    check_regularizer,
    check_resume,
)
from acaikit.testing.regularizer_gradients import check_gradients
from acaikit.testing.regularizer_health import check_health
from acaikit.testing.regularizer_hooks import check_hooks
from acaikit.testing.regularizer_losses import check_dtype
from acaikit.testing.rules import NotApplicable, NotConforming, Refused

__all__ = [
    "NotApplicable",
    "NotConforming",
    "Refused",
    "check_critic",
    "check_dataset",
    "check_decoder",
    "check_device",
    "check_doubt",
    "check_dtype",
    "check_encoder",
    "check_evaluation",
    "check_evaluator",
    "check_gradients",
    "check_health",
    "check_hooks",
    "check_likelihood",
    "check_path",
    "check_randomness",
    "check_regularizer",
    "check_resume",
]
