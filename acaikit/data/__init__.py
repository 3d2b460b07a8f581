"""Datasets: what autoencoders are trained and tested on."""

from acaikit.data.base import Dataset, Split, Stream
from acaikit.data.disc import Disc
from acaikit.data.lines import Lines
from acaikit.data.mnist import MNIST
from acaikit.data.rendered import Factor, Rendered
from acaikit.data.sinusoid import Sinusoid

__all__ = [
    "MNIST",
    "Dataset",
    "Disc",
    "Factor",
    "Lines",
    "Rendered",
    "Sinusoid",
    "Split",
    "Stream",
]
