from __future__ import annotations

import json
from pathlib import Path

import pytest

from acaikit.recipes import shipped
from acaikit.report import paper
from acaikit.report.paper import SCORES, Published, departures, published, raw_data


@pytest.mark.parametrize(
    ("recipe", "score", "expected"),
    [  # as the paper prints them; Mean Distance is printed in 1e-3
        ("lines_acai_64", "factor/mean_distance", (0.24e-3, 0.01e-3)),
        ("lines_baseline_64", "factor/mean_distance", (6.88e-3, 0.21e-3)),
        ("lines_vqvae_64", "factor/smoothness_paper", (0.77, 0.02)),
        ("mnist_vae_256", "probe/accuracy", (98.74, 0.14)),
        ("svhn_baseline_32", "probe/accuracy", (26.21, 0.42)),
        ("cifar10_acai_1024", "probe/accuracy", (63.99, 0.47)),
        ("mnist_acai_32", "kmeans/accuracy", (94.38, None)),
        ("svhn_aae_256", "kmeans/accuracy", (13.59, None)),
    ],
)
def test_numbers_of_the_paper(recipe: str, score: str, expected: tuple[float, float | None]) -> None:
    found = published(recipe, score)
    assert (found.mean, found.std, found.n) == (pytest.approx(expected[0]), pytest.approx(expected[1]), 5)


@pytest.mark.parametrize(
    ("recipe", "score"),
    [
        ("lines_acai_64", "probe/accuracy"),
        ("lines_acai_64", "factor/smoothness_strict"),
        ("lines_acai_32", "factor/mean_distance"),
        ("mnist_acai_256", "factor/mean_distance"),
        ("mnist_acai_256", "kmeans_strict/accuracy"),
        ("mnist_acai_256", "reconstruction/mse"),
        ("mnist_vae_acai_256", "probe/accuracy"),
        ("cifar10_acai_256", "kmeans/accuracy"),
        ("celeba_acai_256", "probe/accuracy"),
        ("quickstart", "factor/mean_distance"),
        ("mnist_others_256", "kmeans/accuracy"),
        ("", "probe/accuracy"),
    ],
)
def test_where_the_paper_is_silent(recipe: str, score: str) -> None:
    assert published(recipe, score) is None


def test_every_number_belongs_to_a_shipped_recipe() -> None:
    tables = json.loads((Path(paper.__file__).parent / "paper_tables.json").read_text())
    printed = sum(len(models) for models in tables["lines"].values())
    for table in ("probe_accuracy", "clustering_accuracy"):
        printed += sum(len(m) for name, m in tables[table].items() if name not in ("raw_pixels", "others"))
    found = [cell for recipe in shipped() for score in SCORES if (cell := published(recipe, score))]
    assert len(found) == printed == 14 + 42 + 28
    assert all(isinstance(cell, Published) for cell in found)


@pytest.mark.parametrize(
    ("key", "dataset", "expected"),
    [
        ("probe", "MNIST", 92.31),
        ("linear_probe", "SVHN", 23.48),
        ("probe", "CIFAR10", 39.70),
        ("kmeans", "MNIST", 53.2),
        ("kmeans_strict", "SVHN", 17.9),
        ("kmeans", "CIFAR10", None),
        ("probe", "Lines", None),
        ("reconstruction", "MNIST", None),
    ],
)
def test_raw_data(key: str, dataset: str, expected: float | None) -> None:
    assert raw_data(key, dataset) == expected


def test_departures_from_the_papers_protocol() -> None:
    protocol = {"evaluator": "FactorBenchmark", "version": 1, "pairs": 256, "steps": 16, "path": "lerp"}
    assert departures("factor/mean_distance", {**protocol, "data": {"dataset": "Lines"}}) == []
    assert departures("factor/mean_distance", {**protocol, "pairs": 3}) == ["pairs 3, not 256"]
