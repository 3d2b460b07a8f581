"""The abstract evaluator: scores of a trained model on a dataset's test split."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from acaikit import checks
from acaikit.data.base import Dataset
from acaikit.errors import UserError
from acaikit.model import Autoencoder
from acaikit.probe import Probe
from acaikit.registry import find
from acaikit.types import Scores


@dataclass(frozen=True)
class Trained:
    """What there is to evaluate: a model, its tandem probe (None where there are no labels), and the dataset."""

    model: Autoencoder
    probe: Probe | None
    dataset: Dataset

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
    needs : str
        What `fits` asks for, in words, as a message says it.
    """

    key: ClassVar[str]
    needs: ClassVar[str] = "another model or dataset"

    @abstractmethod
    def fits(self, trained: Trained) -> bool:
        """Whether this evaluator can be used on such a model and dataset."""

    @abstractmethod
    def evaluate(self, trained: Trained) -> Result:
        """Measure."""

    @property
    def protocol(self) -> dict[str, Any]:
        """The evaluator's parameters, stored beside its numbers."""
        return {"evaluator": type(self).__name__, **{k: v for k, v in vars(self).items() if not k.startswith("_")}}


class AlongPaths(Evaluator):
    """An evaluator that decodes paths between pairs of test examples.

    Parameters
    ----------
    pairs : int
        Number of paths.
    steps : int
        Images per path, both ends included.
    path : str
        The path's registered name.

    Raises
    ------
    UserError
        If `pairs` is below 1, `steps` below 2, or no path is called `path`.
    """

    def __init__(self, pairs: int, steps: int, path: str) -> None:
        name = type(self).__name__
        checks.whole(f"{name}.pairs", pairs, at_least=1)
        checks.whole(f"{name}.steps", steps, at_least=2)
        try:
            find(path, "paths")
        except UserError as error:
            raise UserError(f"{name}.path: {error}") from None
        self.pairs, self.steps, self.path = pairs, steps, path


def spread(count: int, total: int) -> NDArray[np.int64]:
    """Return `count` indices spread evenly over ``range(total)``, or all of them where there are fewer."""
    return np.linspace(0, total - 1, min(count, total)).round().astype(np.int64)
