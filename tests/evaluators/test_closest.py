from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from acaikit.data import Disc, Lines, Rendered, Sinusoid
from acaikit.evaluators import closest
from acaikit.evaluators.closest import nearest
from acaikit.evaluators.factor import references

Floats = NDArray[np.float64]
ROUNDING = 1e-13

CURVES = {"lines": Lines(8, 8), "sinusoid": Sinusoid(24, 3), "disc": Disc(8, 12, radius=2.5)}


@pytest.fixture(autouse=True, params=[0, 10**9], ids=["by runs", "all at once"])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """From how many images on runs are passed over: each test sees both ways."""
    monkeypatch.setattr(closest, "FEW", request.param)
    return int(request.param)


def distances(images: torch.Tensor, vectors: torch.Tensor) -> Floats:
    """All of them, ``[M, D]``."""
    x = images.double().numpy()
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    found: Floats = 1 - np.divide(x, norm, out=np.zeros_like(x), where=norm > 0) @ vectors.numpy().T
    return found


def check(images: torch.Tensor, vectors: torch.Tensor) -> None:
    every = distances(images, vectors)
    distance, index = nearest(images, vectors)
    assert distance.dtype == np.float64 and index.dtype == np.int64
    assert distance.min() >= 0
    np.testing.assert_allclose(distance, every.min(1), rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(every[np.arange(len(images)), index], every.min(1), rtol=0, atol=ROUNDING)
    clear = np.partition(every, 1, axis=1)[:, 1] - every.min(1) > 2 * ROUNDING
    np.testing.assert_array_equal(index[clear], every.argmin(1)[clear])


def images_of(dataset: Rendered) -> dict[str, torch.Tensor]:
    """Forty of each kind."""
    draw = torch.Generator().manual_seed(0)
    factor = dataset.factor
    values = factor.low + factor.span * torch.rand(40, dtype=torch.float64, generator=draw)
    true = dataset.render(values).flatten(1)
    noise = torch.randn(true.shape, generator=draw)
    halfway = factor.grid(300)[:40] + factor.span / factor.intervals(300) / 2
    return {
        "true": true,
        "dissolves": 0.5 * true + 0.5 * true.flip(0),
        "decoded": 0.8 * true + 0.05 * noise,
        "noise": noise,
        "nearly blank": -1 + 1e-3 * noise,
        "blank": torch.full_like(true, -1),
        "opposite": -true,
        "tiny": 1e-6 * true,
        "between two references": dataset.render(halfway).flatten(1),
    }


@pytest.mark.parametrize("dataset", CURVES.values(), ids=CURVES)
def test_it_finds_what_a_look_at_all_references_finds(dataset: Rendered) -> None:
    vectors = references(dataset, 300)
    for images in images_of(dataset).values():
        check(images, vectors)


@given(st.data())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_images_and_references(data: st.DataObject) -> None:
    """References in any order and of any number, not along a curve at all, some more than once."""
    count, size = data.draw(st.integers(2, 130)), data.draw(st.integers(1, 6))
    draw = torch.Generator().manual_seed(data.draw(st.integers(0, 9)))
    vectors, images = (torch.randn(n, size, generator=draw).double() for n in (count, 30))
    if data.draw(st.booleans()):  # few directions: many references are equally near, and some are none
        vectors, images = vectors.round(), images.round()
    check(images, torch.nn.functional.normalize(vectors, dim=1))


def test_of_the_same_references_the_first_is_taken() -> None:
    vectors = torch.eye(4, dtype=torch.float64).repeat_interleave(60, 0).roll(30, 0)  # within a run, and across runs
    distance, index = nearest(torch.eye(4), vectors)
    assert distance.tolist() == [0, 0, 0, 0]
    assert index.tolist() == [30, 90, 150, 0]


def test_a_radius_too_small_for_its_cosine_to_tell() -> None:
    """The cosine of 1e-8 radians is 1 in float64, but to an image at a right angle they count."""
    towards = torch.zeros(100, dtype=torch.float64)
    towards[0], towards[50:] = 1e-8, 5e-9
    distance, index = nearest(torch.tensor([[0.0, 1.0]]), torch.stack([torch.ones(100), towards], 1).double())
    assert index.tolist() == [0] and distance.tolist() == [1 - 1e-8]


def test_an_image_without_direction_is_at_distance_one_from_the_first() -> None:
    distance, index = nearest(torch.zeros(2, 64), references(Lines(8, 8), 100))
    assert distance.tolist() == [1, 1] and index.tolist() == [0, 0]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_image_breaks_no_other(value: float) -> None:
    images = torch.ones(3, 64)
    images[1, 5] = value
    distance, index = nearest(images, references(Lines(8, 8), 100))
    whole, first = nearest(torch.ones(1, 64), references(Lines(8, 8), 100))
    assert math.isnan(distance[1])
    assert distance[[0, 2]].tolist() == [*whole] * 2 and index[[0, 2]].tolist() == [*first] * 2


def test_more_images_than_fit_into_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closest, "BLOCK", 7)
    check(images_of(CURVES["lines"])["decoded"], references(CURVES["lines"], 300))


def test_few_references_are_looked_at(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Lines(16, 16)
    vectors, products = references(dataset, 10_000), []
    maximum = torch.max
    monkeypatch.setattr(torch, "max", lambda found, dim: products.append(found.numel()) or maximum(found, dim=dim))
    images = dataset.render(torch.rand(100, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).flatten(1)
    nearest(images, vectors)
    assert (sum(products) < 300 * len(images)) == (few == 0)
