from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled import blobs
from sklearn.neighbors import KNeighborsClassifier

from acaikit.errors import EvaluationError, UserError
from acaikit.evaluators import knn_probe
from acaikit.evaluators.base import Trained
from acaikit.evaluators.codes import Codes
from acaikit.evaluators.knn_probe import KNNProbe, elected


def classified(train: np.ndarray, labels: np.ndarray, queries: np.ndarray, count: int) -> np.ndarray:
    """Brute force in float64: sort all distances, count votes; the nearest decides between equals."""
    predictions = []
    for query in queries.astype(np.float64):
        order = np.argsort(((train - query) ** 2).sum(1), kind="stable")[:count]
        votes = Counter(labels[order].tolist())
        predictions.append(next(label for label in labels[order] if votes[label] == max(votes.values())))
    return np.array(predictions)


def by_hand(codes: Codes, probe: KNNProbe) -> tuple[list[int], np.ndarray]:
    """What the probe's documentation says: the numbers of neighbours chosen and the predictions ``[S, M]``."""
    chosen, predictions = [], []
    for seed in range(probe.seeds):
        order = np.random.default_rng(seed).permutation(len(codes.train))
        held, fit = np.split(order, [round(probe.held_out * len(order))])
        accuracies = {}
        for count in probe.neighbours:
            found = classified(codes.train[fit], codes.train_labels[fit], codes.train[held], count)
            accuracies[count] = np.mean(found == codes.train_labels[held])
        chosen.append(max(accuracies, key=lambda k: accuracies[k]))  # the first of several
        predictions.append(classified(codes.train, codes.train_labels, codes.test, chosen[-1]))
    return chosen, np.stack(predictions)


@pytest.mark.parametrize("seed", range(6))
def test_it_is_what_its_documentation_says(seed: int) -> None:
    codes = blobs(classes=4, seed=seed)
    probe = KNNProbe(held_out=0.2, seeds=3, neighbours=(4, 1, 2, 7, 12))
    chosen, predictions = by_hand(codes, probe)
    found = probe.measure(codes)
    assert found.arrays["neighbours"].tolist() == chosen
    assert found.arrays["predictions"].tolist() == predictions.tolist()
    assert found.scores["accuracy"] == pytest.approx(100 * np.mean(predictions == codes.test_labels))
    assert found.scores["neighbours"] == sorted(chosen)[1]


@pytest.mark.parametrize("count", [1, 5])
def test_scikit_learn_agrees_where_no_vote_can_be_a_draw(count: int) -> None:
    codes = blobs(400, 200, classes=2, dims=30, spread=3)
    oracle = KNeighborsClassifier(count, algorithm="brute").fit(codes.train, codes.train_labels)
    found = KNNProbe(seeds=1, neighbours=(count,)).measure(codes)
    assert found.arrays["predictions"][0].tolist() == oracle.predict(codes.test).tolist()


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=1, max_size=8))
def test_of_classes_with_equally_many_votes_the_nearest_wins(voters: list[list[int]]) -> None:
    expected = []
    for row in voters:
        votes = Counter(row)
        expected.append(next(label for label in row if votes[label] == max(votes.values())))
    assert elected(np.array(voters), 4).tolist() == expected


def test_how_many_distances_are_held_at_a_time_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = blobs()
    whole = KNNProbe().measure(codes)
    for distances in (1, 1000):  # less than a query's, and a few queries'
        monkeypatch.setattr(knn_probe, "DISTANCES", distances)
        assert KNNProbe().measure(codes).arrays["predictions"].tolist() == whole.arrays["predictions"].tolist()


@pytest.mark.parametrize(("scale", "shift"), [(2.0**-60, 0), (2.0**120, 0), (1, 64), (1, 8192)])
def test_units_and_origin_make_no_difference(scale: float, shift: float) -> None:
    codes = blobs(dims=8)
    other = replace(codes, train=codes.train * np.float32(scale) + np.float32(shift))
    other = replace(other, test=codes.test * np.float32(scale) + np.float32(shift))
    a, b = KNNProbe(neighbours=[5]).measure(codes), KNNProbe(neighbours=[5]).measure(other)
    assert a.arrays["predictions"].tolist() == b.arrays["predictions"].tolist()


@pytest.mark.parametrize("seed", range(3))
def test_what_the_classes_are_called_makes_no_difference(seed: int) -> None:
    codes, other = blobs(seed=seed), np.array([2, 0, 1])
    renamed = replace(codes, train_labels=other[codes.train_labels], test_labels=other[codes.test_labels])
    a, b = KNNProbe().measure(codes), KNNProbe().measure(renamed)
    assert a.scores == b.scores
    assert other[a.arrays["predictions"]].tolist() == b.arrays["predictions"].tolist()


def test_the_test_set_has_no_part_in_the_choice() -> None:
    codes = blobs()
    found = KNNProbe().measure(codes)
    other = KNNProbe().measure(replace(codes, test=codes.test[:1], test_labels=codes.test_labels[:1]))
    assert found.arrays["neighbours"].tolist() == other.arrays["neighbours"].tolist()
    assert found.scores["held_out_accuracy"] == other.scores["held_out_accuracy"]


def test_more_neighbours_than_training_examples_are_all_of_them() -> None:
    codes = blobs(10, 30, classes=2)
    labels = np.repeat([0, 1], [4, 6])
    found = KNNProbe(seeds=1, neighbours=(1000,)).measure(replace(codes, train_labels=labels))
    assert (found.arrays["predictions"] == 1).all()
    with pytest.raises(EvaluationError, match="two training examples"):
        KNNProbe().measure(blobs(1, 1))


def test_codes_that_say_nothing_give_one_answer() -> None:
    codes = Codes(np.zeros((50, 2), np.float32), np.arange(50) % 5, np.zeros((10, 2), np.float32), np.arange(10) % 5, 5)
    found = KNNProbe().measure(codes)
    assert found.scores["accuracy"] == 20  # the same class for all
    assert KNNProbe().measure(codes).scores == found.scores


def test_a_copy_of_a_training_example_is_its_own_nearest() -> None:
    codes = blobs(spread=5)
    copies = replace(codes, test=codes.train[:40], test_labels=codes.train_labels[:40])
    assert KNNProbe(neighbours=(1,)).measure(copies).scores["accuracy"] == 100


def test_a_class_without_a_training_example_is_never_predicted() -> None:
    codes = blobs(classes=4)
    seen = codes.train_labels != 2
    found = KNNProbe().measure(replace(codes, train=codes.train[seen], train_labels=codes.train_labels[seen]))
    assert 2 not in found.arrays["predictions"]
    assert 2 in found.arrays["labels"]


@pytest.mark.parametrize("neighbours", [(), 5, "5", (1, 0), (1.5,), (True,), [None]])
def test_numbers_of_neighbours_that_are_none_are_refused(neighbours: object) -> None:
    with pytest.raises(UserError, match=r"KNNProbe\.neighbours must be"):
        KNNProbe(neighbours=neighbours)


def test_it_measures_a_model(tiny: Callable[..., Trained]) -> None:
    trained, probe = tiny(), KNNProbe(examples=300)
    found = probe.evaluate(trained)
    assert found.scores == probe.measure(trained.codes(300)).scores
    assert found.scores["accuracy"] > 50
    assert probe.under("paper") is probe and probe.under("strict") is probe
    assert json.loads(json.dumps(probe.protocol))["neighbours"] == [1, 3, 5, 10, 20]
