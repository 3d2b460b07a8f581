from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from labelled import blobs
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from acaikit.errors import EvaluationError, EvaluationWarning, UserError
from acaikit.evaluators import linear_probe
from acaikit.evaluators.base import Trained
from acaikit.evaluators.codes import Codes
from acaikit.evaluators.linear_probe import LinearProbe, fits, standardised
from acaikit.evaluators.probe import ProbeAccuracy


def minimiser(x: np.ndarray, y: np.ndarray, classes: int, strength: float) -> np.ndarray:
    """Weights and biases ``[classes, D + 1]`` of the least mean cross-entropy + strength / 2 |weights|^2."""
    x1 = np.column_stack([x.astype(np.float64), np.ones(len(x))])
    one_hot = np.eye(classes)[y]
    penalised = np.append(np.ones(x.shape[1]), 0)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(classes, -1)
        logits = x1 @ w.T
        value = -(one_hot * log_softmax(logits, 1)).sum(1).mean() + strength / 2 * ((w * penalised) ** 2).sum()
        gradient = (softmax(logits, 1) - one_hot).T @ x1 / len(x) + strength * w * penalised
        return value, gradient.ravel()

    found = minimize(objective, np.zeros(classes * x1.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-9})
    return found.x.reshape(classes, -1)


def by_hand(codes: Codes, probe: LinearProbe) -> tuple[list[float], np.ndarray]:
    """What the probe's documentation says, in float64: the strengths chosen and the predictions ``[S, M]``."""
    mean, deviation = codes.train.mean(0, dtype=np.float64), codes.train.std(0, dtype=np.float64)
    x, t = (codes.train - mean) / deviation, (codes.test - mean) / deviation

    def classify(w: np.ndarray, x: np.ndarray) -> np.ndarray:
        return (x @ w[:, :-1].T + w[:, -1]).argmax(1)

    chosen, predictions = [], []
    for seed in range(probe.seeds):
        order = np.random.default_rng(seed).permutation(len(x))
        held, fit = np.split(order, [round(probe.held_out * len(x))])
        accuracies = {}
        for strength in sorted(probe.strengths, reverse=True):
            w = minimiser(x[fit], codes.train_labels[fit], codes.classes, strength)
            accuracies[strength] = np.mean(classify(w, x[held]) == codes.train_labels[held])
        best = max(accuracies, key=lambda s: accuracies[s])  # the first of several
        chosen.append(best)
        predictions.append(classify(minimiser(x, codes.train_labels, codes.classes, best), t))
    return chosen, np.stack(predictions)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_its_documentation_says(seed: int) -> None:
    codes = blobs(train=120, dims=6, spread=2, seed=seed)
    probe = LinearProbe(held_out=0.3, seeds=2, strengths=(1e-3, 1.0, 1e-1))
    chosen, predictions = by_hand(codes, probe)
    found = probe.measure(codes)
    assert found.arrays["strength"].tolist() == chosen
    assert np.mean(found.arrays["predictions"] == predictions) > 0.98  # a float32 may decide what lies on a border
    assert found.scores["accuracy"] == pytest.approx(100 * np.mean(predictions == codes.test_labels), abs=2)
    assert found.scores["accuracy_low"] <= found.scores["accuracy"] <= found.scores["accuracy_high"]


def test_noise_asks_for_more_strength_than_close_classes() -> None:
    noisy, close = blobs(60, dims=40, spread=4), blobs(300, dims=2, classes=6, spread=0.3)
    chosen = [LinearProbe(held_out=0.5).measure(codes).scores["strength"] for codes in (noisy, close)]
    assert chosen[0] > 10 * chosen[1]


@pytest.mark.parametrize("strength", [1.0, 1e-2, 1e-4])
def test_each_fit_reaches_the_least_objective(strength: float) -> None:
    codes = blobs(dims=5)
    x, _ = standardised(codes.train, codes.test)
    *_, model = fits(x, codes.train_labels, [s for s in (1.0, 1e-1, 1e-2, 1e-3, 1e-4) if s >= strength])
    w = minimiser(x, codes.train_labels, 3, strength)
    expected = softmax(x @ w[:, :-1].T + w[:, -1], 1)
    np.testing.assert_allclose(model.predict_proba(x), expected, atol=5e-3)


def test_codes_are_standardised_by_the_training_set() -> None:
    rng = np.random.default_rng(0)
    train = (5 + rng.normal(size=(200, 4)) * [1e-3, 1, 1e3, 1e30]).astype(np.float32)
    train[:, 1] = 0.1  # constant, and no power of two
    test = train[:7] * 2
    a, b = standardised(train, test)
    used = [0, 2, 3]
    mean, deviation = train[:, used].mean(0, dtype=np.float64), train[:, used].std(0, dtype=np.float64)
    for found, given in ((a, train), (b, test)):
        # In float32 what is 5,000 deviations from 0 is known to 1e-7 of that.
        np.testing.assert_allclose(found[:, used], (given[:, used] - mean) / deviation, rtol=1e-4, atol=1e-3)
    assert not a[:, 1].any() and not b[:, 1].any()


def test_units_make_no_difference() -> None:
    codes = blobs()
    scale = np.float32([2**-20, 1, 2**10, 2**90])
    other = replace(codes, train=codes.train * scale, test=codes.test * scale)
    assert LinearProbe().measure(other).scores == LinearProbe().measure(codes).scores


@pytest.mark.parametrize("seed", range(3))
def test_what_the_classes_are_called_makes_no_difference(seed: int) -> None:
    codes = blobs(seed=seed)
    other = np.array([2, 0, 1])
    renamed = replace(codes, train_labels=other[codes.train_labels], test_labels=other[codes.test_labels])
    a, b = LinearProbe().measure(codes), LinearProbe().measure(renamed)
    assert a.scores == pytest.approx(b.scores, abs=0.7)  # an example on a border
    assert np.mean(other[a.arrays["predictions"]] == b.arrays["predictions"]) > 0.99


def test_the_test_set_has_no_part_in_the_choice() -> None:
    codes = blobs()
    found = LinearProbe().measure(codes)
    other = LinearProbe().measure(replace(codes, test=codes.test[:1] * 0, test_labels=codes.test_labels[:1]))
    for score in ("strength", "held_out_accuracy", "train_accuracy"):
        assert found.scores[score] == other.scores[score]
    assert other.scores["accuracy"] in (0, 100 / 3, 200 / 3, 100)


def test_codes_that_say_nothing_give_the_share_of_the_largest_class() -> None:
    labels, tested = np.repeat([0, 1, 2], [10, 70, 20]), np.repeat([0, 1, 2], [5, 2, 3])
    codes = Codes(np.full((100, 3), 0.1, np.float32), labels, np.zeros((10, 3), np.float32), tested, 3)
    found = LinearProbe().measure(codes)
    assert (found.scores["accuracy"], found.scores["train_accuracy"]) == (20, 70)


def test_a_class_without_a_training_example_is_never_predicted() -> None:
    codes = blobs(classes=4)
    seen = codes.train_labels != 2
    found = LinearProbe().measure(replace(codes, train=codes.train[seen], train_labels=codes.train_labels[seen]))
    assert 2 not in found.arrays["predictions"]
    assert 2 in found.arrays["labels"]
    assert found.scores["accuracy"] < LinearProbe().measure(codes).scores["accuracy"]


def test_where_all_training_examples_are_of_one_class_that_is_predicted() -> None:
    codes = blobs(classes=2)
    found = LinearProbe().measure(replace(codes, train_labels=np.full_like(codes.train_labels, 1)))
    assert (found.arrays["predictions"] == 1).all()
    assert found.scores["accuracy"] == 50


def test_two_training_examples_are_enough() -> None:
    codes = blobs(2, 1, classes=2, spread=0.01)
    found = LinearProbe().measure(codes)
    assert found.scores["train_accuracy"] == 100
    assert found.scores["held_out_accuracy"] == 0  # one of each class: what is held out hasn't been seen
    with pytest.raises(EvaluationError, match="two training examples"):
        LinearProbe().measure(blobs(1, 1))


def test_duplicates_weigh_as_often_as_they_occur() -> None:
    codes = blobs()
    twice = replace(codes, train=codes.train.repeat(2, 0), train_labels=codes.train_labels.repeat(2))
    once, again = (LinearProbe(seeds=1, strengths=(1e-2,)).measure(c) for c in (codes, twice))
    assert np.mean(once.arrays["predictions"] == again.arrays["predictions"]) > 0.99
    assert once.scores["train_accuracy"] == pytest.approx(again.scores["train_accuracy"], abs=0.7)


def test_a_fit_that_does_not_converge_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_probe, "ITERATIONS", 2)
    with pytest.warns(EvaluationWarning, match=r"strength 0\.001 has not converged in 2 iterations"):
        LinearProbe(seeds=1, strengths=(1e-3,)).measure(blobs())


@pytest.mark.parametrize("strengths", [(), 0.1, "0.1", (0.1, 0), (0.1, float("inf")), (None,), [-1.0]])
def test_strengths_that_are_none_are_refused(strengths: object) -> None:
    with pytest.raises(UserError, match=r"LinearProbe\.strengths must be"):
        LinearProbe(strengths=strengths)


def test_it_measures_a_model_on_all_its_training_examples(tiny: Callable[..., Trained]) -> None:
    trained, probe = tiny(), LinearProbe(seeds=1, strengths=[1e-3])
    assert probe.fits(trained)
    found = probe.evaluate(trained)
    codes = trained.codes(None)
    assert len(codes.train) == 10_000  # what a dataset without end gives where all are asked for
    assert found.scores == probe.measure(codes).scores
    assert 10 < found.scores["accuracy"] <= 100
    few = LinearProbe(examples=64, seeds=1, strengths=[1e-3]).evaluate(trained)
    right = few.scores["held_out_accuracy"] * 6 / 100  # of the 6 of 64 that are held out
    assert right == pytest.approx(round(right))


def test_its_protocol_can_be_stored() -> None:
    assert json.loads(json.dumps(LinearProbe(strengths=[0.1]).protocol)) == {
        "evaluator": "LinearProbe",
        "version": 1,
        "examples": None,
        "held_out": 0.1,
        "seeds": 3,
        "strengths": [0.1],
    }


def test_it_is_the_strict_form_of_the_tandem_probe() -> None:
    tandem, probe = ProbeAccuracy(), LinearProbe()
    assert tandem.under("paper") is tandem
    assert tandem.under("strict").protocol == probe.protocol
    assert probe.under("paper") is probe and probe.under("strict") is probe
    assert {tandem.key, probe.key} == {"probe", "linear_probe"}
