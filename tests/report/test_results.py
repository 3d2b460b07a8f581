from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit.config import read_recipe
from acaikit.errors import RunError, UserError
from acaikit.report import paper
from acaikit.report.measured import Group, RunResults, Value, check_seeds
from acaikit.report.results import tabulate

MNIST, SVHN = ({"dataset": name, "digests": {"test": "t"}} for name in ("MNIST", "SVHN"))
PROBE = {"evaluator": "ProbeAccuracy", "data": MNIST}
NAN = float("nan")


def run(seed: int, values: dict[str, object], recipe: str = "mnist_acai_256", protocol: dict = PROBE) -> RunResults:
    made = {
        score: value if isinstance(value, list) else [Value(float(value), protocol, 20)]
        for score, value in values.items()
    }
    config = read_recipe(recipe)
    path = Path(f"{recipe}-s{seed}")
    return RunResults(path, str(path), seed, config, [recipe], [], protocol["data"], 64, 64, made)


def kmeans(restarts: int, data: dict = MNIST) -> dict:
    return {"evaluator": "KMeans", "restarts": restarts, "data": data}


def group(*runs: RunResults, recipe: str = "mnist_acai_256", differences: tuple[str, ...] = ()) -> Group:
    return Group(recipe, recipe, differences, runs)


@pytest.fixture(autouse=True)
def _no_evaluators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper, "parameters", lambda score: {"restarts": 1000} if score.startswith("kmeans/") else {})


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8))
@settings(deadline=None)
def test_mean_and_population_deviation(values: list[float]) -> None:
    found = tabulate([group(*(run(seed, {"probe/accuracy": v}) for seed, v in enumerate(values)))])
    cell = found.cells[0, 0]
    assert cell.values == dict(enumerate(values))
    assert cell.mean == pytest.approx(sum(values) / len(values))
    if len(values) == 1:
        assert cell.std is None
    else:
        variance = sum((v - cell.mean) ** 2 for v in values) / len(values)
        assert cell.std == pytest.approx(variance**0.5, abs=1e-6)


def test_undefined_scores_are_counted_and_not_averaged() -> None:
    (cell,) = tabulate([group(*(run(i, {"probe/accuracy": v}) for i, v in enumerate([1.0, NAN, 3.0])))]).cells.values()
    assert (cell.mean, cell.std, len(cell.values), cell.undefined) == (2.0, 1.0, 2, 1)
    (cell,) = tabulate([group(run(0, {"probe/accuracy": NAN}))], paper=True).cells.values()
    assert np.isnan(cell.mean) and cell.std is None and cell.difference is None


def test_infinite_scores() -> None:
    (cell,) = tabulate([group(run(0, {"probe/accuracy": 1.0}), run(1, {"probe/accuracy": np.inf}))]).cells.values()
    assert cell.mean == np.inf and np.isnan(cell.std)


def test_different_protocols_are_never_averaged() -> None:
    few, many = (kmeans(n) for n in (10, 1000))
    runs = [run(0, {"kmeans/accuracy": 40.0}, protocol=few), run(1, {"kmeans/accuracy": 96.0}, protocol=many)]
    runs.append(run(2, {"kmeans/accuracy": [Value(50.0, few), Value(98.0, many)]}))
    found = tabulate([group(*runs)])
    assert [c.score for c in found.columns] == ["kmeans/accuracy"] * 2
    assert [c.protocols for c in found.columns] == [(Value(0.0, few).sha256,), (Value(0.0, many).sha256,)]
    by_restarts = {cell.protocol["restarts"]: cell.values for cell in found.cells.values()}
    assert by_restarts == {10: {0: 40.0, 2: 50.0}, 1000: {1: 96.0, 2: 98.0}}
    assert [(m.protocol, m.column, [r.seed for r in m.runs]) for m in found.missing] == [
        (few, found.columns[0], [1]),
        (many, found.columns[1], [0]),
    ]


def test_other_data_share_a_column_but_not_a_cell() -> None:
    mnist = group(run(0, {"probe/accuracy": 99.0}))
    svhn = group(run(0, {"probe/accuracy": 85.0}, "svhn_acai_256", PROBE | {"data": SVHN}), recipe="svhn_acai_256")
    found = tabulate([mnist, svhn])
    assert [(c.score, c.tag) for c in found.columns] == [("probe/accuracy", "")]
    assert not found.missing
    assert {i: cell.mean for (i, _), cell in found.cells.items()} == {0: 99.0, 1: 85.0}
    assert len(found.protocols) == 2
    other = PROBE | {"data": MNIST | {"digests": {"test": "u"}}}
    changed = group(run(0, {"probe/accuracy": 1.0}), run(1, {"probe/accuracy": 2.0}, protocol=other))
    assert [list(cell.values.values()) for cell in tabulate([changed]).cells.values()] in (
        [[1.0], [2.0]],
        [[2.0], [1.0]],
    )


def test_two_ways_of_measuring_are_two_columns_for_all_data() -> None:
    both = [
        group(
            run(0, {"kmeans/accuracy": [Value(v, kmeans(n, d)) for v, n in ((1.0, 2), (2.0, 1000))]}, r, kmeans(2, d))
        )
        for r, d in (("mnist_acai_256", MNIST), ("svhn_acai_256", SVHN))
    ]
    found = tabulate(both)
    assert [[found.cells[i, j].mean for j in (0, 1)] for i in (0, 1)] == [[1.0, 2.0]] * 2
    assert len(found.columns) == 2 and not found.missing
    for j, restarts in enumerate((2, 1000)):
        hashes = [Value(0.0, kmeans(restarts, data)).sha256 for data in (MNIST, SVHN)]
        assert found.columns[j].protocols == tuple(hashes)
        assert found.columns[j].tag == f" [{hashes[0][:8]} {hashes[1][:8]}]"


def test_the_papers_number_stands_beside_the_papers_protocol() -> None:
    score, ways = "kmeans/accuracy", {n: kmeans(n) for n in (2, 1000)}
    measured = group(run(0, {score: [Value(40.0, ways[2], 20), Value(95.17, ways[1000])]}))
    found = tabulate([measured], [score], paper=True)
    assert [cell.protocol["restarts"] for cell in found.cells.values()] == [2, 1000]
    assert list(found.published) == [(0, 1)]
    assert [cell.paper is None for cell in found.cells.values()] == [True, False]
    assert found.cells[0, 1].difference == pytest.approx(-1.0)
    # An experiment without: its number is missing where the paper's stands, and in the paper's way.
    quick = group(run(0, {score: 40.0}, "mnist_vae_256", ways[2]), recipe="mnist_vae_256")
    found = tabulate([measured, quick], [score], paper=True)
    assert list(found.published) == [(0, 1), (1, 1)]
    assert [(m.group, m.column, m.protocol) for m in found.missing] == [(quick, found.columns[1], ways[1000])]
    # Of no other way is there a number: it stands beside what there is.
    assert list(tabulate([quick], [score], paper=True).published) == [(0, 0)]


def test_measured_in_training_is_not_missing_afterwards() -> None:
    often = PROBE | {"evaluate_every": 64, "reported": "median"}
    trained = group(run(0, {"probe/accuracy": 99.0}, protocol=often))
    seldom = group(run(0, {"probe/accuracy": 98.0}, protocol=often | {"evaluate_every": 128}))
    once = group(run(0, {"probe/accuracy": 97.0}, "mnist_vae_256"), recipe="mnist_vae_256")
    found = tabulate([trained, seldom, once], paper=True)
    assert len([column for column in found.columns if column.score == "probe/accuracy"]) == 3
    assert [place for place in found.published if place[1] < 3] == [(0, 0), (1, 1), (2, 2)]
    assert "probe/accuracy" not in {m.column.score for m in found.missing}


@pytest.mark.parametrize(("mean", "within"), [(98.93, True), (99.07, True), (98.91, False), (99.09, False)])
def test_beside_the_papers(mean: float, within: bool) -> None:
    found = tabulate([group(run(0, {"probe/accuracy": mean}))], paper=True)
    cell = found.cells[0, 0]
    assert (cell.paper.mean, cell.paper.std) == (99.00, 0.08)
    assert cell.difference == pytest.approx(mean - 99.00)
    assert cell.within is within


def test_the_paper_gives_no_deviation_of_clustering() -> None:
    cell = tabulate([group(run(0, {"kmeans/accuracy": 96.17}, protocol=kmeans(1000)))], paper=True).cells[0, 1]
    assert cell.difference == 0 and cell.within is None


def test_without_the_paper_there_is_none() -> None:
    found = tabulate([group(run(0, {"probe/accuracy": 99.0}))])
    assert not found.published
    assert found.cells[0, 0].paper is None and found.cells[0, 0].difference is None
    assert not found.missing


def test_what_is_missing() -> None:
    drawn = {"data": {"dataset": "Lines", "height": 32}}
    lines = group(run(0, {"factor/mean_distance": 1e-3}, "lines_acai_64", drawn), recipe="lines_acai_64")
    one = group(run(0, {"probe/accuracy": 99.0, "kmeans/accuracy": 96.0}), run(1, {"probe/accuracy": 99.0}))
    two = group(run(0, {"probe/accuracy": 98.0}, "mnist_vae_256"), recipe="mnist_vae_256")

    def told(found) -> set[tuple[str, str, tuple[int, ...]]]:
        return {(m.column.score, m.group.name, tuple(r.seed for r in m.runs)) for m in found.missing}

    # The lines have neither: nothing says that they could have been measured there.
    assert told(tabulate([lines, one, two])) == {
        ("kmeans/accuracy", "mnist_acai_256", (1,)),
        ("kmeans/accuracy", "mnist_vae_256", (0,)),
    }
    assert told(tabulate([lines], paper=True)) == {("factor/smoothness_paper", "lines_acai_64", (0,))}
    # Nor do smaller ones, which are other data.
    small = {"data": {"dataset": "Lines", "height": 16}}
    other = group(run(0, {"a/b": 1.0}, "lines_acai_64", small), recipe="lines_acai_64")
    assert told(tabulate([lines, other], ["factor/*"])) == set()
    alike = group(run(0, {"a/b": 1.0}, "lines_acai_64", drawn), recipe="lines_acai_64")
    assert told(tabulate([lines, alike], ["factor/*"])) == {("factor/mean_distance", "lines_acai_64", (0,))}


def test_which_columns() -> None:
    runs = group(
        run(0, {"reconstruction/mse": 1.0, "kmeans/nmi": 0.5, "kmeans/accuracy": 96.0, "probe/accuracy": 99.0})
    )
    names = lambda *patterns: [c.score for c in tabulate([runs], patterns).columns]  # noqa: E731
    assert names() == ["probe/accuracy", "kmeans/accuracy"]
    assert names("kmeans/*", "reconstruction/mse") == ["kmeans/accuracy", "kmeans/nmi", "reconstruction/mse"]
    assert names("*/accuracy", "probe/accuracy") == ["kmeans/accuracy", "probe/accuracy"]
    with pytest.raises(UserError, match="did you mean probe/accuracy"):
        names("prob/accuracy")
    others = group(run(0, {"reconstruction/mse": 1.0, "b/c": 2.0}))
    assert [c.score for c in tabulate([others]).columns] == ["b/c", "reconstruction/mse"]
    signs = group(run(0, {"b/c": 2.0, "health/latent_scale": 1.0, "health/ACAI/critic_spread": 0.5}))
    assert [c.score for c in tabulate([signs]).columns] == ["b/c"]
    assert [c.score for c in tabulate([signs], ["health/*"]).columns] == [
        "health/ACAI/critic_spread",
        "health/latent_scale",
    ]
    assert not tabulate([group(run(0, {}))]).columns


SMOOTH = {"factor/smoothness_strict": 0.9, "factor/undefined_share": 1.0, "factor/endpoint_error_deg": 80.0}


def test_the_papers_smoothness_never_stands_alone() -> None:
    more = {"factor/mean_distance": 1e-3, "factor/smoothness_paper": 0.0, "probe/accuracy": 9.0, **SMOOTH}
    runs = group(run(0, more, "lines_acai_64"), recipe="lines_acai_64")
    for patterns in ([], ["factor/smoothness_paper"], ["factor/*"], ["*/smooth*_paper", "probe/*"]):
        for paper_too in (True, False):
            names = [column.score for column in tabulate([runs], patterns, paper_too).columns]
            assert {*names} >= {*SMOOTH}
            assert len({*names}) == len(names)
            place = names.index("factor/smoothness_paper")
            assert patterns == ["factor/*"] or names[place + 1 : place + 4] == [*SMOOTH]
    assert [column.score for column in tabulate([runs], ["factor/mean_distance"]).columns] == ["factor/mean_distance"]


@pytest.mark.parametrize("of", [None, 1, 19, 20])
def test_within_says_something_of_the_papers_reporting_only(of: int | None) -> None:
    runs = [run(seed, {"probe/accuracy": [Value(99.0, PROBE, n)]}) for seed, n in enumerate([20, of])]
    cell = tabulate([group(*runs)], paper=True).cells[0, 0]
    assert cell.within is (True if of == 20 else None)
    assert cell.difference == 0


def test_within_says_nothing_of_another_precision() -> None:
    asked = replace(run(0, {"probe/accuracy": 99.0}), precision="bf16", asked=True)
    assert tabulate([group(asked)], paper=True).cells[0, 0].within is None


def test_a_seed_twice() -> None:
    check_seeds(group(run(0, {}), run(1, {})))
    with pytest.raises(RunError, match=r"mnist_acai_256-s1 and mnist_acai_256-s1 are both runs"):
        check_seeds(group(run(1, {}), run(0, {}), run(1, {})))
