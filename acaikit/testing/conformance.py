"""What the checks share: small data, small networks, and the comparison of states bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
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
DatasetFor = Callable[[Shape], Dataset]
"""Makes a dataset whose examples have a shape."""


class NotConforming(AssertionError):
    """A part breaks a rule; the message says which and what to do."""


class LinesAs(Lines):
    """Lines of 8x8, their pixels read as examples of another shape."""

    def __init__(self, shape: Shape, test_size: int = TEST) -> None:
        super().__init__(8, 8, test_size)
        self.shape = shape

    def render(self, values: Tensor) -> Tensor:
        """Draw lines, in another shape."""
        return super().render(values).view(-1, *self.shape)

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


def small_trainer(
    regularizers: Sequence[Regularizer],
    data: str,
    *,
    dataset: DatasetFor = LinesAs,
    evaluators: Sequence[Evaluator] = (),
    seed: int = 0,
) -> Trainer:
    """Return a small autoencoder of `data`, one of `DATA`, to be trained for a few steps.

    Raises
    ------
    UserError
        If `data` is none of these.
    """
    if data not in DATA:
        raise UserError(unknown("can't check on", data, DATA))
    shape, (encoder, decoder) = DATA[data]
    return Trainer(
        Experiment(
            dataset=dataset(shape),
            encoder=encoder,
            decoder=decoder,
            regularizers=regularizers,
            evaluators=evaluators,
            samples=STEPS * BATCH,
            batch_size=BATCH,
            learning_rate=1e-2,
            evaluate_every=BATCH,
            seed=seed,
        )
    )


def copied(tree: Any, path: str = "") -> dict[str, Any]:
    """Return every value in a nest of dicts and lists by its path, tensors and arrays copied."""
    match tree:
        case Mapping():
            return {k: v for key, value in tree.items() for k, v in copied(value, f"{path}[{key!r}]").items()}
        case list() | tuple():
            return {k: v for i, value in enumerate(tree) for k, v in copied(value, f"{path}[{i}]").items()}
        case Tensor():
            return {path: tree.detach().clone()}
        case np.ndarray():
            return {path: tree.copy()}
        case _:
            return {path: tree}


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """Return the first path at which two results of `copied` don't have the same bits; None where all are the same."""
    for path in dict.fromkeys((*one, *other)):
        if path not in one or path not in other or not _same(one[path], other[path]):
            return path
    return None


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(_bytes(a), _bytes(b))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    return bool(a == b)


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.cpu().reshape(-1).view(torch.uint8)  # a NaN is equal to itself
