"""The linear probe, trained after the model: logistic regression on frozen codes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from itertools import repeat
from statistics import fmean

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from acaikit import checks
from acaikit.errors import EvaluationWarning, UserError
from acaikit.evaluators.base import Result
from acaikit.evaluators.codes import Codes, Floats, Labels
from acaikit.evaluators.post_hoc import PostHocProbe, percent_right
from acaikit.progress import progress

TOLERANCE = 1e-4
ITERATIONS = 1000


class LinearProbe(PostHocProbe):
    """Percentage of the test set that a multinomial logistic regression on the standardised codes gets right.

    It minimises the mean cross-entropy plus ``strength / 2`` times the sum of the squared weights (the biases are free,
    and two classes share one set of weights) until no component of the gradient exceeds 1e-4. Each feature is
    standardised by its mean and deviation over the training examples; one that is constant there becomes 0. For each
    seed the strength is chosen among `strengths` on held-out training examples. A class without a training example is
    never predicted.

    The paper's probe is another one, see `ProbeAccuracy`: a linear layer that is trained in tandem with the
    autoencoder, on codes that still change, by as many steps of Adam.

    Parameters
    ----------
    examples, held_out, seeds
        See `PostHocProbe`.
    strengths : sequence of float
        What to choose from, each above 0.

    Raises
    ------
    UserError
        If a parameter is out of its range.
    """

    key = "linear_probe"

    def __init__(
        self,
        examples: int | None = None,
        held_out: float = 0.1,
        seeds: int = 3,
        strengths: Sequence[float] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6),
    ) -> None:
        super().__init__(examples, held_out, seeds)
        if not isinstance(strengths, list | tuple) or not strengths:
            raise UserError(f"LinearProbe.strengths must be a list of numbers, not {checks.said(strengths)}")
        for strength in strengths:
            checks.number("LinearProbe.strengths", strength, 0, strictly=True)
        self.strengths = tuple(sorted({float(strength) for strength in strengths}, reverse=True))

    def measure(self, codes: Codes) -> Result:
        """Fit and test the probe.

        Returns
        -------
        Result
            See `PostHocProbe.result`; the setting is ``strength``. And ``train_accuracy`` in percent, the mean over
            seeds.

        Raises
        ------
        EvaluationError
            If there is only one training example.
        """
        train, test = standardised(codes.train, codes.test)
        labels = codes.train_labels
        # From the strongest on: each fit is a good start for the next, and of equally good ones it comes first.
        strengths = self.strengths
        held_out, chosen = [], []
        with (
            progress(f"linear probe of {len(train):,} codes", (self.seeds + 1) * len(strengths)) as advance,
            threadpool_limits(torch.get_num_threads()),
        ):
            for fit, held in self.splits(len(train)):
                accuracies = []
                for model in fits(train[fit], labels[fit], strengths):
                    accuracies.append(percent_right(model.predict(train[held]), labels[held]))
                    advance(1)
                held_out.append(max(accuracies))
                chosen.append(strengths[int(np.argmax(accuracies))])
            predictions, in_training = {}, {}
            wanted = [strength for strength in strengths if strength >= min(chosen)]
            for strength, model in zip(wanted, fits(train, labels, wanted), strict=True):
                if strength in chosen:
                    predictions[strength] = model.predict(test)
                    in_training[strength] = percent_right(model.predict(train), labels)
                advance(1)
        found = self.result(codes, np.stack([predictions[s] for s in chosen]), held_out, "strength", chosen)
        return Result(found.scores | {"train_accuracy": fmean(in_training[s] for s in chosen)}, found.arrays)


def standardised(train: Floats, test: Floats) -> tuple[Floats, Floats]:
    """Return codes less the training mean, over the training deviation; a feature that is constant in training is 0."""
    scale, mean = torch.std_mean(torch.from_numpy(train), 0, correction=0)
    scale[scale == 0] = torch.inf

    def transformed(codes: Floats) -> Floats:
        new: Floats = (torch.from_numpy(codes) - mean).div_(scale).numpy()
        return new

    return transformed(train), transformed(test)


def fits(codes: Floats, labels: Labels, strengths: Sequence[float]) -> Iterator[ClassifierMixin]:
    """Yield a classifier for each strength, fitted to float32 ``[N, D]``; each fit starts where the last one ended.

    It is one object, fitted anew: use it before asking for the next.
    """
    if len(np.unique(labels)) == 1:  # which is nothing to regress on, but to predict that class is right
        yield from repeat(DummyClassifier().fit(codes, labels), len(strengths))
        return
    model = LogisticRegression(tol=TOLERANCE, max_iter=ITERATIONS, warm_start=True)
    for strength in strengths:
        model.C = 1 / (strength * len(codes))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(codes, labels)
        if model.n_iter_.max() >= ITERATIONS:
            warnings.warn(
                f"the linear probe of strength {strength:g} has not converged in {ITERATIONS:,} iterations",
                EvaluationWarning,
                stacklevel=2,
            )
        yield model
