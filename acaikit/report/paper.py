"""The numbers that the paper prints, by recipe and score.

Source: Tables 1 to 3 and section 4.1 of the paper (arXiv 1807.07543): means and, in Tables 1 and 2, standard deviations
over five runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from acaikit.registry import load

RUNS = 5
"""Runs with different seeds behind each number (section 4)."""

FACTOR_SCORES = {"factor/mean_distance": ("mean_distance_e-3", 1e-3), "factor/smoothness_paper": ("smoothness", 1.0)}
ACCURACIES = {"probe/accuracy": "probe_accuracy", "kmeans/accuracy": "clustering_accuracy"}
EVALUATORS = {"factor": "FactorBenchmark", "probe": "ProbeAccuracy", "kmeans": "KMeans"}
"""What measures them; the defaults of their parameters are the paper's."""
SCORES = (*FACTOR_SCORES, *ACCURACIES)
"""The scores of the paper's tables."""
COMPANIONS = {
    "factor/smoothness_paper": ("factor/smoothness_strict", "factor/undefined_share", "factor/endpoint_error_deg")
}
"""What stands beside a score wherever it stands: a path that doesn't move has the paper's best Smoothness."""
RAW = {
    "probe": ("probe_accuracy", "raw_pixels"),
    "linear_probe": ("probe_accuracy", "raw_pixels"),
    "kmeans": ("clustering_accuracy", "others"),
    "kmeans_strict": ("clustering_accuracy", "others"),
}


@dataclass(frozen=True)
class Published:
    """One number of the paper.

    Attributes
    ----------
    mean : float
        In the unit in which acaikit reports the score: percent for an accuracy, a cosine distance for Mean Distance.
    std : float or None
        Over the runs, in the same unit; None where the paper gives none (Table 3).
    n : int
        How many runs.
    """

    mean: float
    std: float | None
    n: int = RUNS


@cache
def _tables() -> dict[str, Any]:
    text = files("acaikit.report").joinpath("paper_tables.json").read_text(encoding="utf-8")
    tables: dict[str, Any] = json.loads(text)
    return tables


def row(recipe: str | None) -> str | None:
    """Return a recipe's row of the paper's tables, such as "mnist_256"; None where it can have none."""
    match (recipe or "").split("_"):
        case [dataset, _, size]:
            return f"{dataset}_{size}"
    return None


def published(recipe: str, score: str) -> Published | None:
    """Return what the paper prints for a score of a shipped recipe, None where it prints nothing.

    Parameters
    ----------
    recipe : str
        A recipe's name, which says dataset, model and latent size: ``mnist_vae_256``.
    score : str
        A score's name: ``factor/mean_distance``, ``factor/smoothness_paper``, ``probe/accuracy`` or
        ``kmeans/accuracy``.
    """
    try:
        dataset, model, size = recipe.split("_")
    except ValueError:  # a composition that the paper doesn't have, such as lines_vae_acai_64
        return None
    if score in FACTOR_SCORES and (dataset, size) == ("lines", "64"):
        table, unit = FACTOR_SCORES[score]
        return _cell(_tables()["lines"][table].get(model), unit)
    if score in ACCURACIES:
        return _cell(_tables()[ACCURACIES[score]].get(f"{dataset}_{size}", {}).get(model))
    return None


def _cell(printed: list[float] | float | None, unit: float = 1.0) -> Published | None:
    if printed is None:
        return None
    mean, std = printed if isinstance(printed, list) else (printed, None)
    return Published(mean * unit, None if std is None else std * unit)


def raw_data(key: str, dataset: str) -> float | None:
    """Return what the paper's probe or clustering reaches on the pixels, in percent; None where the paper is silent.

    Parameters
    ----------
    key : str
        The evaluator: ``probe``, ``linear_probe``, ``kmeans`` or ``kmeans_strict``.
    dataset : str
        The dataset's class: ``MNIST``, ``SVHN`` or ``CIFAR10``.
    """
    if key not in RAW:
        return None
    table, row = RAW[key]
    found = _tables()[table][row].get(dataset.lower())
    value: float | None = found["data"] if isinstance(found, dict) else found
    return value


def departures(score: str, protocol: Mapping[str, Any]) -> list[str]:
    """Return in which parameters a protocol departs from that of a score of the paper's tables."""
    paper = parameters(score)
    return [f"{key} {protocol.get(key)}, not {value}" for key, value in paper.items() if protocol.get(key) != value]


@cache
def parameters(score: str) -> dict[str, Any]:
    """Return the protocol under which the paper measures a score of its tables, without the data."""
    protocol: dict[str, Any] = load("evaluators", EVALUATORS[score.partition("/")[0]])().protocol
    return protocol
