from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.spatial.distance import pdist

from acaikit.errors import EvaluationError
from acaikit.report import charts
from acaikit.report.latent_map import MARKS, TEN, Map, flatten, latent_map


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


@pytest.fixture
def panels(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were written."""
    found: list[Figure] = []
    save = charts.output.save
    monkeypatch.setattr(charts.output, "save", lambda figure, file: (found.append(figure), save(figure, file)))
    return found


def made(flat: np.ndarray, labels: np.ndarray, *names: str) -> Map:
    return Map(flat, flat[:, ::-1], np.array([0.5, 0.2]), 30.0, labels, names)


def test_a_class_is_named_in_its_thick(panels: list[Figure], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    # One class in two heaps, whose median is where the other class is; and one of a single code.
    heaps = np.concatenate([rng.normal((-50, 0), 1, (40, 2)), rng.normal((50, 0), 3, (41, 2))])
    flat = np.concatenate([heaps, rng.normal(size=(30, 2)), [[0, 30]]])
    labels = np.repeat([0, 1, 2], [81, 30, 1])
    latent_map([made(flat, labels, "torn", "whole", "_one$")], tmp_path / "a.png", title="t", names=["r"])
    for panel, shown in zip(panels[0].axes, (flat, flat[:, ::-1]), strict=True):
        torn, whole, one = (np.array(text.get_position()) for text in panel.texts)
        assert [text.get_text() for text in panel.texts] == ["torn", "whole", "_one$"]
        assert (shown[:40] == torn).all(1).any()
        assert (shown[81:111] == whole).all(1).any()
        np.testing.assert_array_equal(one, shown[-1])
        reach = [np.sort(np.linalg.norm(shown[:81] - p, axis=1))[20] for p in shown[:81]]
        np.testing.assert_array_equal(torn, shown[np.argmin(reach)])


@pytest.mark.parametrize(("classes", "legend"), [(1, True), (12, True), (13, False)])
def test_few_classes_have_a_legend(panels: list[Figure], tmp_path: Path, classes: int, legend: bool) -> None:
    flat, labels = codes(39, 2).astype(float), np.arange(39) % classes
    latent_map([made(flat, labels, "_zero", "$one")] * 2, tmp_path / "a.svg", title="t", names=["r", "s"])
    for panel in panels[0].axes[1::2]:
        found = panel.get_legend()
        assert (found is not None) == legend
        if legend:
            called = [text.get_text() for text in found.get_texts()]
            assert called == ["_zero", "$one", *map(str, range(2, 12))][:classes]
            looks = [(line.get_color(), line.get_marker()) for line in found.get_lines()]
            assert looks == [(TEN[i % 10], MARKS[(i + i // 10) % len(MARKS)]) for i in range(classes)]
