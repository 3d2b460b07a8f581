from __future__ import annotations

from itertools import permutations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from acaikit.evaluators.matching import match


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_no_permutation_is_better(data: st.DataObject) -> None:
    classes = data.draw(st.integers(1, 6))
    pairs = st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1))
    clusters, labels = np.array(data.draw(st.lists(pairs, min_size=1, max_size=40))).T
    found = match(clusters, labels, classes)
    best = max(np.sum(np.array(p)[clusters] == labels) for p in permutations(range(classes)))
    assert sorted(found) == list(range(classes))
    assert np.sum(found[clusters] == labels) == best


def test_the_map_is_from_clusters_to_classes() -> None:
    clusters, labels = np.array([0, 0, 1, 1, 2, 2]), np.array([1, 1, 2, 2, 0, 0])
    assert_array_equal(match(clusters, labels, 3), [1, 2, 0])


def test_clusters_and_classes_without_examples_are_matched_too() -> None:
    found = match(np.array([3, 3, 3]), np.array([1, 1, 1]), 5)
    assert found.dtype == np.int64
    assert found[3] == 1
    assert sorted(found) == [0, 1, 2, 3, 4]
