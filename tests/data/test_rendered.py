from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from acaikit.data import Disc, Factor, Lines, Rendered, Sinusoid
from acaikit.errors import UserError
from acaikit.rng import generator

DATASETS = [Lines(8, 8, test_size=300), Sinusoid(16, 3, test_size=300), Disc(8, 12, radius=2.5, test_size=300)]

datasets = pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: type(dataset).__name__)
ranges = st.tuples(st.floats(-50, 50), st.floats(0.01, 100)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def factor(low: float, high: float, periodic: bool) -> Factor:
    return Factor("x", low, high, periodic, "px")


@given(ranges, st.integers(2, 40))
def test_a_grid_is_even_and_counts_no_point_twice(ends: tuple[float, float], count: int) -> None:
    low, high = ends
    for periodic in (True, False):
        expected = np.linspace(low, high, count, endpoint=not periodic)
        grid = factor(low, high, periodic).grid(count)
        assert grid.dtype == torch.float64
        np.testing.assert_allclose(grid, expected, rtol=1e-12, atol=1e-12)


@given(ranges, st.floats(-300, 300), st.floats(-300, 300), st.integers(-3, 3))
def test_a_difference_is_the_shorter_way_round(ends: tuple[float, float], a: float, b: float, turns: int) -> None:
    low, high = ends
    period = high - low
    one, other = np.array([a]), np.array([b])
    assert factor(low, high, False).difference(one, other) == abs(a - b)
    found = factor(low, high, True).difference(one + turns * period, other)
    straight = math.acos(math.cos(math.remainder(a - b, period) * 2 * math.pi / period)) * period / (2 * math.pi)
    np.testing.assert_allclose(found, straight, atol=1e-6 * (1 + period))


@given(ranges, st.lists(st.floats(0, 0.999), min_size=2, max_size=9))
def test_unwrapped_values_differ_by_periods_and_never_jump(ends: tuple[float, float], shares: list[float]) -> None:
    low, high = ends
    period = high - low
    values = low + period * np.array([shares])
    assert factor(low, high, False).unwrap(values) is values
    unwrapped = factor(low, high, True).unwrap(values)
    periods = (unwrapped - values) / period
    np.testing.assert_allclose(periods, periods.round(), atol=1e-6)
    assert unwrapped[0, 0] == values[0, 0]
    assert np.abs(np.diff(unwrapped)).max() <= period * (0.5 + 1e-6)


def test_a_turn_is_told_in_degrees() -> None:
    turn = Factor.turn("angle")
    assert (turn.name, turn.low, turn.high, turn.periodic, turn.unit) == ("angle", 0, 2 * math.pi, True, "deg")
    assert turn.scale * math.pi == 180
    assert turn.scale * turn.difference(np.array([0.1]), np.array([2 * math.pi - 0.1])) == pytest.approx(
        math.degrees(0.2)
    )


@datasets
def test_every_value_gets_its_own_example(dataset: Rendered) -> None:
    values = dataset.test_factors
    examples = dataset.render(values)
    assert examples.shape == (300, *dataset.shape)
    assert examples.dtype == torch.float32
    assert examples.abs().max() <= 1
    assert torch.equal(examples, torch.cat([dataset.render(value.view(1)) for value in values]))
    assert dataset.render(torch.empty(0, dtype=torch.float64)).shape == (0, *dataset.shape)


@datasets
def test_no_two_values_look_the_same(dataset: Rendered) -> None:
    """The nearest of 1000 pictures is one beside the true value, and what lies far away looks very different."""
    factor = dataset.factor
    references = dataset.render(factor.grid(1000)).flatten(1).double()
    values = dataset.test_factors
    apart = torch.cdist(dataset.render(values).flatten(1).double(), references)
    found = factor.grid(1000)[apart.argmin(1)]
    assert factor.difference(found.numpy(), values.numpy()).max() <= factor.span / factor.intervals(1000)
    far = factor.difference(factor.grid(1000).numpy()[None], values.numpy()[:, None]) > 0.02 * factor.span
    assert apart[torch.from_numpy(far)].min() > 0.05


@datasets
def test_a_periodic_factor_and_no_other_comes_round(dataset: Rendered) -> None:
    low, high = dataset.render(torch.tensor([dataset.factor.low, dataset.factor.high], dtype=torch.float64))
    assert torch.allclose(low, high, atol=1e-5) == dataset.factor.periodic


@datasets
def test_labels_are_tenths_of_the_range(dataset: Rendered) -> None:
    low, high = dataset.factor.low, dataset.factor.high
    for within in (0.01, 0.5, 0.99):
        tenths = low + (torch.arange(10, dtype=torch.float64) + within) * (high - low) / 10
        assert torch.equal(dataset.label(tenths), torch.arange(10))
    ends = torch.tensor([low, math.nextafter(high, low), high], dtype=torch.float64)
    assert dataset.label(ends).tolist() == [0, 9, 9]


@datasets
def test_the_test_split_is_fixed(dataset: Rendered) -> None:
    values = dataset.test_factors
    # The first numbers of numpy.random.default_rng(0).
    along = (values[:3] - dataset.factor.low) / (dataset.factor.high - dataset.factor.low)
    np.testing.assert_allclose(along, [0.6369616873214543, 0.2697867137638703, 0.0409735239], rtol=1e-9)
    split = dataset.test()
    assert len(split) == dataset.test_size == 300
    assert torch.equal(split.data, dataset.render(values))
    assert torch.equal(split.labels, dataset.label(values))
    assert torch.equal(dataset.test().data, split.data)


class Watched(Rendered):
    """Remembers which values it was asked to draw; an example is its value."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__((1,), factor(low, high, False), test_size=2)
        self.seen: list[torch.Tensor] = []

    def render(self, values: torch.Tensor) -> torch.Tensor:
        self.seen.append(values)
        return values.float().view(-1, 1)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 5), (4, 28)])
def test_the_stream_draws_uniform_values_and_labels_them(low: float, high: float) -> None:
    dataset = Watched(low, high)
    stream = dataset.train(500, generator(0, "data"))
    labels = []
    for _ in range(20):
        x, y = stream.next()
        assert torch.equal(x, dataset.seen[-1].float().view(500, 1))
        assert torch.equal(y, dataset.label(dataset.seen[-1]))
        labels.append(y)
    # The seed is fixed: these are no rolls of the dice.
    assert kstest((torch.cat(dataset.seen) - low) / (high - low), "uniform").pvalue > 0.01
    assert chisquare(torch.cat(labels).bincount(minlength=10)).pvalue > 0.01


@datasets
def test_the_stream_goes_on_from_a_saved_position(dataset: Rendered) -> None:
    noise = generator(0, "data")
    stream = dataset.train(6, noise)
    stream.next()
    saved, at = stream.state_dict(), noise.get_state()
    expected = [stream.next() for _ in range(3)]
    noise = generator(1, "data")
    resumed = dataset.train(6, noise)
    resumed.next()
    noise.set_state(at)
    resumed.load_state_dict(saved)
    for x, y in expected:
        again_x, again_y = resumed.next()
        assert torch.equal(x, again_x)
        assert torch.equal(y, again_y)


@pytest.mark.parametrize("kind", [Lines, Sinusoid, Disc])
@pytest.mark.parametrize(("size", "said"), [(1, "1"), (2.0, "2.0: write 2"), (True, "True"), (None, "None")])
def test_a_test_set_without_a_pair(kind: type[Rendered], size: object, said: str) -> None:
    with pytest.raises(
        UserError, match=rf"^{kind.__name__}\.test_size must be a whole number of at least 2, not {said}$"
    ):
        kind(test_size=size)


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(DATASETS[1:]), st.floats(0, 1, exclude_max=True))
def test_a_small_step_is_a_small_change(dataset: Rendered, share: float) -> None:
    """Sinusoids and discs move without jumps, which lines have where the drawing turns from rows to columns."""
    value = dataset.factor.low + share * dataset.factor.span
    one, other = dataset.render(torch.tensor([value, value + 1e-3], dtype=torch.float64))
    assert 0 < (one - other).abs().max() < 3e-3


def test_training_examples_are_none_of_the_test_examples_and_always_the_same() -> None:
    lines = Lines(8, 8, test_size=500)
    found = lines.training(500)
    torch.testing.assert_close(found.data[:100], lines.training(100).data)
    np.testing.assert_allclose(found.data.flatten(1).sum(1)[:3].numpy(), [-52.5962, -52.0000, -55.1137], rtol=1e-5)
    same = (found.data.flatten(1)[:, None] == lines.test().data.flatten(1)[None]).all(2)
    assert not same.any()
    assert torch.bincount(found.labels, minlength=10).min() > 20
