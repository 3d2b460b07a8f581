from __future__ import annotations

import warnings

import numpy as np
import pytest
import sklearn.cluster
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_info, threadpool_limits

from acaikit.evaluators import lloyd as module
from acaikit.evaluators.lloyd import batched, lloyd, nearest, threaded


def cloud(rows: int = 600, columns: int = 5, seed: int = 0) -> np.ndarray:
    """Overlapping blobs, on which restarts end in different places."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(6, columns))[rng.integers(6, size=rows)] + rng.normal(size=(rows, columns))).astype("f4")


def draw(x: np.ndarray, restarts: int, clusters: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.choice(len(x), clusters, replace=False) for _ in range(restarts)])


def by_scikit_learn(x: np.ndarray, centres: np.ndarray, iterations: int, tolerance: float) -> tuple[float, np.ndarray]:
    # In float64, so that the oracle's own rounding is out of the way.
    fit = sklearn.cluster.KMeans(len(centres), init=centres, n_init=1, max_iter=iterations, tol=tolerance)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        fit.fit(x.astype(np.float64))
    return fit.inertia_, fit.cluster_centers_


def compare(x: np.ndarray, starts: np.ndarray, iterations: int = 300, tolerance: float = 1e-4) -> None:
    centres, inertia = lloyd(torch.from_numpy(x), torch.from_numpy(starts), iterations, tolerance)
    assert centres.shape == starts.shape
    for mine, total, start in zip(centres.numpy(), inertia.tolist(), starts, strict=True):
        wanted, theirs = by_scikit_learn(x, start, iterations, tolerance)
        assert total == pytest.approx(wanted, rel=1e-5, abs=1e-6)
        assert_allclose(mine, theirs, atol=1e-4)


@pytest.mark.parametrize("iterations", [1, 2, 5, 300])
@pytest.mark.parametrize("tolerance", [0, 1e-4, 1e-2])
def test_the_same_starts_reach_the_inertia_and_centres_of_scikit_learn(iterations: int, tolerance: float) -> None:
    x = cloud()
    compare(x, x[draw(x, 12, 6)], iterations, tolerance)


def test_it_ends_when_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    passes, real = [], module._assign
    monkeypatch.setattr(module, "_assign", lambda *args: passes.append(1) or real(*args))
    x = cloud()
    [start] = x[draw(x, 1, 6)]
    lloyd(torch.from_numpy(x), torch.from_numpy(start[None]), 300, 0)
    theirs = sklearn.cluster.KMeans(6, init=start, n_init=1, tol=0).fit(x.astype(np.float64))
    assert len(passes) == theirs.n_iter_


def test_restarts_that_end_early_leave_the_others_alone() -> None:
    x = cloud()
    starts = torch.from_numpy(x[draw(x, 8, 6)])
    together = lloyd(torch.from_numpy(x), starts, 300, 0)
    assert len({round(total, 2) for total in together[1].tolist()}) > 1
    for number, start in enumerate(starts):
        centres, inertia = lloyd(torch.from_numpy(x), start[None], 300, 0)
        assert inertia[0].item() == pytest.approx(together[1][number].item(), rel=1e-6)
        assert_allclose(centres[0], together[0][number], atol=1e-5)


def test_rows_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    x = cloud()
    starts = torch.from_numpy(x[draw(x, 4, 6)])
    whole = lloyd(torch.from_numpy(x), starts, 300, 1e-4)
    monkeypatch.setattr(module, "CELLS", 7 * 24)
    parts = lloyd(torch.from_numpy(x), starts, 300, 1e-4)
    assert_allclose(parts[0], whole[0], atol=1e-5)
    assert_allclose(parts[1], whole[1], rtol=1e-6)


@pytest.mark.parametrize("far", [1, 2, 3])
def test_empty_clusters_move_to_the_farthest_examples(far: int) -> None:
    # Distances that all differ: which of two equals is the farthest would be anybody's choice.
    x = cloud(200)
    starts = x[draw(x, 3, 5)]
    starts[:, :far] = 1000 + np.arange(far)[:, None]
    for iterations in (1, 300):
        centres, inertia = lloyd(torch.from_numpy(x), torch.from_numpy(starts), iterations, 1e-4)
        for mine, total, start in zip(centres.numpy(), inertia.tolist(), starts, strict=True):
            wanted, theirs = by_scikit_learn(x, start, iterations, 1e-4)
            assert total == pytest.approx(wanted, rel=1e-5)
            # Which of the empty clusters gets which example is left open.
            assert_allclose(mine[np.lexsort(mine.T)], theirs[np.lexsort(theirs.T)], atol=1e-4)


def test_fewer_distinct_examples_than_clusters() -> None:
    x = np.repeat(np.float32([[0, 0], [3, 4]]), 5, 0)
    centres, inertia = lloyd(torch.from_numpy(x), torch.from_numpy(x[[[0, 1, 5], [0, 1, 2]]]), 100, 1e-4)
    assert_array_equal(inertia, 0)
    assert {tuple(c) for c in centres[1].tolist()} == {(0, 0), (3, 4)}


def test_all_examples_alike() -> None:
    x = torch.ones(6, 2)
    centres, inertia = lloyd(x, x[None, :3], 100, 1e-4)
    assert_array_equal(centres, np.ones((1, 3, 2)))
    assert_allclose(inertia, 0, atol=1e-6)


def test_a_cluster_that_loses_its_only_example_goes_to_the_largest() -> None:
    x = np.float32([[0], [1], [100]])
    centres, _ = lloyd(torch.from_numpy(x), torch.tensor([[[0.0], [70.0], [1000.0]]]), 1, 0)
    assert_array_equal(centres, [[[0.5], [0.5], [100]]])
    compare(x, np.float32([[[0], [70], [1000]]]), iterations=1)


@pytest.mark.parametrize("iterations", [1, 100])
def test_both_ways_end_alike(monkeypatch: pytest.MonkeyPatch, iterations: int) -> None:
    monkeypatch.setattr(module, "TOGETHER", 3)
    x = cloud()
    starts = draw(x, 8, 6)
    one, other = list(threaded(x, starts, iterations)), list(batched(x, starts, iterations, "cpu"))
    assert len(one) == len(other) == 8
    for (inertia, centres), (wanted, theirs), rows in zip(one, other, starts, strict=True):
        assert inertia == pytest.approx(wanted, rel=1e-5)
        assert_allclose(centres, theirs, atol=1e-4)
        assert inertia == pytest.approx(by_scikit_learn(x, x[rows], iterations, 1e-4)[0], rel=1e-5)


def test_the_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = cloud(3000)
    starts, found = draw(x, 6, 6), []
    for threads in (1, 2, 5):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found.append(list(threaded(x, starts, 100)))
    for other in found[1:]:
        for (inertia, centres), (wanted, theirs) in zip(other, found[0], strict=True):
            assert inertia == wanted
            assert_array_equal(centres, theirs)


def test_each_restart_has_one_thread_and_then_all_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[int] = set()

    class Watched(sklearn.cluster.KMeans):
        def fit(self, x: np.ndarray) -> Watched:
            seen.update(info["num_threads"] for info in threadpool_info())
            return super().fit(x)

    monkeypatch.setattr(sklearn.cluster, "KMeans", Watched)
    x = cloud()
    with threadpool_limits(3):
        before = [info["num_threads"] for info in threadpool_info()]
        list(threaded(x, draw(x, 8, 6), 100))
        assert [info["num_threads"] for info in threadpool_info()] == before
    assert 3 in before
    assert seen == {1}


def test_what_is_left_off_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = []

    class Counted(sklearn.cluster.KMeans):
        def fit(self, x: np.ndarray) -> Counted:
            fits.append(1)
            return super().fit(x)

    monkeypatch.setattr(sklearn.cluster, "KMeans", Counted)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    x = cloud(3000)
    running = threaded(x, draw(x, 500, 6), 100)
    next(running)
    running.close()
    assert 1 <= len(fits) < 250


def test_nearest_is_the_smallest_distance() -> None:
    x = cloud() + 100
    centres = x[:6]
    distance = np.linalg.norm(x[:, None].astype(np.float64) - centres[None], axis=2)
    assert_array_equal(nearest(x, centres), distance.argmin(1))
