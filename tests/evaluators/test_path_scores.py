from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from acaikit.evaluators.path_scores import endpoint_mse, evenness, length_ratio, monotonicity, moves, step_ratio

SCORES = [moves, endpoint_mse, step_ratio, evenness, monotonicity, length_ratio]


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return math.sqrt(sum((u - v) ** 2 for u, v in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True)))


def oracle(path: np.ndarray, first: np.ndarray, last: np.ndarray) -> dict[str, float]:
    """The definitions, one step after another."""
    steps = [distance(path[n], path[n + 1]) for n in range(len(path) - 1)]
    scale, straight = distance(first, last), distance(path[0], path[-1])
    still = max(steps) <= 1e-4 * scale
    monotone = [
        distance(path[n + 1], first) > distance(path[n], first)
        and distance(path[n + 1], last) < distance(path[n], last)
        for n in range(len(steps))
    ]
    least, mean = 1 / len(steps), sum(steps) / len(steps)
    squares = [(path[0] - first) ** 2, (path[-1] - last) ** 2]
    return {
        "moves": not still,
        "endpoint_mse": sum(float(s.sum()) for s in squares) / (2 * first.size),
        "step_ratio": math.nan if still else max(steps) / mean,
        "evenness": 0.0 if still else (mean / max(steps) - least) / (1 - least),
        "monotonicity": 0.0 if still else sum(monotone) / len(steps),
        "length_ratio": sum(steps) / straight if straight > 1e-4 * scale else math.nan,
    }


@pytest.mark.parametrize("shape", [(5,), (2, 4), (3, 4, 2)])
@pytest.mark.parametrize("steps", [3, 4, 16])
def test_scores_are_those_of_the_definitions(shape: tuple[int, ...], steps: int) -> None:
    draw = torch.Generator().manual_seed(steps)
    paths, ends = torch.randn(6, steps, *shape, generator=draw), torch.randn(6, 2, *shape, generator=draw)
    paths[1] = paths[1, :1]  # still
    paths[2, -1] = paths[2, 0]  # back at its beginning
    paths[3] = torch.lerp(ends[3, :1], ends[3, 1:], torch.linspace(0, 1, steps).view(-1, *[1] * len(shape)))
    paths[4, 1:] = paths[4, 1:2]  # one step
    paths[5] = paths[5, :1] + 1e-6 * paths[5]  # still, but for the last digits
    expected = [oracle(*(v.double().numpy() for v in (path, *pair))) for path, pair in zip(paths, ends, strict=True)]
    for score in SCORES:
        found = score(paths, ends)
        assert found.shape == (6,) and found.dtype == (torch.bool if score is moves else torch.float64)
        np.testing.assert_allclose(found.numpy(), [e[score.__name__] for e in expected], rtol=1e-6, atol=1e-9)


numbers = st.floats(-100, 100, width=32)


@given(st.lists(st.lists(numbers, min_size=2, max_size=2), min_size=3, max_size=8), st.tuples(numbers, numbers))
@settings(deadline=None, max_examples=100)
def test_ranges_of_any_path(points: list[list[float]], other: tuple[float, float]) -> None:
    path = torch.tensor(points).unsqueeze(0)
    ends = torch.tensor([[points[0], other]])
    steps = len(points) - 1
    assert 0 <= evenness(path, ends).item() <= 1
    assert 0 <= monotonicity(path, ends).item() <= 1
    if moves(path, ends).item():
        assert 1 - 1e-9 <= step_ratio(path, ends).item() <= steps + 1e-9
    assert not length_ratio(path, ends).item() < 1 - 1e-9


def along(t: list[float]) -> tuple[Tensor, Tensor]:
    """A straight path through the points at `t`, and its ends."""
    ends = torch.tensor([[[1.0, 2.0, 0.0], [3.0, -2.0, 4.0]]])
    return torch.lerp(ends[:, :1], ends[:, 1:], torch.tensor(t, dtype=torch.float32).view(1, -1, 1)), ends


@pytest.mark.parametrize(
    ("t", "expected"),
    [
        ([0, 0.25, 0.5, 0.75, 1], {step_ratio: 1, evenness: 1, monotonicity: 1, length_ratio: 1}),
        ([0, 0, 0, 1, 1], {step_ratio: 4, evenness: 0, monotonicity: 0.25, length_ratio: 1}),
        ([0, 0.5, 0, 0.5, 1], {step_ratio: 1, evenness: 1, monotonicity: 0.75, length_ratio: 2}),
        ([1, 0.75, 0.5, 0.25, 0], {step_ratio: 1, evenness: 1, monotonicity: 0, length_ratio: 1}),
        ([0.5] * 5, {step_ratio: math.nan, evenness: 0, monotonicity: 0, length_ratio: math.nan}),
        ([0, 0.5, 1, 0.5, 0], {step_ratio: 1, evenness: 1, monotonicity: 0.5, length_ratio: math.nan}),
    ],
)
def test_paths_on_a_straight_line(t: list[float], expected: dict[Callable[..., Tensor], float]) -> None:
    paths, ends = along(t)
    for score, value in expected.items():
        assert score(paths, ends).item() == pytest.approx(value, rel=1e-6, nan_ok=True)


def test_one_jump_has_an_evenness_of_exactly_nothing() -> None:
    ends = torch.randn(200, 2, 7, generator=torch.Generator().manual_seed(0))
    for steps in (3, 8, 16, 33):
        t = torch.arange(steps).view(1, -1, 1) >= steps / 2
        assert (evenness(torch.where(t, ends[:, 1:], ends[:, :1]), ends) == 0).all()


def test_no_unit_but_that_of_the_error() -> None:
    draw = torch.Generator().manual_seed(0)
    paths, ends = torch.randn(4, 6, 3, generator=draw), torch.randn(4, 2, 3, generator=draw)
    for score in SCORES:
        factor = 1e-8 if score is endpoint_mse else 1
        torch.testing.assert_close(
            score(1e-4 * paths, 1e-4 * ends), (factor * score(paths, ends).double()).to(score(paths, ends))
        )
