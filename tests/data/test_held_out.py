from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from acaikit.data.held_out import held_out
from acaikit.errors import DataError


@given(count=st.integers(0, 500), share=st.floats(0, 1))
def test_every_example_is_on_one_side(count: int, share: float) -> None:
    assume(0 < round(count * share) < count)
    train, test = held_out(count, share)
    assert train.dtype == test.dtype == np.int64
    assert sorted([*train, *test]) == list(range(count))
    assert (np.diff(train) > 0).all() and (np.diff(test) > 0).all()
    assert abs(len(test) - count * share) <= 0.5


def test_no_seed_moves_it() -> None:
    first = held_out(100, 0.3)
    np.random.seed(5)
    torch.manual_seed(5)
    for a, b in zip(first, held_out(100, 0.3), strict=True):
        assert np.array_equal(a, b)
    # As it was when it was first released: another draw would move the test sets of everybody's runs.
    assert held_out(20, 0.25)[1].tolist() == [2, 4, 6, 13, 19]


def test_it_is_drawn_from_everywhere() -> None:
    _, test = held_out(10_000, 0.1)
    assert 4700 < test.mean() < 5300
    assert len(set(np.diff(test).tolist())) > 10


@pytest.mark.parametrize(("count", "share"), [(0, 0.1), (1, 0.5), (4, 0.1), (100, 0.0), (100, 1.0), (3, 0.9)])
def test_neither_side_is_empty(count: int, share: float) -> None:
    with pytest.raises(DataError, match=f"of {count} examples"):
        held_out(count, share)
