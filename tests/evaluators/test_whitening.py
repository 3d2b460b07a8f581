from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from acaikit.errors import EvaluationError
from acaikit.evaluators.whitening import whiten


def correlated(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(rows, columns)) @ rng.normal(size=(columns, columns))
    return (mixed * np.logspace(0, 2, columns) + 5).astype(np.float32)


def test_training_codes_have_unit_covariance_up_to_their_number() -> None:
    train, _ = whiten(correlated(500, 8), correlated(20, 8, seed=1))
    assert train.dtype == np.float32
    assert train.shape == (500, 8)
    assert_allclose(train.mean(0), 0, atol=1e-7)
    assert_allclose(500 * np.cov(train.T, bias=True), np.eye(8), atol=1e-5)


def test_it_is_the_formula() -> None:
    train, test = correlated(60, 5), correlated(30, 5, seed=1)
    mean = train.mean(0, dtype=np.float64)
    _, s, vt = np.linalg.svd(train - mean, full_matrices=False)
    for found, codes in zip(whiten(train, test), (train, test), strict=True):
        wanted = (codes - mean) @ vt.T / (s + 1e-5)
        assert found.dtype == np.float32
        # The sign of a singular vector is arbitrary.
        assert_allclose(np.abs(found), np.abs(wanted), rtol=2e-4, atol=1e-6)
        assert_allclose(found @ found.T, wanted @ wanted.T, rtol=2e-4, atol=1e-5)


def test_the_epsilon_holds_small_directions_back() -> None:
    rng = np.random.default_rng(0)
    spread = np.linalg.qr(rng.normal(size=(40, 2)))[0]
    spread = np.linalg.qr(spread - spread.mean(0))[0]
    train, _ = whiten((spread * [1, 1e-5]).astype(np.float32), np.zeros((1, 2), np.float32))
    assert_allclose(np.square(train).sum(0), [1, 0.25], rtol=1e-3)


def test_directions_in_which_training_codes_do_not_vary_are_left_out() -> None:
    codes = correlated(100, 4)
    wide = np.hstack([codes, codes[:, :2], np.full((100, 3), 7, np.float32)])
    other = np.hstack([codes, -codes[:, :2], np.zeros((100, 3), np.float32)])
    train, test = whiten(wide, other)
    assert train.shape == test.shape == (100, 4)
    assert_allclose(train.T @ train, np.eye(4), atol=1e-5)


def test_fewer_examples_than_dimensions() -> None:
    train, test = whiten(correlated(6, 20), correlated(9, 20, seed=1))
    assert train.shape == (6, 5)
    assert test.shape == (9, 5)
    assert_allclose(train.T @ train, np.eye(5), atol=1e-5)


@pytest.mark.parametrize("rows", [1, 50])
def test_one_point_cannot_be_whitened(rows: int) -> None:
    codes = np.full((rows, 3), 0.1, np.float32)
    with pytest.raises(EvaluationError, match=f"all {rows} training codes are one point"):
        whiten(codes, codes)
