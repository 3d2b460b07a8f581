"""K-means from many starts: which algorithm is fastest, and what the tolerance costs and saves.

    python -m benchmarks.kmeans                     # MNIST in the data folder; two or three minutes
    python -m benchmarks.kmeans --columns 32        # less than one

The codes are MNIST's first 60,000 training images, whitened, of which the directions of largest variance are kept.
Every program gets the same starts, in turn, round after round; the medians over rounds are compared. Wall-clock time
says how long one waits, the processor's time how long one would on a machine with nothing else to do.

- acaikit: scikit-learn's Lloyd, a restart for each thread.
- lloyd, elkan: scikit-learn with its own threads, all restarts in one fit.
- batched: `lloyd` in torch, all restarts at once, on the CPU and, where there is one, on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import sklearn.cluster
import torch

from acaikit.data import MNIST
from acaikit.evaluators import lloyd
from acaikit.evaluators.codes import Codes, Floats
from acaikit.evaluators.whitening import whiten
from benchmarks.timing import arguments, clocked, medians, publish, spread, table

CLUSTERS = 10
ITERATIONS = 1000


def one_fit(x: Floats, starts: lloyd.Rows, algorithm: str) -> None:
    """All restarts in one call, so that scikit-learn checks and copies the data once."""
    drawn = iter(starts)
    fit = sklearn.cluster.KMeans(
        CLUSTERS,
        init=lambda x, clusters, random_state: x[next(drawn)],
        n_init=len(starts),
        max_iter=ITERATIONS,
        algorithm=algorithm,
    )
    fit.fit(x)


def programs(x: Floats, starts: lloyd.Rows) -> dict[str, Callable[[], object]]:
    """Return what is compared, by name."""
    found: dict[str, Callable[[], object]] = {
        "acaikit": lambda: list(lloyd.threaded(x, starts, ITERATIONS)),
        "lloyd": lambda: one_fit(x, starts, "lloyd"),
        "elkan": lambda: one_fit(x, starts, "elkan"),
        "batched, CPU": lambda: list(lloyd.batched(x, starts, ITERATIONS, "cpu")),
    }
    if torch.cuda.is_available():
        found["batched, GPU"] = lambda: list(lloyd.batched(x, starts, ITERATIONS, "cuda"))
    return found


def compare(x: Floats, starts: lloyd.Rows, rounds: int) -> str:
    """Return each program's time for a restart, and what a thousand would take."""
    times, works = clocked(programs(x, starts), rounds, warm=0)
    wall, processor = medians(times), medians(works)
    each = 1 / len(starts)
    rows = [
        (
            name,
            f"{each * wall[name]:.2f}",
            spread(times[name], each, 2),
            f"{each * processor[name]:.2f}",
            f"{1000 * each * wall[name] / 60:.1f}",
        )
        for name in times
    ]
    return table(["a restart", "seconds", "half of the rounds", "processor's seconds", "minutes for 1,000"], rows)


def tolerances(x: Floats, starts: lloyd.Rows) -> str:
    """Return what stopping earlier or later does to the iterations and to the inertia."""
    fits = {
        tolerance: [
            sklearn.cluster.KMeans(CLUSTERS, init=x[rows], n_init=1, max_iter=ITERATIONS, tol=tolerance).fit(x)
            for rows in starts
        ]
        for tolerance in (0, 1e-5, 1e-4, 1e-3)
    }
    inertia = {tolerance: np.array([fit.inertia_ for fit in found]) for tolerance, found in fits.items()}
    last = inertia[0]
    rows = [
        (
            f"{tolerance:g}",
            f"{np.mean([fit.n_iter_ for fit in found]):.0f}",
            f"{100 * np.mean(inertia[tolerance] / last - 1):+.5f} %",
            f"{100 * (inertia[tolerance].min() / last.min() - 1):+.5f} %",
        )
        for tolerance, found in fits.items()
    ]
    return table(["tolerance", "iterations", "inertia of a restart", "inertia of the best"], rows)


def main() -> None:
    """Measure and publish."""
    parser = arguments(__doc__, "kmeans", rounds=2)
    parser.add_argument("--columns", type=int, nargs="+", default=[32, 256], help="of the codes (default: 32 256)")
    parser.add_argument("--restarts", type=int, default=2, help="the same for all programs (default: 2)")
    options = parser.parse_args()
    # The CPU's caches want less at a time than a GPU.
    lloyd.CELLS = lloyd.CELLS if torch.cuda.is_available() else 2**18
    dataset = MNIST()
    dataset.prepare()
    raw = Codes.raw(dataset, 60_000)
    whitened, _ = whiten(raw.train, raw.test)
    parts = []
    for columns in options.columns:
        x = np.ascontiguousarray(whitened[:, :columns])
        rng = np.random.default_rng(0)
        starts = np.stack([rng.choice(len(x), CLUSTERS, replace=False) for _ in range(options.restarts)])
        parts += [f"## {len(x):,} x {columns}", compare(x, starts, options.rounds), tolerances(x, starts)]
    counted = f"{CLUSTERS} clusters, {options.restarts} restarts, {options.rounds} rounds, scikit-learn"
    publish(options, "K-means from many starts", f"{counted} {sklearn.__version__}.", *parts)


if __name__ == "__main__":
    main()
