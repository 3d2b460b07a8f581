"""The probe without a model: the labels of the nearest training codes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from acaikit import checks
from acaikit.errors import UserError
from acaikit.evaluators.base import Result
from acaikit.evaluators.codes import Codes, Floats, Labels
from acaikit.evaluators.post_hoc import PostHocProbe, percent_right
from acaikit.progress import Advance, progress

DISTANCES = 2**25
"""Distances that are held at a time: 128 MiB of float32."""


class KNNProbe(PostHocProbe):
    """Percentage of the test set that the nearest training codes get right, each with one vote for its class.

    Distances are Euclidean, and the codes are taken as they are: to standardise them would make a dimension that a
    model leaves unused, and that holds nothing but noise, as important as the others. Of classes with equally many
    votes, the one with the nearest neighbour wins. For each seed the number of neighbours is chosen among `neighbours`
    on held-out training examples.

    Squared distances are computed in float32: two neighbours whose squared distances differ by less than about 1e-6 of
    the codes' own squares may change places.

    Parameters
    ----------
    examples, held_out, seeds
        See `PostHocProbe`.
    neighbours : sequence of int
        What to choose from, each at least 1; more than there are training examples means all of them.

    Raises
    ------
    UserError
        If a parameter is out of its range.
    """

    key = "knn_probe"

    def __init__(
        self,
        examples: int | None = None,
        held_out: float = 0.1,
        seeds: int = 3,
        neighbours: Sequence[int] = (1, 3, 5, 10, 20),
    ) -> None:
        super().__init__(examples, held_out, seeds)
        if not isinstance(neighbours, list | tuple) or not neighbours:
            raise UserError(f"KNNProbe.neighbours must be a list of whole numbers, not {checks.said(neighbours)}")
        for count in neighbours:
            checks.whole("KNNProbe.neighbours", count, at_least=1)
        self.neighbours = tuple(neighbours)

    def measure(self, codes: Codes) -> Result:
        """Find the neighbours and count their votes.

        Returns
        -------
        Result
            See `PostHocProbe.result`; the setting is ``neighbours``.

        Raises
        ------
        EvaluationError
            If there is only one training example.
        """
        train, test = centred(codes.train, codes.test)
        labels, most = codes.train_labels, max(self.neighbours)
        splits, held_out, chosen = list(self.splits(len(train))), [], []
        queries = sum(len(held) for _, held in splits) + len(test)
        with progress(f"nearest of {len(train):,} codes", queries) as advance:
            for fit, held in splits:
                voters = nearest(train[fit], labels[fit], train[held], most, advance, codes.device)
                right = [percent_right(elected(voters[:, :k], codes.classes), labels[held]) for k in self.neighbours]
                held_out.append(max(right))
                chosen.append(self.neighbours[int(np.argmax(right))])
            voters = nearest(train, labels, test, most, advance, codes.device)
        predictions = np.stack([elected(voters[:, :k], codes.classes) for k in chosen])
        return self.result(codes, predictions, held_out, "neighbours", chosen)


def centred(train: Floats, test: Floats) -> tuple[Floats, Floats]:
    """Return codes less the training mean, in units of the largest training code: no product overflows."""
    extent = max(train.max(), -train.min()) or 1
    train, test = train / extent, test / extent
    mean = train.mean(0)
    return train - mean, test - mean


def nearest(
    train: Floats, labels: Labels, queries: Floats, count: int, advance: Advance, device: str = "cpu"
) -> Labels:
    """Return the labels of the `count` codes nearest to each query, or of all, from the nearest on: ``[Q, count]``."""
    known, found = torch.from_numpy(train).to(device), []
    squares = known.square().sum(1)
    for part in torch.split(torch.from_numpy(queries), max(1, DISTANCES // len(train))):
        # Less the query's own square, which all its distances share.
        distance = torch.addmm(squares, part.to(device), known.T, alpha=-2)
        found.append(distance.topk(min(count, len(train)), largest=False).indices.cpu())
        advance(len(part))
    voters: Labels = labels[torch.cat(found).numpy()]
    return voters


def elected(voters: Labels, classes: int) -> Labels:
    """Return the class that most of the voters ``[Q, K]`` are of; of several such classes, that of the first voter."""
    queries = np.arange(len(voters))[:, None]
    votes = np.zeros((len(voters), classes), np.int64)
    np.add.at(votes, (queries, voters), 1)
    first = votes[queries, voters].argmax(1)
    winners: Labels = voters[queries[:, 0], first]
    return winners
