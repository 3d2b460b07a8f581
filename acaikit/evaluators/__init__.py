"""Evaluators: what is measured of a trained autoencoder."""

from acaikit.evaluators.base import Evaluator, Result
from acaikit.evaluators.factor import FactorBenchmark
from acaikit.evaluators.interpolation import Interpolation
from acaikit.evaluators.probe import ProbeAccuracy
from acaikit.evaluators.reconstruction import Reconstruction

__all__ = ["Evaluator", "FactorBenchmark", "Interpolation", "ProbeAccuracy", "Reconstruction", "Result"]
