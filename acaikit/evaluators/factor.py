"""The lines benchmark, for any dataset drawn from a known factor: Mean Distance and Smoothness of decoded paths.

Source: the paper, section 4.1, where the factor is a line's angle.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from acaikit.data.rendered import Factor, Floats, Rendered
from acaikit.evaluators.base import AlongPaths, Result, Trained
from acaikit.evaluators.closest import nearest
from acaikit.types import Scores

REFERENCES = 10_000
STILL = 1e-4 / (2 * math.pi)
"""Share of the factor's range below which a path doesn't move: 1e-4 radians of a turn."""
CHUNK = 256
PATHS = 16


@lru_cache(maxsize=1)
def references(dataset: Rendered, count: int, device: torch.device | str = "cpu") -> Tensor:
    """Return examples of `count` evenly spaced factors as unit vectors, float64 ``[count, size of an example]``."""
    grid = dataset.factor.grid(count, device)
    vectors = torch.empty(count, math.prod(dataset.shape), dtype=torch.float64, device=device)
    # A part at a time: at 32x32 all examples together are 82 MB, and are held once.
    for part, rows in zip(torch.split(grid, CHUNK), torch.split(vectors, CHUNK), strict=True):
        rows.copy_(F.normalize(dataset.render(part).flatten(1).double(), dim=1))
    return vectors


def smoothness(factors: Floats, factor: Factor) -> Floats:
    """Return max |step| / |first - last| - 1 / (N - 1) of each path, NaN where a path doesn't move.

    Parameters
    ----------
    factors : ndarray
        Values of `factor`, float64 ``[P, N]``; a periodic factor's are unwrapped along the path.
    factor : Factor
        What the values are of. A path doesn't move if its ends are less than 1e-4 / (2 pi) of the range apart.
    """
    unwrapped = factor.unwrap(factors)
    step = np.abs(np.diff(unwrapped, axis=1)).max(1)
    span = np.abs(unwrapped[:, -1] - unwrapped[:, 0])
    moves = span >= STILL * factor.span
    ratio: Floats = np.divide(step, span, out=np.full_like(span, np.nan), where=moves)
    ratio -= 1 / (factors.shape[1] - 1)
    return ratio


def score_paths(images: Tensor, dataset: Rendered, ends: Tensor | None = None) -> Scores:
    """Score paths of a dataset's examples.

    Parameters
    ----------
    images : Tensor
        ``[P, N, *shape]`` with the dataset's shape, N at least 2; each path's first and last image are its ends.
    dataset : Rendered
        What draws the true examples.
    ends : Tensor, optional
        The true factors of each path's two end images, ``[P, 2]``.

    Returns
    -------
    dict of str to float
        ``mean_distance``: mean cosine distance to the nearest of 10,000 references.
        ``smoothness_paper``: mean Smoothness where a path that doesn't move counts as 0, the authors' rule (Table 1).
        ``smoothness_strict``: mean Smoothness over the paths that move (NaN if none does).
        ``undefined_share``: share of paths that don't move.
        ``endpoint_error_UNIT``: mean difference between the true factors and those found at the paths' two ends, in the
        factor's unit (NaN without `ends`): ``endpoint_error_deg`` is in [0, 180]. All five are NaN where an image holds
        NaN or infinity.

    Raises
    ------
    ValueError
        If `images` has another shape, or paths of a single image.
    """
    images = torch.as_tensor(images).detach()
    if images.shape[2:] != dataset.shape or images.shape[1] < 2 or not len(images):
        sides = ", ".join(map(str, dataset.shape))
        raise ValueError(f"images must be [P, N, {sides}] with N at least 2, not {list(images.shape)}")
    true = None if ends is None else torch.as_tensor(ends).cpu().numpy()
    return _scores(*find_factors(images, dataset), dataset.factor, true)


def find_factors(images: Tensor, dataset: Rendered) -> tuple[Floats, Floats]:
    """Return each image's cosine distance to the nearest of 10,000 references, and that reference's factor.

    Both are float64 ``[P, N]`` for `images` ``[P, N, *shape]``; NaN where an image holds NaN or infinity.
    """
    factor = dataset.factor
    distance, index = nearest(images.flatten(0, 1).flatten(1), references(dataset, REFERENCES, images.device))
    # Not `grid`: it rounds in another order, and the last bits of what was measured before would change.
    factors = factor.low + factor.span / factor.intervals(REFERENCES) * index.astype(np.float64)
    broken = ~images.isfinite().flatten(2).all(2).cpu().numpy()
    distance, factors = distance.reshape(broken.shape), factors.reshape(broken.shape)
    distance[broken] = factors[broken] = np.nan
    return distance, factors


def _scores(distance: Floats, factors: Floats, factor: Factor, ends: Floats | None) -> Scores:
    endpoint = f"endpoint_error_{factor.unit}"
    names = ("mean_distance", "smoothness_paper", "smoothness_strict", "undefined_share", endpoint)
    if np.isnan(distance).any():
        return dict.fromkeys(names, math.nan)
    defined = smoothness(factors, factor)
    moving = ~np.isnan(defined)
    values = (
        float(distance.mean()),
        float(defined[moving].sum() / len(factors)),
        float(defined[moving].mean()) if moving.any() else math.nan,
        float(1 - moving.mean()),
        math.nan if ends is None else float((factor.difference(factors[:, [0, -1]], ends) * factor.scale).mean()),
    )
    return dict(zip(names, values, strict=True))


class FactorBenchmark(AlongPaths):
    """Decodes paths between pairs of test examples drawn from a known factor and scores them with `score_paths`.

    The first `pairs` test examples are joined with the next `pairs`. Parameters and errors are those of `AlongPaths`.
    """

    key = "factor"
    needs = "a dataset drawn from a known factor, such as Lines"

    def __init__(self, pairs: int = 256, steps: int = 16, path: str = "lerp") -> None:
        super().__init__(pairs, steps, path)

    def fits(self, trained: Trained) -> bool:
        """Only examples drawn from a known factor can be scored."""
        return isinstance(trained.dataset, Rendered)

    def evaluate(self, trained: Trained) -> Result:
        """Return the five scores of `score_paths`, and per image the distance and the factor they were made from."""
        dataset = trained.dataset
        assert isinstance(dataset, Rendered)
        split, true, pairs = dataset.test(), dataset.test_factors, min(self.pairs, dataset.test_size // 2)
        ends = torch.stack([true[:pairs], true[pairs : 2 * pairs]], 1).numpy()
        path = trained.path(self.path)
        images = torch.empty(pairs, self.steps, *dataset.shape, device=trained.device)
        # A few paths at a time: all of them at once would need most of a gigabyte in the decoder.
        for start in range(0, pairs, PATHS):
            part = torch.arange(start, min(start + PATHS, pairs))
            x1, x2 = split.examples(part, trained.device), split.examples(part + pairs, trained.device)
            images[start : start + PATHS] = trained.model.interpolate(x1, x2, self.steps, path)
        distance, factors = find_factors(images, dataset)
        scores = _scores(distance, factors, dataset.factor, ends)
        return Result(scores, {"distance": distance, "factors": factors, "ends": ends})
