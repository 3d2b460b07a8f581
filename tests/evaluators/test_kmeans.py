from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import sklearn.cluster
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn import metrics

from acaikit.errors import EvaluationError, UserError
from acaikit.evaluators import lloyd
from acaikit.evaluators.base import Trained
from acaikit.evaluators.codes import Codes
from acaikit.evaluators.intervals import interval
from acaikit.evaluators.kmeans import KMeans, StrictKMeans
from acaikit.evaluators.whitening import whiten


def blobs(
    examples: int = 300, classes: int = 4, columns: int = 6, noise: float = 0.05, seed: int = 0, tests: int = 200
) -> Codes:
    """Codes around one corner of a simplex for each class, on skewed axes."""
    rng = np.random.default_rng(seed)
    axes = np.random.default_rng(0).normal(size=(columns, columns))
    parts = []
    for count in (examples, tests):
        labels = rng.integers(classes, size=count)
        points = np.eye(columns)[labels] + noise * rng.normal(size=(count, columns))
        parts += [(points @ axes).astype(np.float32), labels]
    return Codes(*parts, classes=classes)


def relabelled(codes: Codes, of: np.ndarray) -> Codes:
    return Codes(codes.train, of[codes.train_labels], codes.test, of[codes.test_labels], codes.classes)


def test_blobs_that_lie_apart_are_found() -> None:
    codes = blobs()
    scores = KMeans(restarts=20).measure(codes).scores
    assert scores == {
        "accuracy": 100,
        "nmi": pytest.approx(1),
        "ari": 1,
        "inertia": pytest.approx(within_classes(codes), rel=1e-5),
        "empty": 0,
    }
    strict = StrictKMeans(restarts=20, seeds=2).measure(codes).scores
    assert strict == {"accuracy": 100, "accuracy_low": 100, "accuracy_high": 100, "nmi": pytest.approx(1), "ari": 1}


def within_classes(codes: Codes) -> float:
    train, _ = whiten(codes.train, codes.test)
    parts = [train[codes.train_labels == label].astype(np.float64) for label in range(codes.classes)]
    return sum(np.square(part - part.mean(0)).sum() for part in parts)


def test_it_is_the_paper_s_protocol_on_overlapping_blobs() -> None:
    codes = blobs(noise=0.5, examples=500)
    result = KMeans(restarts=30, seed=3).measure(codes)
    scores, clusters = result.scores, result.arrays["test_assignments"]
    train, test = whiten(codes.train, codes.test)
    other = sklearn.cluster.KMeans(4, init="random", n_init=300, max_iter=1000, random_state=0).fit(train)
    right = [np.mean(np.array(p)[clusters] == codes.test_labels) for p in permutations(range(4))]
    assert 40 < scores["accuracy"] < 99
    assert scores["inertia"] == pytest.approx(other.inertia_, rel=1e-3)
    assert metrics.adjusted_rand_score(other.predict(test), clusters) > 0.98
    assert scores["accuracy"] == pytest.approx(100 * max(right))
    assert scores["nmi"] == pytest.approx(metrics.normalized_mutual_info_score(codes.test_labels, clusters))
    assert scores["ari"] == pytest.approx(metrics.adjusted_rand_score(codes.test_labels, clusters))
    assert_array_equal(result.arrays["test_labels"], codes.test_labels)
    assert np.mean(result.arrays["test_predictions"] == codes.test_labels) == pytest.approx(max(right))
    in_train = result.arrays["train_assignments"]
    parts = [train[in_train == cluster].astype(np.float64) for cluster in range(4)]
    assert scores["inertia"] == pytest.approx(sum(np.square(p - p.mean(0)).sum() for p in parts), rel=1e-3)
    assert {array.dtype for array in result.arrays.values()} == {np.dtype(np.uint8)}


def test_the_restart_of_lowest_inertia_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = blobs()
    train, _ = whiten(codes.train, codes.test)
    ended = [(5.0, train[:4] * 0), (2.0, train[:4]), (3.0, train[4:8])]
    monkeypatch.setattr("acaikit.evaluators.kmeans.from_starts", lambda x, starts, iterations, device: iter(ended))
    found = KMeans(restarts=3).measure(codes).arrays["train_assignments"]
    assert_array_equal(found, lloyd.nearest(train, train[:4]))


def test_starts_are_distinct_rows_drawn_from_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    codes, drawn, real = blobs(), [], lloyd.from_starts
    monkeypatch.setattr("acaikit.evaluators.kmeans.from_starts", lambda *args: drawn.append(args[1:3]) or real(*args))
    StrictKMeans(restarts=50, seeds=2, iterations=7, seed=1).measure(codes)
    StrictKMeans(restarts=50, seeds=1, iterations=7, seed=2).measure(codes)
    KMeans(restarts=20, iterations=7, seed=1).measure(codes)
    (first, seven), (second, _), (other, _), (paper, _) = drawn
    assert seven == 7
    assert first.shape == (50, 4)
    assert all(len(set(rows)) == 4 for rows in first.tolist())
    assert set(first.flat) <= set(range(300)) and len(set(first.flat)) > 120
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert_array_equal(first[:20], paper)


def test_strict_maps_by_the_training_labels() -> None:
    codes = blobs(noise=0.4, tests=60)
    # Test labels that are rotated fool a map that is found on them, and not one that is found on the training set.
    fooled = Codes(codes.train, codes.train_labels, codes.test, (codes.test_labels + 1) % 4, 4)
    paper, strict = KMeans(restarts=10), StrictKMeans(restarts=10, seeds=3)
    assert paper.measure(fooled).scores["accuracy"] == paper.measure(codes).scores["accuracy"] > 60
    result = strict.measure(codes)
    assert result.scores["accuracy"] > 60
    assert strict.measure(fooled).scores["accuracy"] < 30
    clusters, predictions = result.arrays["test_assignments"], result.arrays["test_predictions"]
    assert clusters.shape == predictions.shape == (3, 60)
    for in_train, in_test, predicted in zip(result.arrays["train_assignments"], clusters, predictions, strict=True):
        best = max(permutations(range(4)), key=lambda p: np.sum(np.array(p)[in_train] == codes.train_labels))
        assert_array_equal(predicted, np.array(best)[in_test])
    wanted = interval(predictions == codes.test_labels, 0)
    assert tuple(result.scores[name] for name in ("accuracy", "accuracy_low", "accuracy_high")) == wanted
    assert result.scores["ari"] == pytest.approx(
        np.mean([metrics.adjusted_rand_score(codes.test_labels, one) for one in clusters])
    )
    assert result.scores["nmi"] == pytest.approx(
        np.mean([metrics.normalized_mutual_info_score(codes.test_labels, one) for one in clusters])
    )


@settings(deadline=None, max_examples=8)
@given(st.permutations(range(4)), st.sampled_from([KMeans(restarts=4), StrictKMeans(restarts=2, seeds=2)]))
def test_the_names_of_the_classes_change_nothing(of: list[int], kmeans: KMeans) -> None:
    codes = blobs(noise=0.4)
    one, other = kmeans.measure(codes), kmeans.measure(relabelled(codes, np.array(of)))
    assert one.scores == pytest.approx(other.scores)
    assert_array_equal(one.arrays["train_assignments"], other.arrays["train_assignments"])


@pytest.mark.parametrize("kmeans", [KMeans(restarts=5), StrictKMeans(restarts=5, seeds=2)])
def test_classes_without_examples(kmeans: KMeans) -> None:
    codes = blobs()
    scores = kmeans.measure(Codes(codes.train, codes.train_labels, codes.test, codes.test_labels, classes=7)).scores
    # Three clusters too many split some of the four blobs.
    assert 30 < scores["accuracy"] < 100


def test_clusters_without_a_test_example_are_counted() -> None:
    codes = blobs()
    two = codes.test_labels < 2
    found = KMeans(restarts=20).measure(
        Codes(codes.train, codes.train_labels, codes.test[two], codes.test_labels[two], 4)
    )
    assert found.scores["empty"] == 2
    assert found.scores["accuracy"] == 100


@pytest.mark.parametrize("kind", [KMeans, StrictKMeans])
@pytest.mark.parametrize(
    ("distinct", "copies", "message"),
    [
        (1, 300, "4 clusters need as many distinct training codes or more, but there is only 1 among 300"),
        (3, 100, "there are only 3 among 300"),
        (2, 1, "there are only 2 among 2: .* too small"),
    ],
)
def test_fewer_distinct_codes_than_clusters(kind: type[KMeans], distinct: int, copies: int, message: str) -> None:
    codes = blobs()
    train = np.repeat(codes.train[:distinct], copies, 0)
    with pytest.raises(EvaluationError, match=message):
        kind(restarts=2).measure(Codes(train, codes.train_labels[: len(train)], codes.test, codes.test_labels, 4))


def test_zero_has_one_sign() -> None:
    codes = blobs(classes=2)
    train = np.zeros((4, 6), np.float32)
    train[1] = -0.0
    with pytest.raises(EvaluationError, match="there is only 1 among 4"):
        KMeans(restarts=2).measure(Codes(train, codes.train_labels[:4], codes.test, codes.test_labels, 2))


def test_as_many_distinct_codes_as_clusters_among_many_copies() -> None:
    codes = blobs(noise=0, examples=200)
    found = KMeans(restarts=3).measure(codes)
    assert found.scores["inertia"] == pytest.approx(0, abs=1e-9)
    assert found.scores["accuracy"] == 100


def test_one_test_example() -> None:
    codes = blobs()
    one = Codes(codes.train, codes.train_labels, codes.test[:1], codes.test_labels[:1], 4)
    assert KMeans(restarts=2).measure(one).scores["accuracy"] == 100
    assert StrictKMeans(restarts=20).measure(one).scores["accuracy"] == 100


def test_one_training_example() -> None:
    codes = Codes(np.ones((1, 2), "f4"), np.array([0]), np.ones((3, 2), "f4"), np.zeros(3, int), 1)
    with pytest.raises(EvaluationError, match="one point"):
        KMeans(restarts=1).measure(codes)
    assert KMeans(restarts=1, whitened=False).measure(codes).scores["accuracy"] == 100


def test_codes_can_be_clustered_as_they_are() -> None:
    # Seen as they are, the classes' axis is lost beside a wide one; whitening brings it out.
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    codes = np.stack([labels + 0.05 * rng.normal(size=400), 100 * rng.normal(size=400)], 1).astype(np.float32)
    both = Codes(codes, labels, codes, labels, 2)
    assert KMeans(restarts=20).measure(both).scores["accuracy"] == 100
    plain = KMeans(restarts=20, whitened=False).measure(both).scores
    assert plain["accuracy"] < 60
    other = sklearn.cluster.KMeans(2, init="random", n_init=20, random_state=0).fit(codes)
    assert plain["inertia"] == pytest.approx(other.inertia_, rel=1e-4)


def test_a_gpu_is_used_where_the_model_is_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = blobs(noise=0.4)
    wanted = KMeans(restarts=6).measure(codes)
    monkeypatch.setattr(lloyd, "threaded", None)
    real = lloyd.batched
    monkeypatch.setattr(lloyd, "batched", lambda x, s, i, device: real(x, s, i, {"cuda": "cpu"}[device]))
    found = KMeans(restarts=6).measure(replace(codes, device="cuda"))
    assert found.scores == pytest.approx(wanted.scores, rel=1e-5)


def test_raw_data_are_clustered_as_they_are() -> None:
    for evaluator in (KMeans(restarts=3, seed=2), StrictKMeans(restarts=3, seeds=2)):
        assert evaluator.of_raw_data().protocol == evaluator.protocol | {"whitened": False}
        assert evaluator.whitened


def test_protocols_have_as_many_restarts_in_all() -> None:
    paper = KMeans(examples=500, iterations=30, seed=4, whitened=False)
    strict = paper.under("strict")
    assert type(strict) is StrictKMeans
    assert strict.protocol == {
        "evaluator": "StrictKMeans",
        "version": 1,
        "examples": 500,
        "restarts": 200,
        "iterations": 30,
        "seed": 4,
        "whitened": False,
        "seeds": 5,
    }
    assert strict.under("strict") is strict
    assert paper.under("paper") is paper
    assert type(strict.under("paper")) is KMeans
    assert strict.under("paper").protocol == paper.protocol
    assert KMeans(restarts=3).under("strict").restarts == 1
    assert (KMeans.key, StrictKMeans.key) == ("kmeans", "kmeans_strict")
    defaults = KMeans().protocol
    assert (defaults["examples"], defaults["restarts"], defaults["iterations"]) == (60_000, 1000, 1000)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"examples": 0}, "KMeans.examples must be a whole number of at least 1, not 0"),
        ({"restarts": 0}, "KMeans.restarts must be a whole number of at least 1, not 0"),
        ({"iterations": 1.5}, "KMeans.iterations must be a whole number of at least 1, not 1.5"),
        ({"seed": -1}, "KMeans.seed must be a whole number of at least 0, not -1"),
        ({"whitened": 1}, "KMeans.whitened must be a bool, not 1"),
    ],
)
@pytest.mark.parametrize("kind", [KMeans, StrictKMeans])
def test_wrong_arguments(kind: type[KMeans], settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        kind(**settings)


def test_seeds_are_at_least_one() -> None:
    with pytest.raises(UserError, match=r"StrictKMeans\.seeds must be a whole number of at least 1, not 0"):
        StrictKMeans(seeds=0)


def test_the_model_s_codes_are_clustered(tiny: Callable[..., Trained]) -> None:
    trained = tiny(60)
    kmeans = KMeans(examples=80, restarts=5)
    assert kmeans.fits(trained)
    found = kmeans.evaluate(trained)
    assert found.arrays["train_assignments"].shape == (80,)
    assert found.scores == kmeans.measure(trained.codes(80)).scores
    assert 10 <= found.scores["accuracy"] < 100
