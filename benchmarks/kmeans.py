"""K-means from many starts: which algorithm is fastest, and what the tolerance costs and saves.

    python -m benchmarks.kmeans [--columns 32 256] [--restarts 4] [--rounds 3] [--threads N]

The codes are MNIST's first 60,000 training images, whitened, of which the directions of largest variance are kept.
Every program gets the same starts, in turn, round after round; the medians over rounds are compared. Wall-clock time
says how long one waits, the processor's time how long one would on a machine with nothing else to do.

- acaikit: scikit-learn's Lloyd, a restart for each thread.
- lloyd, elkan: scikit-learn with its own threads, all restarts in one fit.
- batched: `lloyd` in torch, all restarts at once, on the CPU and, where there is one, on a GPU.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import sklearn.cluster
import torch

from acaikit.data import MNIST
from acaikit.evaluators import lloyd
from acaikit.evaluators.codes import Codes, Floats
from acaikit.evaluators.whitening import whiten

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


def compare(x: Floats, starts: lloyd.Rows, rounds: int) -> None:
    """Print each program's time for a restart, and what a thousand would take."""
    todo = programs(x, starts)
    wall: dict[str, list[float]] = {name: [] for name in todo}
    processor: dict[str, list[float]] = {name: [] for name in todo}
    for _ in range(rounds):
        for name, program in todo.items():
            before = time.perf_counter(), time.process_time()
            program()
            wall[name].append((time.perf_counter() - before[0]) / len(starts))
            processor[name].append((time.process_time() - before[1]) / len(starts))
    for name in todo:
        waited, worked = statistics.median(wall[name]), statistics.median(processor[name])
        print(
            f"  {name:14} {waited:7.2f} s a restart, {1000 * waited / 60:5.1f} min for 1,000; processor {worked:6.2f} s"
        )


def tolerances(x: Floats, starts: lloyd.Rows) -> None:
    """Print what stopping earlier or later does to the iterations and to the inertia."""
    for tolerance in (0, 1e-6, 1e-5, 1e-4, 1e-3):
        fits = [
            sklearn.cluster.KMeans(CLUSTERS, init=x[rows], n_init=1, max_iter=ITERATIONS, tol=tolerance).fit(x)
            for rows in starts
        ]
        inertia = np.array([fit.inertia_ for fit in fits])
        if tolerance == 0:
            last = inertia
        iterations = np.mean([fit.n_iter_ for fit in fits])
        mean, best = 100 * np.mean(inertia / last - 1), 100 * (inertia.min() / last.min() - 1)
        print(f"  tolerance {tolerance:5.0e}: {iterations:4.0f} iterations, inertia +{mean:.4f} %, best +{best:.4f} %")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--columns", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--restarts", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    # The CPU's caches want less at a time than a GPU.
    lloyd.CELLS = lloyd.CELLS if torch.cuda.is_available() else 2**18
    dataset = MNIST()
    dataset.prepare()
    raw = Codes.raw(dataset, 60_000)
    whitened, _ = whiten(raw.train, raw.test)
    for columns in arguments.columns:
        x = np.ascontiguousarray(whitened[:, :columns])
        rng = np.random.default_rng(0)
        starts = np.stack([rng.choice(len(x), CLUSTERS, replace=False) for _ in range(arguments.restarts)])
        print(f"{len(x):,} x {columns}, {arguments.restarts} restarts, {torch.get_num_threads()} threads")
        compare(x, starts, arguments.rounds)
        tolerances(x, starts)


if __name__ == "__main__":
    main()
