from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from acaikit.config import read_recipe
from acaikit.errors import RunError, UserError
from acaikit.report.measured import Group, RunResults, Value
from acaikit.runs.compared import bootstrap, compare

PROTOCOL = {"evaluator": "ProbeAccuracy", "data": {"dataset": "MNIST"}}


def side(recipe: str, values: dict[int, dict[str, float]], samples: int = 64, protocol: dict = PROTOCOL) -> Group:
    config = read_recipe(recipe)
    runs = [
        RunResults(
            Path(f"{recipe}-s{seed}"),
            f"{recipe}-s{seed}",
            seed,
            config,
            [recipe],
            [],
            {},
            samples,
            64,
            {score: [Value(value, protocol, 20)] for score, value in scores.items()},
        )
        for seed, scores in values.items()
    ]
    return Group(recipe, recipe, [], runs)


def accuracies(values: list[float], first: int = 0) -> dict[int, dict[str, float]]:
    return {seed: {"probe/accuracy": value} for seed, value in enumerate(values, first)}


def test_the_interval_is_that_of_a_slow_loop() -> None:
    values = np.array([0.3, -1.0, 2.5, 0.9, 1.1])
    rng = np.random.default_rng(0)
    means = []
    for _ in range(10_000):
        total = 0.0
        for place in rng.integers(5, size=5):
            total += values[place]
        means.append(total / 5)
    means.sort()

    def percentile(p: float) -> float:
        at = p / 100 * (len(means) - 1)
        low = int(at)
        return means[low] + (at - low) * (means[low + 1] - means[low])

    assert bootstrap(values) == pytest.approx((percentile(2.5), percentile(97.5)))
    assert bootstrap(values) == bootstrap(values) != bootstrap(values, seed=1)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    intervals = [bootstrap(rng.normal(size=40), 1000, seed=i) for i in range(400)]
    assert 0.90 < np.mean([low <= 0 <= high for low, high in intervals]) < 0.98


def test_runs_are_paired_by_seed() -> None:
    a = side("mnist_acai_256", accuracies([98.0, 99.0, 97.0, 99.5, 98.5, 1.0]))
    b = side("mnist_vae_256", dict(reversed(accuracies([99.0, 99.5, 97.5, 98.5, 99.5]).items())))
    found = compare([a], [b])
    (score,) = found.scores
    assert score.paired.tolist() == [1.0, 0.5, 0.5, -1.0, 1.0]
    assert score.interval == bootstrap(np.array([1.0, 0.5, 0.5, -1.0, 1.0]))
    assert found.notes == ["only A has seed 5: left out"]
    assert any("Experiment.regularizers" in line and " -> " in line for line in found.settings)


def test_precision_is_told_where_it_differs() -> None:
    plain, rough = side("mnist_acai_256", accuracies([90.0])), side("mnist_acai_256", accuracies([91.0]))
    rough = replace(rough, runs=[replace(run, precision="bf16", asked=True) for run in rough.runs])
    assert compare([plain], [rough]).settings == ["precision: float32 -> bf16"]
    assert compare([rough], [rough]).settings == []


def test_few_pairs_and_one() -> None:
    few = compare([side("mnist_acai_256", accuracies([98.0, 99.0]))], [side("mnist_vae_256", accuracies([1.0, 2.0]))])
    assert few.scores[0].interval is not None
    assert "2 pairs are few" in few.notes[0]
    one = compare([side("mnist_acai_256", accuracies([98.0]))], [side("mnist_vae_256", accuracies([1.0]))])
    assert one.scores[0].interval is None
    assert one.scores[0].paired.tolist() == [-97.0]
    assert "no interval" in one.notes[0]


def test_undefined_values_and_scores_of_one_side() -> None:
    a = side("mnist_acai_256", {0: {"x/y": 1.0, "x/a": 1.0}, 1: {"x/y": float("nan")}, 2: {"x/y": 2.0}})
    b = side("mnist_acai_256", {0: {"x/y": 2.0}, 1: {"x/y": 1.0}, 2: {"x/y": np.inf}})
    found = compare([a], [b])
    assert [(s.score, s.a, s.b) for s in found.scores] == [("x/y", {0: 1.0}, {0: 2.0})]
    assert "only A has x/a: not compared" in found.notes
    assert "x/y is missing or undefined with seeds 1, 2: left out" in found.notes
    assert found.settings == []


def test_other_protocols_are_not_compared() -> None:
    a = side("mnist_acai_256", {0: {"x/y": 1.0}})
    with pytest.raises(RunError, match="no score in common: x/y was measured under different protocols"):
        compare([a], [side("mnist_acai_256", {0: {"x/y": 1.0}}, protocol={"other": 1})])


def test_each_protocol_that_both_have_is_compared() -> None:
    few, many = (PROTOCOL | {"restarts": restarts} for restarts in (2, 1000))

    def both(*pairs: tuple[float, dict]) -> Group:
        made = side("mnist_acai_256", {0: {}})
        values = [Value(value, protocol) for value, protocol in pairs]
        return replace(made, runs=[replace(made.runs[0], values={"kmeans/accuracy": values})])

    found = compare([both((1.0, few), (2.0, many))], [both((5.0, many), (3.0, few))])
    assert {s.protocol["restarts"]: s.paired.tolist() for s in found.scores} == {2: [2.0], 1000: [3.0]}
    found = compare([both((1.0, few), (2.0, many))], [both((5.0, many))])
    assert {s.protocol["restarts"]: s.paired.tolist() for s in found.scores} == {1000: [3.0]}


def test_what_is_not_finished() -> None:
    live, done = side("mnist_acai_256", accuracies([1.0], 1), samples=32), side("mnist_acai_256", accuracies([1.0]))
    assert "not finished (32 of 64 samples): left out" in compare([done, live], [done]).notes[0]
    with pytest.raises(RunError, match="B has no finished run"):
        compare([done], [live])


def test_a_side_is_one_experiment_and_the_seeds_meet() -> None:
    a, b = side("mnist_acai_256", accuracies([1.0])), side("mnist_vae_256", accuracies([1.0]))
    with pytest.raises(RunError, match="A must be one experiment, but its runs are of 2"):
        compare([a, b], [b])
    with pytest.raises(RunError, match="no seed in common: only A has seed 0: left out; only B has seed 7"):
        compare([a], [side("mnist_vae_256", accuracies([1.0], 7))])


def test_which_scores() -> None:
    a = side("mnist_acai_256", {0: {"probe/accuracy": 1.0, "kmeans/nmi": 2.0, "kmeans/accuracy": 3.0}})
    assert [s.score for s in compare([a], [a], ["kmeans/*"]).scores] == ["kmeans/accuracy", "kmeans/nmi"]
    with pytest.raises(UserError, match="did you mean probe/accuracy"):
        compare([a], [a], ["kmeans/*", "prob/accuracy"])


def test_signs_of_health_are_compared_where_asked_for() -> None:
    values = {"probe/accuracy": 1.0, "health/latent_scale": 2.0, "scorecard/a/b": 3.0}
    a = side("mnist_acai_256", {0: values})
    unasked = compare([a], [a])
    assert [s.score for s in unasked.scores] == ["probe/accuracy"]
    assert [note for note in unasked.notes if "--score" in note] == [
        "tables of numbers are left out; to see them: --score 'scorecard/*'"
    ]
    assert [s.score for s in compare([a], [a], ["health/*"]).scores] == ["health/latent_scale"]
