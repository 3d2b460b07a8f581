from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit.config import read_recipe
from acaikit.errors import RunError, UserError
from acaikit.report import paper
from acaikit.report.results import Group, RunResults, Value, check_seeds, tabulate

PROBE = {"evaluator": "ProbeAccuracy", "dataset": "MNIST", "data": "t"}
NAN = float("nan")


def run(seed: int, values: dict[str, object], recipe: str = "mnist_acai_256", protocol: dict = PROBE) -> RunResults:
    made = {
        score: value if isinstance(value, list) else [Value(float(value), protocol, 20)]
        for score, value in values.items()
    }
    config = read_recipe(recipe)
    path = Path(f"{recipe}-s{seed}")
    return RunResults(path, str(path), seed, config, [recipe], [], {}, 64, 64, made)


def group(*runs: RunResults, recipe: str = "mnist_acai_256", differences: tuple[str, ...] = ()) -> Group:
    return Group(recipe, recipe, differences, runs)


@pytest.fixture(autouse=True)
def _no_evaluators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper, "_protocol", lambda key: {})


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
    few, many = ({"evaluator": "KMeans", "restarts": n, "dataset": "MNIST"} for n in (10, 1000))
    runs = [run(0, {"kmeans/accuracy": 40.0}, protocol=few), run(1, {"kmeans/accuracy": 96.0}, protocol=many)]
    runs.append(run(2, {"kmeans/accuracy": [Value(50.0, few), Value(98.0, many)]}))
    found = tabulate([group(*runs)])
    assert [c.score for c in found.columns] == ["kmeans/accuracy"] * 2
    assert len({c.tag for c in found.columns}) == 2
    by_restarts = {cell.protocol["restarts"]: cell.values for cell in found.cells.values()}
    assert by_restarts == {10: {0: 40.0, 2: 50.0}, 1000: {1: 96.0, 2: 98.0}}
    assert {m.column.tag: [r.seed for r in m.runs] for m in found.missing} == {
        Value(0.0, few).sha256: [1],
        Value(0.0, many).sha256: [0],
    }


def test_other_data_share_a_column_but_not_a_cell() -> None:
    mnist = group(run(0, {"probe/accuracy": 99.0}))
    svhn = group(run(0, {"probe/accuracy": 85.0}, "svhn_acai_256", PROBE | {"dataset": "SVHN"}), recipe="svhn_acai_256")
    found = tabulate([mnist, svhn])
    assert [(c.score, c.tag) for c in found.columns] == [("probe/accuracy", "")]
    assert {i: cell.mean for (i, _), cell in found.cells.items()} == {0: 99.0, 1: 85.0}
    assert len(found.protocols) == 2
    changed = group(run(0, {"probe/accuracy": 1.0}), run(1, {"probe/accuracy": 2.0}, protocol=PROBE | {"data": "u"}))
    assert [list(cell.values.values()) for cell in tabulate([changed]).cells.values()] in (
        [[1.0], [2.0]],
        [[2.0], [1.0]],
    )


@pytest.mark.parametrize(("mean", "within"), [(98.93, True), (99.07, True), (98.91, False), (99.09, False)])
def test_beside_the_papers(mean: float, within: bool) -> None:
    found = tabulate([group(run(0, {"probe/accuracy": mean}))], paper=True)
    cell = found.cells[0, 0]
    assert (cell.paper.mean, cell.paper.std) == (99.00, 0.08)
    assert cell.difference == pytest.approx(mean - 99.00)
    assert cell.within is within


def test_the_paper_gives_no_deviation_of_clustering() -> None:
    cell = tabulate([group(run(0, {"kmeans/accuracy": 96.17}))], paper=True).cells[0, 1]
    assert cell.difference == 0 and cell.within is None


def test_without_the_paper_there_is_none() -> None:
    found = tabulate([group(run(0, {"probe/accuracy": 99.0}))])
    assert not found.published
    assert found.cells[0, 0].paper is None and found.cells[0, 0].difference is None
    assert not found.missing


def test_what_is_missing() -> None:
    lines = group(run(0, {"factor/mean_distance": 1e-3}, "lines_acai_64"), recipe="lines_acai_64")
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
    assert not tabulate([group(run(0, {}))]).columns


def test_a_seed_twice() -> None:
    check_seeds(group(run(0, {}), run(1, {})))
    with pytest.raises(RunError, match=r"mnist_acai_256-s1 and mnist_acai_256-s1 are both runs"):
        check_seeds(group(run(1, {}), run(0, {}), run(1, {})))
