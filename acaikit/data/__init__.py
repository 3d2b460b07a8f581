"""Datasets: what autoencoders are trained and tested on."""

from acaikit.data.arrays import Arrays
from acaikit.data.base import Dataset, Split, Stream
from acaikit.data.celeba import CelebA
from acaikit.data.cifar10 import CIFAR10
from acaikit.data.digits import Digits
from acaikit.data.disc import Disc
from acaikit.data.folder import ImageFolder
from acaikit.data.lines import Lines
from acaikit.data.mnist import KMNIST, MNIST, FashionMNIST
from acaikit.data.rendered import Factor, Rendered
from acaikit.data.sinusoid import Sinusoid
from acaikit.data.svhn import SVHN

__all__ = [
    "CIFAR10",
    "KMNIST",
    "MNIST",
    "SVHN",
    "Arrays",
    "CelebA",
    "Dataset",
    "Digits",
    "Disc",
    "Factor",
    "FashionMNIST",
    "ImageFolder",
    "Lines",
    "Rendered",
    "Sinusoid",
    "Split",
    "Stream",
]
