from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from acaikit.data.lines import render
from acaikit.errors import UserError
from acaikit.evaluators.base import Trained
from acaikit.evaluators.lines import LinesBenchmark, nearest_lines, reference_lines, score_paths, smoothness

D = 10_000
NAMES = ["mean_distance", "smoothness_paper", "smoothness_strict", "undefined_share", "endpoint_error_deg"]


def path_smoothness(angles: list[float]) -> float | None:
    """The definition, along one path; None where its two ends are the same."""
    unwrapped = [angles[0]]
    for before, angle in pairwise(angles):
        step = angle - before
        if abs(step) > math.pi + 1e-9:
            step -= math.copysign(2 * math.pi, step)
        unwrapped.append(unwrapped[-1] + step)
    span = abs(unwrapped[0] - unwrapped[-1])
    if span < 1e-4:
        return None
    steps = [abs(b - a) for a, b in pairwise(unwrapped)]
    return max(steps) / span - 1 / (len(angles) - 1)


def oracle(images: torch.Tensor, ends: torch.Tensor) -> dict[str, float]:
    """The definitions of the method's section 4, one path after another."""
    height, width = images.shape[-2:]
    lines = render(2 * math.pi * np.arange(D) / D, height, width).reshape(D, -1).double().numpy()
    distances, defined, errors = [], [], []
    for path, (first, last) in zip(images, ends, strict=True):
        cost = cdist(path.reshape(len(path), -1).double().numpy(), lines, "cosine")
        distances += list(cost.min(1))
        found = [2 * math.pi * int(q) / D for q in cost.argmin(1)]
        defined.append(path_smoothness(found))
        for true, seen in ((float(first), found[0]), (float(last), found[-1])):
            errors.append(math.degrees(math.acos(math.cos(true - seen))))
    moving = [value for value in defined if value is not None]
    return {
        "mean_distance": sum(distances) / len(distances),
        "smoothness_paper": sum(moving) / len(defined),
        "smoothness_strict": sum(moving) / len(moving) if moving else math.nan,
        "undefined_share": defined.count(None) / len(defined),
        "endpoint_error_deg": sum(errors) / len(errors),
    }


def pairs(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Uniform random angles, and where the second lies on the shorter way from the first."""
    first, second = np.random.default_rng(seed).uniform(0, 2 * np.pi, (2, count))
    return first, first + (second - first + np.pi) % (2 * np.pi) - np.pi


def perfect(count: int, side: int, steps: int = 16) -> torch.Tensor:
    first, second = pairs(count)
    along = first[:, None] + (second - first)[:, None] * np.linspace(0, 1, steps)
    return render(along, side, side).view(count, steps, 1, side, side)


def dissolve(count: int, side: int, steps: int = 16) -> torch.Tensor:
    first, second = (render(angles, side, side)[:, None] for angles in pairs(count))
    t = torch.linspace(0, 1, steps).view(1, -1, 1, 1, 1)
    return (1 - t) * first + t * second


def switch(count: int, side: int, steps: int = 16) -> torch.Tensor:
    first, second = (render(angles, side, side)[:, None] for angles in pairs(count))
    return torch.cat([first] * (steps // 2) + [second] * (steps - steps // 2), 1)


def noise(count: int, side: int, steps: int = 16) -> torch.Tensor:
    return torch.randn(count, steps, 1, side, side, generator=torch.Generator().manual_seed(0))


def partly_still(count: int, side: int, steps: int = 16) -> torch.Tensor:
    images = noise(count, side, steps)
    images[::3] = images[::3, :1]
    return images


@pytest.mark.parametrize("make", [perfect, dissolve, switch, noise, partly_still])
@pytest.mark.parametrize(("side", "steps"), [(8, 16), (8, 2), (16, 5)])
def test_scores_are_those_of_the_definitions(make: Callable[..., torch.Tensor], side: int, steps: int) -> None:
    images, ends = make(7, side, steps), torch.from_numpy(np.stack(pairs(7, seed=1), 1))
    assert score_paths(images, ends) == pytest.approx(oracle(images, ends), rel=1e-6, abs=1e-9, nan_ok=True)


def test_images_that_are_not_square() -> None:
    images, ends = torch.randn(6, 4, 1, 8, 12, generator=torch.Generator().manual_seed(0)), torch.rand(6, 2)
    assert score_paths(images, ends) == pytest.approx(oracle(images, ends), rel=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    ("make", "mean_distance", "smooth"),
    [(perfect, 0.0002e-3, 0.0005), (dissolve, 6.2e-3, 0.87), (switch, 0.0002e-3, 0.93)],
)
def test_known_values_of_synthetic_paths(
    make: Callable[..., torch.Tensor], mean_distance: float, smooth: float
) -> None:
    """Those of the method's section 4, to the digits that it gives."""
    scores = score_paths(make(256, 32), torch.from_numpy(np.stack(pairs(256), 1)))
    assert scores["mean_distance"] == pytest.approx(mean_distance, rel=0.25 if mean_distance < 1e-3 else 0.01)
    assert scores["smoothness_strict"] == pytest.approx(smooth, rel=0.1 if smooth < 0.01 else 0.01)
    assert scores["smoothness_paper"] == scores["smoothness_strict"]
    assert scores["undefined_share"] == 0
    assert scores["endpoint_error_deg"] < 0.02  # half of 360 / 10,000 degrees at most


def test_a_decoder_that_ignores_its_input_is_found_out() -> None:
    images = render([1.0], 16, 16).expand(5, 16, 1, 16, 16)
    scores = score_paths(images, torch.tensor([[1.0, 1.0 + math.pi]] * 5))
    assert scores["undefined_share"] == 1
    assert scores["smoothness_paper"] == 0
    assert math.isnan(scores["smoothness_strict"])
    assert scores["mean_distance"] < 1e-5
    assert scores["endpoint_error_deg"] == pytest.approx(90, abs=0.05)


def test_the_endpoint_error_is_the_angle_on_the_circle() -> None:
    images = render([0.01, 3.0], 32, 32).view(1, 2, 1, 32, 32)
    for off in (0.0, 0.25, -0.25, math.pi - 0.01):
        for turns in (-2 * math.pi, 0, 2 * math.pi):
            ends = torch.tensor([[0.01 + off + turns, 3.0 - off]], dtype=torch.float64)
            assert score_paths(images, ends)["endpoint_error_deg"] == pytest.approx(math.degrees(abs(off)), abs=0.03)


def test_without_the_true_angles_there_is_no_endpoint_error() -> None:
    scores = score_paths(perfect(2, 8))
    assert [name for name in NAMES if math.isnan(scores[name])] == ["endpoint_error_deg"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_broken_pixel_makes_every_score_nan(value: float) -> None:
    images = perfect(3, 8)
    images[1, 4, 0, 2, 3] = value
    scores = score_paths(images, torch.zeros(3, 2))
    assert list(scores) == NAMES
    assert all(math.isnan(score) for score in scores.values())


def test_a_scale_or_many_images_change_nothing() -> None:
    images = noise(20, 8, 16)  # 320 images: more than are compared at a time
    assert score_paths(1e-3 * images) == pytest.approx(score_paths(images), rel=1e-5, nan_ok=True)
    assert score_paths(images.numpy()) == pytest.approx(score_paths(images), nan_ok=True)


def test_an_image_without_direction_is_at_distance_one() -> None:
    distance, _ = nearest_lines(torch.zeros(2, 64), reference_lines(100, 8, 8))
    assert distance.tolist() == [1, 1]


def test_reference_lines_are_whole_turns_of_unit_vectors() -> None:
    lines = reference_lines(12, 8, 8)
    expected = render([2 * math.pi * q / 12 for q in range(12)], 8, 8).reshape(12, 64).double()
    torch.testing.assert_close(lines, expected / expected.square().sum(1, keepdim=True).sqrt())


@given(st.lists(st.lists(st.integers(0, D - 1), min_size=6, max_size=6), min_size=1, max_size=5))
@settings(deadline=None, max_examples=80)
def test_smoothness_of_any_path(lines: list[list[int]]) -> None:
    paths = 2 * math.pi * np.array(lines) / D
    expected = [path_smoothness(list(path)) for path in paths]
    np.testing.assert_allclose(smoothness(paths), [math.nan if e is None else e for e in expected], atol=1e-9)


def test_a_path_is_still_below_a_ten_thousandth() -> None:
    found = smoothness(np.array([[1, 1.5, 1 + 0.99e-4], [1, 1.5, 1 + 1.01e-4]]))
    assert math.isnan(found[0])
    assert found[1] == pytest.approx(0.5 / 1.01e-4, rel=1e-3)


def test_a_step_of_exactly_half_a_turn_is_no_jump() -> None:
    q = np.arange(5000)[:, None] + [0, 5000, 4999]
    angles = 2 * math.pi * q / D  # in the last bit, the first step is above pi for some
    for paths in (angles, 2 * math.pi - angles):
        np.testing.assert_allclose(smoothness(paths), 5000 / 4999 - 1 / 2)


@pytest.mark.parametrize("shape", [(2, 16, 64), (2, 16, 3, 8, 8), (2, 1, 1, 8, 8), (0, 16, 1, 8, 8)])
def test_shapes_that_are_no_paths(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\[P, N, 1, H, W\]"):
        score_paths(torch.zeros(shape))


@pytest.mark.parametrize("values", [{"pairs": 0}, {"steps": 1}])
def test_values_that_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(UserError, match="at least"):
        LinesBenchmark(**values)


@pytest.mark.parametrize(("asked", "test_size", "given"), [(6, 40, 6), (256, 11, 5)])
def test_the_first_test_images_are_joined_with_the_next(
    tiny: Callable[..., Trained], asked: int, test_size: int, given: int
) -> None:
    trained = tiny(test_size)
    x, angles = trained.dataset.test().data, trained.dataset.test_angles
    a, b = trained.model.encode(x[:given]), trained.model.encode(x[given : 2 * given])
    images = torch.stack([trained.model.decode(a + (b - a) * t) for t in np.linspace(0, 1, 4)], 1)
    expected = score_paths(images, torch.stack([angles[:given], angles[given : 2 * given]], 1))
    found = LinesBenchmark(pairs=asked, steps=4).evaluate(trained)
    assert found.scores == pytest.approx(expected, rel=1e-5, nan_ok=True)


def test_it_fits_lines_alone(tiny: Callable[..., Trained]) -> None:
    benchmark = LinesBenchmark()
    assert benchmark.key == "lines"
    assert benchmark.protocol == {"evaluator": "LinesBenchmark", "pairs": 256, "steps": 16, "path": "lerp"}
    assert benchmark.fits(tiny())
    assert not benchmark.fits(SimpleNamespace(dataset=SimpleNamespace(shape=(1, 8, 8))))
