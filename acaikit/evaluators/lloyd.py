"""K-means from many starts: scikit-learn's on a CPU, and on a GPU Lloyd's algorithm for many restarts at once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import sklearn.cluster
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits
from torch import Tensor

from acaikit.evaluators.codes import Floats, Labels

TOLERANCE = 1e-4
"""scikit-learn's default, which the authors' program leaves as it is."""
TOGETHER = 100
"""Restarts that a GPU does at once."""
CELLS = 2**26
"""Distances that are held at a time: a quarter of a gigabyte, and about as much twice for what is made of them."""

Rows = NDArray[np.int64]
Ended = tuple[float, Floats]
"""The inertia and the centres, ``[K, D]``, that a restart ends with."""


def from_starts(x: Floats, starts: Rows, iterations: int, device: str) -> Iterator[Ended]:
    """Yield what each restart of K-means ends with, in order.

    Parameters
    ----------
    x : ndarray
        What is clustered, float32 ``[N, D]``.
    starts : ndarray
        The rows of `x` that are each restart's first centres, int64 ``[R, K]``.
    iterations : int
        The most often that a restart moves its centres.
    device : str
        Where to compute: on "cpu" scikit-learn does, which is faster there.
    """
    return threaded(x, starts, iterations) if device == "cpu" else batched(x, starts, iterations, device)


def threaded(x: Floats, starts: Rows, iterations: int) -> Iterator[Ended]:
    """Yield what scikit-learn's restarts end with, as many at a time as torch has threads."""

    def fit(rows: Rows) -> Ended:
        found = sklearn.cluster.KMeans(len(rows), init=x[rows], n_init=1, max_iter=iterations, tol=TOLERANCE).fit(x)
        return float(found.inertia_), found.cluster_centers_

    threads = torch.get_num_threads()
    # One thread for each restart: several would add up in the order in which they end, which is another each time.
    with (
        warnings.catch_warnings(action="ignore", category=ConvergenceWarning),
        threadpool_limits(1),
        ThreadPoolExecutor(threads, initializer=threadpool_limits, initargs=(1,)) as pool,
    ):
        yield from pool.map(fit, starts)


def batched(x: Floats, starts: Rows, iterations: int, device: torch.device | str) -> Iterator[Ended]:
    """Yield what the restarts of `lloyd` on `device` end with, 100 of them at a time."""
    on_device = torch.from_numpy(x).to(device)
    for rows in torch.split(torch.from_numpy(starts).to(device), TOGETHER):
        centres, inertia = lloyd(on_device, on_device[rows], iterations, TOLERANCE)
        yield from zip(inertia.tolist(), centres.cpu().numpy(), strict=True)


def nearest(x: Floats, centres: Floats) -> Labels:
    """Return the nearest of the centres ``[K, D]`` to each row of `x` ``[N, D]``, int64 ``[N]``."""
    to = centres.astype(np.float64)
    found: Labels = (np.square(to).sum(1) - 2 * (x @ to.T)).argmin(1)
    return found


def lloyd(x: Tensor, starts: Tensor, iterations: int, tolerance: float) -> tuple[Tensor, Tensor]:
    """Return the centres that each restart of K-means ends with, and its inertia.

    Centre and assignment are improved in turn until no example changes its cluster, the centres of a restart move by no
    more than the tolerance, or there were enough iterations. The rules are scikit-learn's, so that the same starts
    reach the same inertia.

    Parameters
    ----------
    x : Tensor
        What is clustered, float32 ``[N, D]``.
    starts : Tensor
        The first centres of R restarts, float32 ``[R, K, D]`` on the same device.
    iterations : int
        The most often that centres are moved.
    tolerance : float
        Squared distances that the centres of a restart move, summed over its centres and divided by the variance of
        `x`, averaged over its columns.

    Returns
    -------
    centres : Tensor
        float32 ``[R, K, D]``.
    inertia : Tensor
        float64 ``[R]``: squared distances to the nearest centre, summed over `x`.
    """
    found, inertia = torch.empty_like(starts), starts.new_empty(len(starts), dtype=torch.float64)
    still = tolerance * x.var(0, correction=0).mean()
    active, centres = torch.arange(len(starts), device=x.device), starts
    labels = torch.full((len(x), len(starts)), -1, device=x.device)
    settled = torch.zeros(len(starts), dtype=torch.bool, device=x.device)
    for iteration in range(iterations + 1):
        before, (labels, sums, counts, distance) = labels, _assign(x, centres)
        done = settled | (labels == before).all(0) | (iteration == iterations)
        found[active[done]], inertia[active[done]] = centres[done], distance[done]
        go = ~done
        active, labels, centres, sums, counts = active[go], labels[:, go], centres[go], sums[go], counts[go]
        if not len(active):
            break
        for restart in (counts == 0).any(1).nonzero().flatten().tolist():
            _relocate(x, centres[restart], labels[:, restart], sums[restart], counts[restart])
        moved = _means(sums, counts)
        settled = (moved - centres).square().sum((1, 2)) <= still
        centres = moved
    return found, inertia


def _assign(x: Tensor, centres: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return each example's nearest centre ``[N, R]``, the clusters' sums and counts, and the restarts' inertia."""
    restarts, clusters, _ = centres.shape
    flat = centres.flatten(0, 1)
    norms = flat.square().sum(1)
    sums, counts = torch.zeros_like(flat), flat.new_zeros(len(flat))
    labels, inertia = [], flat.new_zeros(restarts, dtype=torch.float64)
    for part in torch.split(x, max(1, CELLS // len(flat))):
        # |x - c|^2 without |x|^2, which is the same for every centre.
        distance = torch.addmm(norms, part, flat.T, alpha=-2).view(len(part), restarts, clusters)
        least, nearest = distance.min(2)
        labels.append(nearest)
        one_hot = torch.zeros_like(distance).scatter_(2, nearest[..., None], 1).view(len(part), -1)
        sums += one_hot.T @ part
        counts += one_hot.sum(0)
        inertia += least.sum(0, dtype=torch.float64) + part.square().sum(dtype=torch.float64)
    return torch.cat(labels), sums.view(centres.shape), counts.view(restarts, clusters), inertia


def _relocate(x: Tensor, centres: Tensor, labels: Tensor, sums: Tensor, counts: Tensor) -> None:
    """Give each empty cluster of a restart one of the examples that are farthest from their centres."""
    empty = (counts == 0).nonzero().flatten()
    distance = (x - centres[labels]).square().sum(1)
    far = distance.topk(len(empty)).indices
    if distance.max() == 0:
        return
    sums.index_add_(0, labels[far], x[far], alpha=-1)
    counts.index_add_(0, labels[far], torch.ones_like(counts[empty]), alpha=-1)
    sums[empty], counts[empty] = x[far], 1.0


def _means(sums: Tensor, counts: Tensor) -> Tensor:
    """Return the centres; that of a cluster that is still empty is the largest one's."""
    means = sums / counts.clamp(min=1)[..., None]
    largest = means.take_along_dim(counts.argmax(1)[:, None, None], 1)
    return torch.where((counts == 0)[..., None], largest, means)
