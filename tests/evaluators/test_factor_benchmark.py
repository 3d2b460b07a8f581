from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from acaikit.data import Disc, Factor, Lines, Rendered, Sinusoid
from acaikit.errors import UserError
from acaikit.evaluators.base import Trained
from acaikit.evaluators.factor import FactorBenchmark, find_factors, references, score_paths, smoothness
from acaikit.experiment import Experiment
from acaikit.nets import ConvDecoder, ConvEncoder

D = 10_000
TURN = 2 * math.pi
NAMES = ["mean_distance", "smoothness_paper", "smoothness_strict", "undefined_share"]

ANGLE = Factor("angle", 0, TURN, periodic=True, unit="deg", scale=180 / math.pi)
POSITION = Factor("position", -2, 8, periodic=False, unit="px")


@cache
def lines(height: int, width: int | None = None) -> Lines:
    return Lines(height, width or height)


DATASETS = {"lines": lines(8), "larger lines": lines(12), "sinusoid": Sinusoid(24, 3), "disc": Disc(8, 12, radius=2.5)}

datasets = pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)


def path_smoothness(values: list[float], factor: Factor) -> float | None:
    """The definition, along one path; None where its two ends are the same."""
    period = factor.high - factor.low
    unwrapped = [values[0]]
    for before, value in pairwise(values):
        step = value - before
        if factor.periodic and abs(step) > period / 2 + 1e-9:
            step -= math.copysign(period, step)
        unwrapped.append(unwrapped[-1] + step)
    span = abs(unwrapped[0] - unwrapped[-1])
    if span < 1e-4 / TURN * period:
        return None
    steps = [abs(b - a) for a, b in pairwise(unwrapped)]
    return max(steps) / span - 1 / (len(values) - 1)


def oracle(images: torch.Tensor, dataset: Rendered, ends: torch.Tensor) -> dict[str, float]:
    """The definitions of the method's section 4, one path after another; an angle is told in degrees."""
    factor = dataset.factor
    circle, low, span = factor.periodic, factor.low, factor.high - factor.low
    grid = [low + span * q / (D if circle else D - 1) for q in range(D)]
    true = dataset.render(torch.tensor(grid, dtype=torch.float64)).reshape(D, -1).double().numpy()
    distances, defined, errors = [], [], []
    for path, (first, last) in zip(images, ends.tolist(), strict=True):
        cost = cdist(path.reshape(len(path), -1).double().numpy(), true, "cosine")
        distances += list(cost.min(1))
        found = [grid[q] for q in cost.argmin(1)]
        defined.append(path_smoothness(found, factor))
        for here, seen in ((first, found[0]), (last, found[-1])):
            errors.append(math.degrees(math.acos(math.cos(here - seen))) if circle else abs(here - seen))
    moving = [value for value in defined if value is not None]
    return {
        "mean_distance": sum(distances) / len(distances),
        "smoothness_paper": sum(moving) / len(defined),
        "smoothness_strict": sum(moving) / len(moving) if moving else math.nan,
        "undefined_share": defined.count(None) / len(defined),
        f"endpoint_error_{'deg' if circle else 'px'}": sum(errors) / len(errors),
    }


def pairs(count: int, factor: Factor = ANGLE, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Uniform random values, and on a circle where the second lies on the shorter way from the first."""
    first, second = np.random.default_rng(seed).uniform(factor.low, factor.high, (2, count))
    if factor.periodic:
        half = (factor.high - factor.low) / 2
        second = first + (second - first + half) % (2 * half) - half
    return first, second


def drawn(dataset: Rendered, values: np.ndarray) -> torch.Tensor:
    return dataset.render(torch.from_numpy(values).flatten()).view(*values.shape, *dataset.shape)


def perfect(count: int, dataset: Rendered, steps: int = 16) -> torch.Tensor:
    first, second = pairs(count, dataset.factor)
    return drawn(dataset, first[:, None] + (second - first)[:, None] * np.linspace(0, 1, steps))


def dissolve(count: int, dataset: Rendered, steps: int = 16) -> torch.Tensor:
    first, second = (drawn(dataset, values)[:, None] for values in pairs(count, dataset.factor))
    t = torch.linspace(0, 1, steps).view(-1, *[1] * len(dataset.shape))
    return (1 - t) * first + t * second


def switch(count: int, dataset: Rendered, steps: int = 16) -> torch.Tensor:
    first, second = (drawn(dataset, values)[:, None] for values in pairs(count, dataset.factor))
    return torch.cat([first] * (steps // 2) + [second] * (steps - steps // 2), 1)


def still(count: int, dataset: Rendered, steps: int = 16) -> torch.Tensor:
    first, _ = pairs(count, dataset.factor)
    return torch.stack([drawn(dataset, first)] * steps, 1)


def noise(count: int, dataset: Rendered, steps: int = 16) -> torch.Tensor:
    return torch.randn(count, steps, *dataset.shape, generator=torch.Generator().manual_seed(0))


def partly_still(count: int, dataset: Rendered, steps: int = 16) -> torch.Tensor:
    images = noise(count, dataset, steps)
    images[::3] = images[::3, :1]
    return images


Make = Callable[..., torch.Tensor]


def ends_of(count: int, dataset: Rendered, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.stack(pairs(count, dataset.factor, seed), 1))


@pytest.mark.parametrize("make", [perfect, dissolve, switch, still, noise, partly_still])
@pytest.mark.parametrize(
    ("dataset", "steps"), [*((d, 16) for d in DATASETS.values()), (DATASETS["lines"], 2), (lines(16), 5)]
)
def test_scores_are_those_of_the_definitions(make: Make, dataset: Rendered, steps: int) -> None:
    images, ends = make(7, dataset, steps), ends_of(7, dataset, seed=1)
    expected = oracle(images, dataset, ends)
    assert score_paths(images, dataset, ends) == pytest.approx(expected, rel=1e-6, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize(
    ("make", "mean_distance", "smooth"),
    [(perfect, 0.0002e-3, 0.0005), (dissolve, 6.2e-3, 0.87), (switch, 0.0002e-3, 0.93)],
)
def test_known_values_of_synthetic_paths_of_lines(make: Make, mean_distance: float, smooth: float) -> None:
    """Those of the method's section 4, to the digits that it gives."""
    scores = score_paths(make(256, lines(32)), lines(32), ends_of(256, lines(32)))
    assert scores["mean_distance"] == pytest.approx(mean_distance, rel=0.25 if mean_distance < 1e-3 else 0.01)
    assert scores["smoothness_strict"] == pytest.approx(smooth, rel=0.1 if smooth < 0.01 else 0.01)
    assert scores["smoothness_paper"] == scores["smoothness_strict"]
    assert scores["undefined_share"] == 0
    assert scores["endpoint_error_deg"] < 0.02  # half of 360 / 10,000 degrees at most


@pytest.mark.parametrize(
    "dataset", [lines(16), Sinusoid(), Disc(16, 16, radius=2.5)], ids=["lines", "sinusoid", "disc"]
)
def test_the_scores_tell_good_paths_from_bad_ones(dataset: Rendered) -> None:
    """A dissolve leaves the true pictures, a switch stays among them but jumps, and what stands still is told apart."""
    good, mixed, abrupt, stuck = (
        score_paths(make(64, dataset), dataset, ends_of(64, dataset)) for make in (perfect, dissolve, switch, still)
    )
    for scores in (good, abrupt, stuck):
        assert scores["mean_distance"] < 1e-4
    assert mixed["mean_distance"] > 5e-3
    assert good["smoothness_strict"] < 0.01
    assert good["smoothness_strict"] + 0.05 < mixed["smoothness_strict"] < abrupt["smoothness_strict"]
    assert abrupt["smoothness_strict"] == pytest.approx(1 - 1 / 15, abs=1e-9)
    assert [scores["undefined_share"] for scores in (good, mixed, abrupt, stuck)] == [0, 0, 0, 1]
    assert stuck["smoothness_paper"] == 0 and math.isnan(stuck["smoothness_strict"])
    error = f"endpoint_error_{dataset.factor.unit}"
    # Found to within half an interval between two references; the path that stands still misses its second end.
    interval = dataset.factor.span * dataset.factor.scale / (D - 1)
    assert max(scores[error] for scores in (good, mixed, abrupt)) < interval
    assert stuck[error] > 1000 * interval


def test_a_decoder_that_ignores_its_input_is_found_out() -> None:
    images = drawn(lines(16), np.ones(1)).expand(5, 16, 1, 16, 16)
    scores = score_paths(images, lines(16), torch.tensor([[1.0, 1.0 + math.pi]] * 5))
    assert scores["undefined_share"] == 1
    assert scores["smoothness_paper"] == 0
    assert math.isnan(scores["smoothness_strict"])
    assert scores["mean_distance"] < 1e-5
    assert scores["endpoint_error_deg"] == pytest.approx(90, abs=0.05)


def test_the_endpoint_error_is_the_angle_on_the_circle() -> None:
    images = drawn(lines(32), np.array([[0.01, 3.0]]))
    for off in (0.0, 0.25, -0.25, math.pi - 0.01):
        for turns in (-TURN, 0, TURN):
            ends = torch.tensor([[0.01 + off + turns, 3.0 - off]], dtype=torch.float64)
            found = score_paths(images, lines(32), ends)["endpoint_error_deg"]
            assert found == pytest.approx(math.degrees(abs(off)), abs=0.03)


def test_the_endpoint_error_of_a_disc_is_in_pixels_and_never_wraps() -> None:
    dataset = Disc(16, 32, radius=3)
    images = drawn(dataset, np.array([[3.0, 29.0]]))
    for off in (0.0, 2.5, 26.0):
        found = score_paths(images, dataset, torch.tensor([[3 + off, 29 - off]], dtype=torch.float64))
        assert found["endpoint_error_px"] == pytest.approx(off, abs=0.002)


def test_what_does_not_wrap_is_not_unwrapped() -> None:
    """Across more than half of the range and back: on a circle that would be two short steps forward."""
    dataset = Disc(16, 32, radius=3)
    there_and_most_of_the_way_back = drawn(dataset, np.array([[4.0, 28.0, 12.0]]))
    found = score_paths(there_and_most_of_the_way_back, dataset)["smoothness_strict"]
    assert found == pytest.approx(24 / 8 - 1 / 2, rel=1e-2)


@datasets
def test_the_true_factors_are_found(dataset: Rendered) -> None:
    values = dataset.test_factors[:30].view(6, 5).numpy()
    distance, found = find_factors(drawn(dataset, values), dataset)
    assert found.shape == distance.shape == (6, 5)
    assert distance.max() < 1e-3
    assert dataset.factor.difference(found, values).max() <= dataset.factor.span / (D - 1)


@datasets
def test_without_the_true_factors_there_is_no_endpoint_error(dataset: Rendered) -> None:
    scores = score_paths(perfect(2, dataset), dataset)
    last = "endpoint_error_px" if isinstance(dataset, Disc) else "endpoint_error_deg"
    assert list(scores) == [*NAMES, last]
    assert [name for name, score in scores.items() if math.isnan(score)] == [last]


@datasets
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_broken_pixel_makes_every_score_nan(dataset: Rendered, value: float) -> None:
    images = perfect(3, dataset)
    images[1, 4].view(-1)[5] = value
    scores = score_paths(images, dataset, torch.zeros(3, 2))
    assert list(scores)[:4] == NAMES and len(scores) == 5
    assert all(math.isnan(score) for score in scores.values())


@datasets
def test_a_scale_or_many_images_change_nothing(dataset: Rendered) -> None:
    images = noise(20, dataset, 16)  # 320 images: more than are compared at a time
    expected = score_paths(images, dataset)
    assert score_paths(1e-3 * images, dataset) == pytest.approx(expected, rel=1e-5, nan_ok=True)
    assert score_paths(images.numpy(), dataset) == pytest.approx(expected, nan_ok=True)


@datasets
def test_references_are_evenly_spaced_unit_vectors(dataset: Rendered) -> None:
    low, high = dataset.factor.low, dataset.factor.high
    values = np.linspace(low, high, 600, endpoint=not dataset.factor.periodic)  # more than are drawn at a time
    expected = drawn(dataset, values).flatten(1).double()
    found = references(dataset, 600)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected / expected.square().sum(1, keepdim=True).sqrt(), rtol=1e-6, atol=1e-6)
    assert references(dataset, 600) is found


@given(st.sampled_from([ANGLE, POSITION]), st.data())
@settings(deadline=None, max_examples=80)
def test_smoothness_of_any_path(factor: Factor, data: st.DataObject) -> None:
    found = data.draw(st.lists(st.lists(st.integers(0, D - 1), min_size=6, max_size=6), min_size=1, max_size=5))
    paths = factor.low + (factor.high - factor.low) * np.array(found) / D
    expected = [path_smoothness(list(path), factor) for path in paths]
    defined = [math.nan if e is None else e for e in expected]
    np.testing.assert_allclose(smoothness(paths, factor), defined, atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("factor", [ANGLE, POSITION])
def test_a_path_is_still_below_a_ten_thousandth_of_a_radian(factor: Factor) -> None:
    """Or, where the factor is no angle, of the same part of its range."""
    radian = (factor.high - factor.low) / TURN
    found = smoothness(np.array([[1, 1.5, 1 + 0.99e-4], [1, 1.5, 1 + 1.01e-4]]) * radian, factor)
    assert math.isnan(found[0])
    assert found[1] == pytest.approx(0.5 / 1.01e-4, rel=1e-3)


def test_a_step_of_exactly_half_a_turn_is_no_jump() -> None:
    q = np.arange(5000)[:, None] + [0, 5000, 4999]
    angles = TURN * q / D  # in the last bit, the first step is above pi for some
    for paths in (angles, TURN - angles):
        np.testing.assert_allclose(smoothness(paths, ANGLE), 5000 / 4999 - 1 / 2)


@pytest.mark.parametrize(
    "shape", [(), (2, 16), (2, 16, 64), (2, 16, 3, 8, 8), (2, 16, 1, 8, 9), (2, 1, 1, 8, 8), (0, 16, 1, 8, 8)]
)
def test_shapes_that_are_no_paths_of_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"images must be \[P, N, 1, 8, 8\] with N at least 2, not \["):
        score_paths(torch.zeros(shape), lines(8))


@pytest.mark.parametrize("shape", [(2, 16, 24), (2, 16, 1, 24, 1), (2, 16, 1, 25), (2, 1, 1, 24)])
def test_shapes_that_are_no_paths_of_sequences(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"images must be \[P, N, 1, 24\]"):
        score_paths(torch.zeros(shape), DATASETS["sinusoid"])


@pytest.mark.parametrize("values", [{"pairs": 0}, {"steps": 1}])
def test_values_that_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(UserError, match=r"FactorBenchmark\.\w+ must be a whole number of at least"):
        FactorBenchmark(**values)


def untrained(dataset: Rendered) -> Trained:
    encoder, decoder = ConvEncoder(depth=4, scales=2, latent=2), ConvDecoder(depth=4, scales=2)
    model, probe = Experiment(dataset=dataset, encoder=encoder, decoder=decoder).build()
    return Trained(model, probe, dataset)


@pytest.mark.parametrize(("asked", "test_size", "given"), [(6, 40, 6), (256, 11, 5), (20, 40, 20)])
@pytest.mark.parametrize("kind", [Lines, Sinusoid, Disc])
def test_the_first_test_examples_are_joined_with_the_next(
    kind: type[Rendered], asked: int, test_size: int, given: int
) -> None:
    dataset = kind(16, test_size=test_size) if kind is Sinusoid else kind(16, 16, test_size=test_size)
    trained = untrained(dataset)
    x, factors = dataset.test().data, dataset.test_factors
    a, b = trained.model.encode(x[:given]), trained.model.encode(x[given : 2 * given])
    images = torch.stack([trained.model.decode(a + (b - a) * t) for t in np.linspace(0, 1, 4)], 1)
    ends = torch.stack([factors[:given], factors[given : 2 * given]], 1)
    found = FactorBenchmark(pairs=asked, steps=4).evaluate(trained)
    assert found.scores == pytest.approx(score_paths(images, dataset, ends), rel=1e-5, nan_ok=True)
    assert {name: array.shape for name, array in found.arrays.items()} == {
        "distance": (given, 4),
        "factors": (given, 4),
        "ends": (given, 2),
    }
    np.testing.assert_array_equal(found.arrays["ends"], ends)
    assert found.arrays["distance"].mean() == pytest.approx(found.scores["mean_distance"])


@datasets
def test_it_fits_what_is_drawn_from_a_factor_alone(dataset: Rendered) -> None:
    benchmark = FactorBenchmark()
    assert benchmark.key == "factor"
    assert benchmark.protocol == {
        "evaluator": "FactorBenchmark",
        "version": 1,
        "pairs": 256,
        "steps": 16,
        "path": "lerp",
    }
    assert benchmark.fits(SimpleNamespace(dataset=dataset))
    assert not benchmark.fits(SimpleNamespace(dataset=SimpleNamespace(shape=dataset.shape)))
