from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from acaikit.data import Disc, Lines, Rendered, Sinusoid
from acaikit.evaluators.counterfeits import TONES, counterfeits, dissolves, perfect


@pytest.mark.parametrize("steps", [3, 4, 9])
@pytest.mark.parametrize("shape", [(4,), (1, 3, 2)])
def test_counterfeits_one_image_after_another(steps: int, shape: tuple[int, ...]) -> None:
    ends = torch.randn(3, 2, *shape, generator=torch.Generator().manual_seed(0))
    mean, t = torch.full(shape, 0.25), torch.linspace(0, 1, steps)
    found = counterfeits(ends, t, mean)
    assert list(found) == ["cross_dissolve", "abrupt_switch", "collapsed"]
    for p, (x1, x2) in enumerate(ends):
        for n in range(steps):
            at = n / (steps - 1)
            torch.testing.assert_close(found["cross_dissolve"][p, n], (1 - at) * x1 + at * x2)
            assert found["abrupt_switch"][p, n].equal(x1 if at < 0.5 else x2)
            assert found["collapsed"][p, n].equal(mean)


def test_the_ends_of_a_dissolve_and_a_switch_are_the_examples() -> None:
    ends = torch.randn(20, 2, 5, generator=torch.Generator().manual_seed(0))
    for name, paths in counterfeits(ends, torch.linspace(0, 1, 16), torch.zeros(5)).items():
        assert paths[:, [0, -1]].equal(ends) == (name != "collapsed")


@pytest.mark.parametrize("dataset", [Lines(8, 8), Sinusoid(16, 2)])
def test_a_perfect_path_takes_the_shorter_way_round(dataset: Rendered) -> None:
    turn = 2 * math.pi
    factors = torch.tensor([[0.1, 6.1], [6.1, 0.1], [1.0, 3.0]], dtype=torch.float64)
    ways = np.array([[0.1, 6.1 - turn], [6.1, 0.1 + turn], [1.0, 3.0]])
    images = perfect(dataset, factors, torch.linspace(0, 1, 5))
    for p, (low, high) in enumerate(ways):
        values = torch.from_numpy(np.linspace(low, high, 5) % turn)
        torch.testing.assert_close(images[p], dataset.render(values), atol=1e-5, rtol=0)


def test_where_there_is_no_circle_there_is_one_way() -> None:
    dataset = Disc(8, 16, radius=2)
    images = perfect(dataset, torch.tensor([[2.0, 13.0]], dtype=torch.float64), torch.linspace(0, 1, 4))
    expected = dataset.render(torch.from_numpy(np.linspace(2, 13, 4)))
    torch.testing.assert_close(images[0], expected, atol=1e-5, rtol=0)


def test_a_drawer_is_never_asked_for_what_is_out_of_range() -> None:
    class Strict(Lines):
        def render(self, values: torch.Tensor) -> torch.Tensor:
            assert (values >= 0).all() and (values < 2 * math.pi).all()
            return super().render(values)

    perfect(Strict(8, 8), torch.tensor([[0.1, 6.2], [6.2, 0.1]], dtype=torch.float64), torch.linspace(0, 1, 16))


def test_dissolves_are_those_of_the_formula_with_the_ends_as_they_are() -> None:
    ends = 1.5 * torch.randn(4, 2, 3, 5, generator=torch.Generator().manual_seed(0))
    ends[0] = torch.tensor([-1.0, 1.0]).view(2, 1, 1)
    assert (ends.abs() > 1).any()
    t = torch.linspace(0, 1, 6)
    plain, *toned = dissolves(ends, t)
    torch.testing.assert_close(plain, torch.lerp(ends[:, :1], ends[:, 1:], t.view(-1, 1, 1)))
    assert len(toned) == len(TONES)
    for found, s in zip(toned, TONES, strict=True):
        torch.testing.assert_close(found[:, [0, -1]], ends, atol=1e-4, rtol=0)
        for x1, x2, path in zip(*(v.double().flatten().numpy() for v in ends.unbind(1)), _pixels(found), strict=True):
            for at, value in zip(t.tolist(), path, strict=True):
                inside = [np.arctanh(np.tanh(s) * np.clip(x, -1, 1)) for x in (x1, x2)]
                off = [x - np.clip(x, -1, 1) for x in (x1, x2)]
                expected = np.tanh((1 - at) * inside[0] + at * inside[1]) / np.tanh(s) + (1 - at) * off[0] + at * off[1]
                assert value == pytest.approx(expected, abs=1e-4)


def _pixels(paths: torch.Tensor) -> np.ndarray:
    """One row per pixel of each pair, with its values along the path."""
    return paths.movedim(1, -1).flatten(0, -2).double().numpy()
