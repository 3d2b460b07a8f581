"""How well K-means finds the classes among the codes (paper, section 4.3)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from acaikit import checks
from acaikit.errors import EvaluationError
from acaikit.evaluators.base import Evaluator, Result
from acaikit.evaluators.codes import Codes, Floats, Labels
from acaikit.evaluators.intervals import interval
from acaikit.evaluators.lloyd import from_starts, nearest
from acaikit.evaluators.matching import match
from acaikit.evaluators.of_codes import OfCodes
from acaikit.evaluators.whitening import whiten
from acaikit.progress import progress

SETS = 5
"""Sets of restarts that a strict measurement divides the paper's restarts into."""


@dataclass(frozen=True)
class Clustering:
    """The best of many restarts: each example's cluster, int64 ``[N]`` and ``[M]``, and the training inertia."""

    train: Labels
    test: Labels
    inertia: float


class KMeans(OfCodes):
    """Clusters the codes as the paper does, and maps clusters to classes in the way that suits the test set best.

    The codes are whitened (see `whiten`). K-means with as many clusters as classes starts from random training codes;
    of all restarts the one of lowest training inertia is taken. A restart ends when no training example changes its
    cluster or the centres' squared movement is at most 1e-4 of the codes' mean variance. The map is found on the very
    test examples that it is judged by, which flatters: see `StrictKMeans`.

    The result depends on the codes, `restarts`, `iterations` and `seed`, but not on the number of threads. On a GPU
    sums are rounded differently, so that a restart may there end a little elsewhere.

    Parameters
    ----------
    examples : int, optional
        How many training examples are clustered, from the first on. None clusters all.
    restarts : int
        How often K-means starts anew.
    iterations : int
        The most often that a restart moves its centres.
    seed : int
        What the restarts' first centres are drawn from.
    whitened : bool
        False clusters the codes as they are, which the authors' program can do too.

    Raises
    ------
    UserError
        If `examples`, `restarts` or `iterations` is below 1, or `seed` below 0.
    """

    key = "kmeans"

    def __init__(
        self,
        examples: int | None = 60_000,
        restarts: int = 1000,
        iterations: int = 1000,
        seed: int = 0,
        whitened: bool = True,
    ) -> None:
        super().__init__(examples)
        name = type(self).__name__
        checks.whole(f"{name}.restarts", restarts, at_least=1)
        checks.whole(f"{name}.iterations", iterations, at_least=1)
        checks.whole(f"{name}.seed", seed, at_least=0)
        checks.instance(f"{name}.whitened", whitened, bool)
        self.restarts, self.iterations, self.seed, self.whitened = restarts, iterations, seed, whitened

    def of_raw_data(self) -> KMeans:
        """Return this one without whitening, which makes pixels that hardly vary as important as the others.

        30 restarts on the pixels of MNIST got 51.7 % without it and 21.0 % with it; the paper's 53.2 is another
        paper's number.
        """
        other = copy.copy(self)
        other.whitened = False
        return other

    def under(self, protocol: str) -> Evaluator:
        """Return this one, or a `StrictKMeans` with as many restarts in all."""
        if protocol == "paper":
            return self
        restarts = max(1, self.restarts // SETS)
        return StrictKMeans(self.examples, restarts, self.iterations, self.seed, self.whitened)

    def measure(self, codes: Codes) -> Result:
        """Cluster the codes.

        Returns
        -------
        Result
            ``accuracy``: percentage of the test examples whose cluster is mapped to their class. ``nmi``: mutual
            information of clusters and classes over the mean of their entropies, in [0, 1]. ``ari``: adjusted Rand
            index, 1 at best and 0 by chance. Both are of the test set. ``inertia``: squared distances to the nearest
            centre, summed over the training set. ``empty``: clusters without a test example. Arrays: the clusters
            train_assignments ``[N]`` and test_assignments ``[M]``, the classes test_predictions and test_labels
            ``[M]``.

        Raises
        ------
        EvaluationError
            If the distinct training codes are fewer than the clusters.
        """
        [found] = self._cluster(codes, sets=1)
        predictions = match(found.test, codes.test_labels, codes.classes)[found.test]
        scores = {
            "accuracy": 100 * float((predictions == codes.test_labels).mean()),
            "nmi": float(normalized_mutual_info_score(codes.test_labels, found.test)),
            "ari": float(adjusted_rand_score(codes.test_labels, found.test)),
            "inertia": found.inertia,
            "empty": float(codes.classes - len(np.unique(found.test))),
        }
        return Result(scores, _arrays(codes, found.train, found.test, predictions))

    def _cluster(self, codes: Codes, sets: int) -> list[Clustering]:
        """Return the best of each of `sets` independent sets of restarts."""
        distinct = _distinct(codes.train, codes.classes)
        if distinct < codes.classes:
            raise EvaluationError(
                f"{codes.classes} clusters need as many distinct training codes or more, but there "
                f"{'is' if distinct == 1 else 'are'} only {distinct:,} among {len(codes.train):,}: the codes have "
                f"collapsed, or {type(self).__name__}.examples is too small"
            )
        train, test = whiten(codes.train, codes.test) if self.whitened else (codes.train, codes.test)
        found = []
        with progress(f"K-means, {sets * self.restarts:,} restarts", sets * self.restarts) as advance:
            for number in range(sets):
                rng = np.random.default_rng([self.seed, number])
                rows = [rng.choice(len(train), codes.classes, replace=False) for _ in range(self.restarts)]
                ended = []
                for inertia, centres in from_starts(train, np.stack(rows), self.iterations, codes.device):
                    ended.append((inertia, centres))
                    advance(1)
                _, best = min(ended, key=itemgetter(0))
                in_train = nearest(train, best)
                inertia = float(np.square(train - best[in_train], dtype=np.float64).sum())
                found.append(Clustering(in_train, nearest(test, best), inertia))
        return found


def _distinct(codes: Floats, enough: int) -> int:
    """Return how many different codes there are; where there are `enough` or more, a number of at least that."""
    found: set[bytes] = set()
    for row in codes:
        found.add((row + 0.0).tobytes())  # -0.0 + 0.0 is 0.0
        if len(found) >= enough:
            break
    return len(found)


def _arrays(codes: Codes, train: Labels, test: Labels, predictions: Labels) -> dict[str, NDArray[Any]]:
    """Return the arrays of a result, in integers as small as the number of classes lets them be."""
    arrays = {
        "train_assignments": train,
        "test_assignments": test,
        "test_predictions": predictions,
        "test_labels": codes.test_labels,
    }
    small = np.min_scalar_type(codes.classes - 1)
    return {name: array.astype(small) for name, array in arrays.items()}


class StrictKMeans(KMeans):
    """Clusters the codes as `KMeans`, but maps clusters to classes by the training labels, and says how sure it is.

    The test set is looked at once, to count what is right. All is done with several independent sets of restarts, and
    the interval tells what other test examples and other sets might have given.

    Parameters
    ----------
    examples, restarts, iterations, seed, whitened
        See `KMeans`; `restarts` are those of each set. 5 sets of 200 take as long as the paper's 1,000.
    seeds : int
        Number of sets.

    Raises
    ------
    UserError
        If `examples`, `restarts`, `iterations` or `seeds` is below 1, or `seed` below 0.
    """

    key = "kmeans_strict"

    def __init__(
        self,
        examples: int | None = 60_000,
        restarts: int = 200,
        iterations: int = 1000,
        seed: int = 0,
        whitened: bool = True,
        seeds: int = 5,
    ) -> None:
        super().__init__(examples, restarts, iterations, seed, whitened)
        checks.whole("StrictKMeans.seeds", seeds, at_least=1)
        self.seeds = seeds

    def under(self, protocol: str) -> Evaluator:
        """Return this one, or a `KMeans` with as many restarts in all."""
        if protocol == "strict":
            return self
        return KMeans(self.examples, self.restarts * self.seeds, self.iterations, self.seed, self.whitened)

    def measure(self, codes: Codes) -> Result:
        """Cluster the codes.

        Returns
        -------
        Result
            ``accuracy``, ``accuracy_low``, ``accuracy_high``: mean over the sets in percent, with its 95 % interval
            (see `interval`); ``nmi``, ``ari``: means over the sets. Arrays as those of `KMeans.measure`, of which the
            first three have one row for each set.

        Raises
        ------
        EvaluationError
            If the distinct training codes are fewer than the clusters.
        """
        found = self._cluster(codes, self.seeds)
        train, test = np.stack([one.train for one in found]), np.stack([one.test for one in found])
        maps = [match(one.train, codes.train_labels, codes.classes) for one in found]
        predictions = np.stack([of_cluster[one.test] for of_cluster, one in zip(maps, found, strict=True)])
        accuracy, low, high = interval(predictions == codes.test_labels, self.seed)
        scores = {
            "accuracy": accuracy,
            "accuracy_low": low,
            "accuracy_high": high,
            "nmi": float(np.mean([normalized_mutual_info_score(codes.test_labels, one) for one in test])),
            "ari": float(np.mean([adjusted_rand_score(codes.test_labels, one) for one in test])),
        }
        return Result(scores, _arrays(codes, train, test, predictions))
