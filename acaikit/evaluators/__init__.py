"""Evaluators: what is measured of a trained autoencoder.

Those that need scikit-learn are imported from files of their own: `kmeans`, `linear_probe` and `knn_probe`.
"""

from acaikit.evaluators.base import Evaluator, Result, Trained
from acaikit.evaluators.codes import Codes
from acaikit.evaluators.factor import FactorBenchmark
from acaikit.evaluators.interpolation import Interpolation
from acaikit.evaluators.latents import Latents
from acaikit.evaluators.of_codes import OfCodes
from acaikit.evaluators.probe import ProbeAccuracy
from acaikit.evaluators.realism import RealismIndex
from acaikit.evaluators.reconstruction import Reconstruction
from acaikit.evaluators.scorecard import Scorecard

__all__ = [
    "Codes",
    "Evaluator",
    "FactorBenchmark",
    "Interpolation",
    "Latents",
    "OfCodes",
    "ProbeAccuracy",
    "RealismIndex",
    "Reconstruction",
    "Result",
    "Scorecard",
    "Trained",
]
