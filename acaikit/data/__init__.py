"""Datasets: what autoencoders are trained and tested on."""

from acaikit.data.base import Dataset, Split, Stream
from acaikit.data.lines import Lines
from acaikit.data.mnist import MNIST

__all__ = ["MNIST", "Dataset", "Lines", "Split", "Stream"]
