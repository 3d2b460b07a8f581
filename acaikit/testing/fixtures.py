"""What parts are checked on: small data, small networks, and an experiment that is trained for a few steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor

from acaikit.data.base import Dataset, Shuffled, Split, Stream
from acaikit.data.lines import Lines
from acaikit.engine import Trainer
from acaikit.errors import UserError
from acaikit.evaluators.base import Evaluator
from acaikit.experiment import Experiment
from acaikit.nets import ConvDecoder, ConvEncoder, Decoder, Encoder, MLPDecoder, MLPEncoder
from acaikit.registry import unknown
from acaikit.regularizer import Regularizer
from acaikit.types import Shape

Known = TypeVar("Known")

STEPS = 3
BATCH = 6
TRAIN, TEST = 128, 32

CONV = (ConvEncoder(depth=4, scales=2, latent=2), ConvDecoder(depth=4, scales=2))
MLP = (MLPEncoder(hidden=(8,), latent=8), MLPDecoder(hidden=(8,)))
DATA: Mapping[str, tuple[Shape, tuple[Encoder, Decoder]]] = {
    "images": ((1, 8, 8), CONV),
    "sequences": ((4, 16), CONV),
    "vectors": ((64,), MLP),
}
"""What a part can be checked on: the 64 numbers of a small example in this shape, and networks that fit."""
SHAPES: Mapping[str, Shape] = {"images": (3, 32, 32), "sequences": (4, 16), "vectors": (64,)}
"""What a network is checked on: large enough for the defaults of most, and with channels whose layout matters."""
DatasetFor = Callable[[Shape], Dataset]
"""Makes a dataset whose examples have a shape."""


class LinesAs(Lines):
    """The smallest lines that have enough pixels (8x8 for 64), their pixels read as examples of another shape."""

    def __init__(self, shape: Shape, test_size: int = TEST) -> None:
        side = math.isqrt(math.prod(shape) - 1) + 1
        super().__init__(side, side, test_size)
        self.shape = shape

    def render(self, values: Tensor) -> Tensor:
        """Draw lines, in another shape."""
        return super().render(values).flatten(1)[:, : math.prod(self.shape)].reshape(-1, *self.shape)

    def training(self, limit: int | None = None) -> Split:
        """Draw at most 128 examples: evaluators ask for thousands, and are checked many times."""
        return super().training(min(limit or TRAIN, TRAIN))


class Finite(Dataset):
    """The same examples in a set that has an end, as one has that is read from files."""

    def __init__(self, shape: Shape, labels: bool, test_size: int = TEST) -> None:
        drawn = LinesAs(shape)
        self.shape, self.classes = shape, drawn.classes if labels else None
        self._train, self._test = (
            Split(split.data[:size], split.labels[:size] if labels and split.labels is not None else None)
            for split, size in ((drawn.training(TRAIN), TRAIN), (drawn.test(), test_size))
        )

    def train(self, batch_size: int, generator: Generator, device: torch.device | str = "cpu") -> Stream:
        """Return the examples in random order."""
        return Shuffled(self._train, batch_size, generator, device)

    def test(self) -> Split:
        """Return the test examples, the same tensors each time."""
        return self._test


def one_of(data: str, known: Mapping[str, Known]) -> Known:
    """Return what is `known` of a kind of data.

    Raises
    ------
    UserError
        If nothing is.
    """
    if data not in known:
        raise UserError(unknown("can't check on", data, known))
    return known[data]


def experiment_of(dataset: Dataset, encoder: Encoder, decoder: Decoder, **parts: Any) -> Experiment:
    """Return an autoencoder of these parts, to be trained for a few steps."""
    return Experiment(
        dataset=dataset,
        encoder=encoder,
        decoder=decoder,
        samples=STEPS * BATCH,
        batch_size=BATCH,
        learning_rate=1e-2,
        evaluate_every=BATCH,
        **parts,
    )


def small_experiment(
    regularizers: Sequence[Regularizer],
    data: str,
    *,
    dataset: DatasetFor = LinesAs,
    evaluators: Sequence[Evaluator] = (),
    seed: int = 0,
) -> Experiment:
    """Return a small autoencoder of `data`, one of `DATA`, to be trained for a few steps.

    Raises
    ------
    UserError
        If `data` is none of these.
    """
    shape, networks = one_of(data, DATA)
    return experiment_of(dataset(shape), *networks, regularizers=regularizers, evaluators=evaluators, seed=seed)


def small_trainer(regularizers: Sequence[Regularizer], data: str, **more: Any) -> Trainer:
    """Return a trainer of `small_experiment`, which says what may be given."""
    return Trainer(small_experiment(regularizers, data, **more))
