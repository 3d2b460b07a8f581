from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from acaikit.errors import EvaluationError
from acaikit.report.latent_map import MARKS, TEN, flatten, latent_map


def codes(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def test_pca_is_that_of_the_covariance() -> None:
    x = codes(40, 6) * np.array([5, 3, 1, 1, 1, 1], np.float32)
    found = flatten(x, None, (), 0)
    values, vectors = np.linalg.eigh(np.cov(x.T.astype(np.float64)))
    np.testing.assert_allclose(found.explained, values[::-1][:2] / values.sum(), rtol=1e-4)
    expected = (x - x.mean(0)) @ vectors[:, ::-1][:, :2]
    np.testing.assert_allclose(np.abs(found.pca), np.abs(expected), atol=1e-4)
    assert found.tsne.shape == (40, 2)
    assert np.isfinite(found.tsne).all()


def test_tsne_keeps_clusters_together() -> None:
    x = np.concatenate([codes(30, 5, i) + 40 * i for i in range(3)])
    flat = flatten(x, None, (), 0).tsne
    middles = np.array([flat[30 * i : 30 * i + 30].mean(0) for i in range(3)])
    nearest = ((flat[:, None] - middles) ** 2).sum(-1).argmin(1)
    np.testing.assert_array_equal(nearest, np.repeat(range(3), 30))


@pytest.mark.parametrize(("n", "d"), [(3, 4), (5, 1), (10, 2), (40, 1)])
def test_few_codes_and_few_dimensions(n: int, d: int) -> None:
    found = flatten(codes(n, d), None, (), 0)
    assert found.perplexity == min(30, (n - 1) / 3)
    assert np.isfinite(found.tsne).all() and np.isfinite(found.pca).all()
    if d <= 2:
        np.testing.assert_allclose(pdist(found.pca), pdist(codes(n, d).astype(np.float64)), atol=1e-5)


def test_duplicates_have_a_place() -> None:
    assert np.isfinite(flatten(np.repeat(codes(2, 3), 10, 0), None, (), 0).tsne).all()


def test_what_has_no_map() -> None:
    for bad, words in (
        (np.full((5, 2), np.nan), "5 of 5 codes hold NaN"),
        (codes(2, 3), "three codes or more, not 2"),
        (np.ones((9, 3)), "all 9 codes are the same"),
    ):
        with pytest.raises(EvaluationError, match=words):
            flatten(bad, None, (), 0)


@pytest.mark.parametrize("labels", [None, np.arange(30) % 12, np.zeros(30, int)])
def test_maps_are_drawn_and_are_the_same_bytes(tmp_path: Path, labels: np.ndarray | None) -> None:
    found = [flatten(codes(30, 4), labels, ("zero", "$one"), seed=1)] * 2
    again = [flatten(codes(30, 4), labels, ("zero", "$one"), seed=1)] * 2
    for ending in ("png", "pdf", "svg"):
        for name, maps in (("a", found), ("b", again)):
            latent_map(maps, tmp_path / f"{name}.{ending}", title="t", names=["first", "second"])
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_twenty_classes_look_different() -> None:
    assert len({(TEN[i % 10], MARKS[(i + i // 10) % len(MARKS)]) for i in range(20)}) == 20
