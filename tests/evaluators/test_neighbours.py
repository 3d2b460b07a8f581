from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit.data import Digits, Disc, Split
from acaikit.errors import EvaluationError
from acaikit.evaluators import neighbours
from acaikit.evaluators.neighbours import Neighbours, without


def oracle(images: np.ndarray, examples: np.ndarray) -> list[float]:
    """The definition, one pair after another."""
    mean = examples.mean(0)
    return [
        min(
            ((x - y) ** 2).sum() / (((x - mean) ** 2).sum() + ((y - mean) ** 2).sum()) if (x != y).any() else 0.0
            for y in examples
        )
        for x in images
    ]


@pytest.mark.parametrize("shape", [(6,), (2, 5), (1, 4, 3)])
def test_distances_are_those_of_the_definition(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "CHUNK", 4)  # several chunks of both, the last ones not full
    draw = torch.Generator().manual_seed(0)
    examples, images = torch.randn(11, *shape, generator=draw), torch.randn(3, 5, *shape, generator=draw) / 2
    images[0, 0] = examples[7]
    found = Neighbours(Split(examples), "cpu").distance(images)
    assert found.shape == (3, 5) and found.dtype == torch.float64
    expected = oracle(images.flatten(0, 1).double().numpy(), examples.double().numpy())
    np.testing.assert_allclose(found.flatten().numpy(), expected, rtol=1e-5)
    assert found[0, 0] == 0


def test_pixels_are_compared_as_numbers_from_minus_one_to_one() -> None:
    pixels = torch.randint(256, (9, 1, 3, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    units = pixels.float() * 2 / 255 - 1
    found = Neighbours(Split(pixels), "cpu")
    torch.testing.assert_close(found.mean, units.mean(0))
    assert found.distance(units).max() < 1e-12


def test_where_contrast_is_equal_it_is_the_cosine_distance() -> None:
    directions = torch.nn.functional.normalize(torch.randn(8, 5, generator=torch.Generator().manual_seed(0)), dim=1)
    examples = torch.cat([directions, -directions]) + 3  # their mean is 3
    images = torch.nn.functional.normalize(torch.randn(4, 5, generator=torch.Generator().manual_seed(1)), dim=1)
    cosine = (images @ torch.cat([directions, -directions]).T).amax(1)
    torch.testing.assert_close(Neighbours(Split(examples), "cpu").distance(images + 3).float(), 1 - cosine)


def test_the_mean_is_far_from_everything_and_pale_images_are_farther_than_clear_ones() -> None:
    data = Digits()
    found = Neighbours(data.training(), "cpu")
    real = data.test().examples(slice(50))
    distances = [found.distance(found.mean + a * (real - found.mean)).mean() for a in (1, 0.7, 0.4, 0.1, 0)]
    assert distances == sorted(distances)
    assert distances[-1] == 1


def test_small_distances_are_small() -> None:
    """Discs are a thousandth of a pixel apart, and float32 products tell which is nearest to about 1e-7."""
    data = Disc(12, 12, radius=3)
    examples = data.render(torch.linspace(3, 9, 6001))
    off = torch.tensor([4.0004, 7.7773])
    found = Neighbours(Split(examples), "cpu").distance(data.render(off)).numpy()
    np.testing.assert_allclose(found, oracle(data.render(off).double().numpy(), examples.double().numpy()), atol=2e-7)
    assert found.min() > 0


@given(st.integers(1, 6), st.sampled_from([0.0, 1e-30, 1.0, 1e18, 1e30]), st.integers(0, 100))
@settings(deadline=None, max_examples=60)
def test_any_distance_is_finite_and_in_range(count: int, scale: float, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    examples = torch.randint(-1, 2, (count, 3), generator=draw).float()
    found = Neighbours(Split(examples), "cpu")
    distance = found.distance(torch.stack([found.mean, *(scale * torch.randn(4, 3, generator=draw))]))
    assert ((distance >= 0) & (distance <= 2 + 1e-9)).all()


def test_of_one_example_that_is_repeated() -> None:
    found = Neighbours(Split(torch.ones(5, 3)), "cpu")
    assert found.distance(torch.stack([torch.ones(3), torch.zeros(3)])).tolist() == [0, 1]


def test_copies_are_left_out_whatever_they_are_kept_as() -> None:
    pixels = torch.arange(12, dtype=torch.uint8).view(6, 2)
    pixels[4] = pixels[1]
    examples = Split(pixels).examples(torch.tensor([1, 3]))
    assert without(Split(pixels), examples).data.tolist() == [[0, 1], [4, 5], [10, 11]]
    floats = torch.arange(6).view(3, 2) / 10
    assert len(without(Split(floats), floats + 1e-3)) == 3
    with pytest.raises(EvaluationError, match="no training examples"):
        Neighbours(without(Split(floats), floats), "cpu")
