"""The abstract probe that is trained after the model, with a setting that is chosen on held-out training examples."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from acaikit import checks
from acaikit.errors import EvaluationError
from acaikit.evaluators.base import Result
from acaikit.evaluators.codes import Codes, Labels
from acaikit.evaluators.intervals import interval
from acaikit.evaluators.of_codes import OfCodes

HELD_OUT = 10_000
"""Examples that are held out at most: as many as the test sets that the choice is made for."""

Indices = NDArray[np.int64]


class PostHocProbe(OfCodes):
    """A classifier that is trained on frozen codes; the test set has no part in choosing its setting.

    The setting is the one that does best on held-out training examples, the first one where several do. Then the
    classifier is trained anew on all training examples.

    Parameters
    ----------
    examples : int, optional
        How many training examples are coded, from the first on. Left out, all; of a dataset that draws them, 10,000.
    held_out : float
        Share of the training examples that is held out, in (0, 1): at least one example and at most 10,000.
    seeds : int
        How many times another random part is held out, each time with a choice and a classifier of its own.

    Raises
    ------
    UserError
        If a parameter is out of its range.
    """

    def __init__(self, examples: int | None, held_out: float, seeds: int) -> None:
        name = type(self).__name__
        super().__init__(examples)
        checks.number(f"{name}.held_out", held_out, 0, strictly=True)
        checks.share(f"{name}.held_out", held_out, one=False)
        checks.whole(f"{name}.seeds", seeds, at_least=1)
        self.held_out, self.seeds = held_out, seeds

    def splits(self, examples: int) -> Iterator[tuple[Indices, Indices]]:
        """Yield, for each seed, which of so many training examples to fit to, and which are held out.

        Raises
        ------
        EvaluationError
            If there are fewer than two.
        """
        if examples < 2:
            raise EvaluationError("a probe needs two training examples or more: one of them is held out")
        held = min(max(1, round(self.held_out * examples)), examples - 1, HELD_OUT)
        for seed in range(self.seeds):
            order = np.random.default_rng(seed).permutation(examples)
            yield order[held:], order[:held]

    def result(
        self, codes: Codes, predictions: Labels, held_out: Sequence[float], setting: str, chosen: Sequence[float]
    ) -> Result:
        """Return what was found of the test set.

        Parameters
        ----------
        codes : Codes
            What was measured.
        predictions : ndarray
            Of the test examples under each seed, int64 ``[S, M]``.
        held_out : sequence of float
            Accuracy on the held-out examples with the setting that was chosen, for each seed, in percent.
        setting : str
            What the setting is called.
        chosen : sequence of float
            What was chosen under each seed.

        Returns
        -------
        Result
            ``accuracy`` on the test set, the mean over seeds, and the ends of its 95 % interval, ``accuracy_low`` and
            ``accuracy_high``; ``held_out_accuracy``, the mean over seeds; all in percent. The setting that was chosen,
            the median over seeds (of two the lower). Arrays: predictions, labels int64 ``[M]``, and the settings,
            float64 ``[S]``.
        """
        mean, low, high = interval(predictions == codes.test_labels, seed=0)
        scores = {"accuracy": mean, "accuracy_low": low, "accuracy_high": high}
        scores |= {"held_out_accuracy": statistics.fmean(held_out), setting: float(statistics.median_low(chosen))}
        arrays = {"predictions": predictions, "labels": codes.test_labels, setting: np.array(chosen, np.float64)}
        return Result(scores, arrays)


def percent_right(predictions: Labels, labels: Labels) -> float:
    """Return how many of the predictions are right, in percent."""
    return 100 * float((predictions == labels).mean())
