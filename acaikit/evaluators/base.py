"""The abstract evaluator: scores of a trained model on a dataset's test split."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acaikit import checks
from acaikit.data.base import Dataset
from acaikit.evaluators.codes import BATCH, Codes
from acaikit.model import Autoencoder
from acaikit.paths import Landscape, Path, resolve
from acaikit.paths.base import AnyPath, check, described
from acaikit.probe import Probe
from acaikit.types import Scores

PROTOCOLS = ("paper", "strict")
"""How to measure: as the paper does, or in the way that leaves the least to chance and to the test set."""
LATENTS = 10_000
"""Training examples whose latents stand for the whole set's."""


@dataclass(frozen=True)
class Trained:
    """What there is to evaluate: a model, its tandem probe (None where there are no labels), and the dataset."""

    model: Autoencoder
    probe: Probe | None
    dataset: Dataset
    _codes: dict[int, Codes] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def latents(self) -> Tensor:
        """The latents of the first 10,000 training examples, without noise, on the model's device: ``[N, *latent]``."""
        split = self.dataset.training(LATENTS)
        with torch.no_grad():
            return torch.cat([self.model.encode(x) for x, _ in split.batches(BATCH, self.device)])

    def codes(self, examples: int | None) -> Codes:
        """Return the codes of the first `examples` training examples (None: all) and of the test set, with labels.

        They are computed once for all evaluators that ask.

        Raises
        ------
        EvaluationError
            If the dataset has no labels, or a code is not finite.
        """
        available = len(self.dataset.training(examples))
        if available not in self._codes:
            self._codes[available] = Codes.of(self.dataset, self.model.code, examples, self.device)
        return self._codes[available]

    def path(self, path: AnyPath) -> Path:
        """Return a path as a function; one that depends on the model is made for this one and its dataset."""
        return resolve(path, Landscape(self.model.decode, lambda: self.latents))

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        return next(self.model.parameters()).device

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Put the model in evaluation mode, without gradients, for the duration."""
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.model.train(training)


@dataclass(frozen=True)
class Result:
    """What an evaluator found.

    Attributes
    ----------
    scores : dict of str to float
        The numbers, by name.
    arrays : dict of str to ndarray
        What the numbers or a picture were made from.
    """

    scores: Scores
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


class Evaluator(ABC):
    """Measures a trained model. It is called without gradients and must not change the model.

    Attributes
    ----------
    key : str
        Short name in metrics, result files and the command line's flags: "factor" for ``--factor``.
    version : int
        To be raised when the numbers change though the parameters don't.
    needs : str
        What `fits` asks for, in words, as a message says it.
    """

    key: ClassVar[str]
    version: ClassVar[int] = 1
    needs: ClassVar[str] = "another model or dataset"

    @abstractmethod
    def fits(self, trained: Trained) -> bool:
        """Whether this evaluator can be used on such a model and dataset."""

    @abstractmethod
    def evaluate(self, trained: Trained) -> Result:
        """Measure.

        Raises
        ------
        EvaluationError
            If there is nothing that can be measured, such as latents that are not finite.
        """

    def under(self, protocol: str) -> Evaluator:
        """Return the evaluator that measures the same thing under a protocol, one of `PROTOCOLS`.

        It is this one, unless the paper's way of measuring leaves something to be wished for. Another way of measuring
        has another `key`, so that two different numbers never have one name.
        """
        return self

    @property
    def protocol(self) -> dict[str, Any]:
        """The evaluator's version and parameters, as JSON values: what its numbers depend on is stored beside them."""
        return {
            "evaluator": type(self).__name__,
            "version": self.version,
            **{k: v for k, v in vars(self).items() if not k.startswith("_")},
        }


class AlongPaths(Evaluator):
    """An evaluator that decodes paths between pairs of test examples.

    Parameters
    ----------
    pairs : int
        Number of paths.
    steps : int
        Images per path, both ends included.
    path : str, callable or ModelPath
        The path's registered name, or the path itself.

    Raises
    ------
    UserError
        If `pairs` is below 1, `steps` below 2, or `path` is none.
    """

    needs = "two test examples or more"

    def __init__(self, pairs: int, steps: int, path: AnyPath) -> None:
        name = type(self).__name__
        checks.whole(f"{name}.pairs", pairs, at_least=1)
        checks.whole(f"{name}.steps", steps, at_least=2)
        check(f"{name}.path", path)
        self.pairs, self.steps, self.path = pairs, steps, path

    def fits(self, trained: Trained) -> bool:
        """A path needs two test examples."""
        return len(trained.dataset.test()) > 1

    @property
    def protocol(self) -> dict[str, Any]:
        """The evaluator's parameters, its path by name and parameters of its own."""
        return super().protocol | {"path": described(self.path)}


def spread(count: int, total: int) -> NDArray[np.int64]:
    """Return `count` indices spread evenly over ``range(total)``, or all of them where there are fewer."""
    return np.linspace(0, total - 1, min(count, total)).round().astype(np.int64)
