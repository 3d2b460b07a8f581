"""One column of the scorecard: paths of images, measured against the true examples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from acaikit.data.rendered import Rendered
from acaikit.evaluators import path_scores
from acaikit.evaluators.base import Trained
from acaikit.evaluators.counterfeits import dissolves
from acaikit.evaluators.factor import score_paths
from acaikit.evaluators.neighbours import Neighbours
from acaikit.evaluators.skills import ends_skill, headline, middle_skill

PATHS = 16
"""Paths that go through a network at a time: all of them at once would need most of a gigabyte."""

DENSE = 0.01
"""Share of a dissolve's distance from the training examples: that of real ones must be above it, to be a unit."""

FLAWLESS = dict.fromkeys(["ends", "evenness", "monotonicity", "step_ratio"], 1.0) | {
    "endpoint_mse": 0.0,
    "cycle_error": 0.0,
}
"""Where no perfect path can be drawn: the best that a score can be."""


@dataclass(frozen=True)
class Scene:
    """What every column is measured against.

    Attributes
    ----------
    trained : Trained
        The model and its dataset.
    ends : Tensor
        The true examples at each path's ends, ``[P, 2, *shape]``.
    factors : Tensor or None
        Their true factors, float64 ``[P, 2]``, where they are known.
    latents : Tensor
        Their latents, ``[P, 2, *latent shape]``.
    t : Tensor
        ``[N]``, evenly from 0 to 1.
    neighbours : Neighbours
        The training examples.
    real, dissolved : float
        Mean distance from the nearest training example: of `ends`, and of what lies between them, see `floor`.
    """

    trained: Trained
    ends: Tensor
    factors: Tensor | None
    latents: Tensor
    t: Tensor
    neighbours: Neighbours
    real: float
    dissolved: float

    @property
    def tellable(self) -> bool:
        """Whether a dissolve of `ends` is less real than they are."""
        return self.dissolved > self.real

    @property
    def unit(self) -> float:
        """What a distance is a multiple of: `real`, or NaN where that is next to nothing and tells little.

        Where one of thousands of training examples is always next to a real one, `real` falls with their number.
        """
        return self.real if self.real > DENSE * self.dissolved else math.nan

    def encode(self, images: Tensor) -> Tensor:
        """Return the latents ``[P, N, *latent shape]`` of `images` ``[P, N, *shape]``."""
        return in_parts(self.trained.model.encode, images)


@dataclass(frozen=True)
class Column:
    """Paths of images.

    Attributes
    ----------
    images : Tensor
        ``[P, N, *shape]``.
    latents : Tensor or None
        What decodes to them, ``[P, N, *latent shape]``; None for perfect paths, which any code may lead along.
    seen : Tensor
        The latents that critics are shown with them, ``[P, N, *latent shape]``.
    """

    images: Tensor
    latents: Tensor | None
    seen: Tensor


def score(column: Column, scene: Scene) -> dict[str, float | Tensor]:
    """Return a column's rows: a number, or one per path, float64 ``[P]``."""
    images, ends, dataset = column.images, scene.ends, scene.trained.dataset
    distance = scene.neighbours.distance(images)
    error, evenness = path_scores.endpoint_mse(images, ends), path_scores.evenness(images, ends)
    blank = path_scores.endpoint_mse(scene.neighbours.mean.expand_as(ends), ends)
    moves = path_scores.moves(images, ends)
    skills = {
        "ends": ends_skill(error, blank),
        "evenness": evenness.mean().item(),
        "middle": middle_skill(
            distance, floor(images[:, [0, -1]], scene.t, scene.neighbours), moves, tellable=scene.tellable
        ),
    }
    last = len(scene.t) - 1
    middle = slice(last // 2, (last + 1) // 2 + 1)
    return {
        "headline": headline(**skills),
        **skills,
        "evenness": evenness,
        "endpoint_mse": error,
        "monotonicity": path_scores.monotonicity(images, ends),
        "length_ratio": path_scores.length_ratio(images, ends),
        "step_ratio": path_scores.step_ratio(images, ends),
        "cycle_error": _cycle_error(column, scene),
        **_doubts(column, scene),
        "nearest_ratio": distance[:, middle].mean(1) / scene.unit,
        **(score_paths(images, dataset, scene.factors) if isinstance(dataset, Rendered) else {}),
    }


def flawless(scene: Scene) -> dict[str, float | Tensor]:
    """Return the rows of perfect paths that can't be drawn."""
    middle = 1.0 if scene.tellable else math.nan
    nearest = math.nan if math.isnan(scene.unit) else 1.0
    return {"headline": headline(1, 1, middle), "middle": middle, "nearest_ratio": nearest, **FLAWLESS}


def floor(ends: Tensor, t: Tensor, neighbours: Neighbours) -> Tensor:
    """Return how far the nearest of all `dissolves` is from `neighbours` at each t between the ends, ``[P, N - 2]``."""
    return torch.stack([neighbours.distance(dissolve) for dissolve in dissolves(ends, t[1:-1])]).amin(0)


def _cycle_error(column: Column, scene: Scene) -> Tensor | float:
    if column.latents is None:
        return FLAWLESS["cycle_error"]
    a, b = scene.latents.flatten(2).double().unbind(1)
    off: Tensor = scene.encode(column.images).double() - column.latents.double()
    error = torch.linalg.vector_norm(off.flatten(2), dim=2).mean(1)
    apart = torch.linalg.vector_norm(a - b, dim=1).mean()
    return torch.where(apart > 0, error / apart, torch.nan)


def _doubts(column: Column, scene: Scene) -> dict[str, float | Tensor]:
    """Return each critic's mean doubt between a path's ends, by row."""
    z, x = (torch.split(v[:, 1:-1], PATHS) for v in (column.seen, column.images))
    found: dict[str, float | Tensor] = {}
    for name, regularizer in scene.trained.model.regularizers.items():
        parts = [regularizer.doubt(*(v.flatten(0, 1) for v in part)) for part in zip(z, x, strict=True)]
        doubts = [doubt for doubt in parts if doubt is not None]
        if doubts:
            found[f"doubt_{name}"] = torch.cat(doubts).view(len(column.images), -1).double().mean(1)
    return found


def in_parts(function: Callable[[Tensor], Tensor], paths: Tensor) -> Tensor:
    """Map ``[P, N, *a]`` to ``[P, N, *b]``, a few paths at a time."""
    flat = torch.cat([function(part.flatten(0, 1)) for part in torch.split(paths, PATHS)])
    return flat.view(*paths.shape[:2], *flat.shape[1:])
