from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal.windows import hann

from acaikit.data import Sinusoid
from acaikit.errors import UserError

sizes = st.integers(4, 80).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, (n - 1) // 2)))


@given(st.floats(-20, 20), sizes)
@settings(deadline=None)
def test_render_is_the_formula_sample_by_sample(phase: float, size: tuple[int, int]) -> None:
    length, cycles = size
    expected = []
    for n in range(length):
        t = (n + 0.5) / length
        expected.append(math.sin(math.pi * t) ** 2 * (1 + math.cos(2 * math.pi * cycles * t - phase)) - 1)
    drawn = Sinusoid(length, cycles).render(torch.tensor([phase], dtype=torch.float64))
    assert drawn.shape == (1, 1, length)
    np.testing.assert_allclose(drawn[0, 0], expected, atol=1e-6)


def test_the_window_is_scipys() -> None:
    """Where the wave is at its top, the window alone is left: Hann, at the middle of each of `length` parts."""
    one, other = Sinusoid(64, 4).render(torch.tensor([0, math.pi], dtype=torch.float64)).double()
    np.testing.assert_allclose((one + other)[0] / 2 + 1, hann(2 * 64 + 1)[1::2], atol=1e-6)


def test_a_growing_phase_moves_the_wave_to_the_right() -> None:
    tops = Sinusoid(64, 1).render(torch.tensor([2.5, 3.0, 3.5], dtype=torch.float64))[:, 0].argmax(1)
    assert tops[0] < tops[1] < tops[2]


@given(sizes, st.integers(0, 10**6))
@settings(deadline=None, max_examples=60)
def test_the_nearest_wave_tells_the_phase(size: tuple[int, int], seed: int) -> None:
    """By cosine distance, which is what the benchmark looks at, for every length and number of cycles allowed."""
    dataset, count = Sinusoid(*size), 720
    phases = np.random.default_rng(seed).uniform(0, 2 * math.pi, 20)
    drawn, references = (
        dataset.render(values)[:, 0].double()
        for values in (torch.from_numpy(phases), 2 * math.pi * torch.arange(count, dtype=torch.float64) / count)
    )
    cosine = torch.nn.functional.cosine_similarity(drawn[:, None], references[None], dim=2)
    found = 2 * math.pi * cosine.argmax(1).numpy() / count
    assert np.abs(np.angle(np.exp(1j * (found - phases)))).max() < 0.05


def test_a_mixture_of_two_waves_is_no_wave() -> None:
    """Without the bias of -1 it would be one, only lower, and a cosine distance could not tell."""
    dataset = Sinusoid()
    one, other = dataset.render(torch.tensor([1.0, 3.0], dtype=torch.float64)).flatten(1).double()
    references = dataset.render(dataset.factor.grid(5000)).flatten(1).double()

    def distance(x: torch.Tensor, to: torch.Tensor) -> float:
        return float(1 - torch.nn.functional.cosine_similarity(x[None], to, dim=1).max())

    assert distance(one, references) < 1e-6
    assert distance((one + other) / 2, references) > 0.01
    assert distance((one + other) / 2 + 1 - (references.mean(0) + 1), references - references.mean(0)) < 1e-6


@pytest.mark.parametrize(
    ("length", "cycles", "said"),
    [
        (3, 1, "Sinusoid.length must be a whole number of at least 4, not 3"),
        (64.0, 1, "Sinusoid.length must be a whole number of at least 4, not 64.0"),
        (64, 0, "Sinusoid.cycles must be a whole number of at least 1, not 0"),
        (64, 2.5, "Sinusoid.cycles must be a whole number of at least 1, not 2.5"),
        (64, 32, "Sinusoid.cycles = 32 needs a length above 64, not 64"),
        (8, 40, "Sinusoid.cycles = 40 needs a length above 80, not 8"),
    ],
)
def test_values_that_are_refused(length: int, cycles: int, said: str) -> None:
    with pytest.raises(UserError) as caught:
        Sinusoid(length, cycles)
    assert said in str(caught.value)
