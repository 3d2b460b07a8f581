"""The lines benchmark: Mean Distance and Smoothness of decoded paths (paper, section 4.1)."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from acaikit.data.lines import TURN, Lines, render
from acaikit.evaluators.base import AlongPaths, Result, Trained
from acaikit.types import Scores

REFERENCES = 10_000
STILL = 1e-4
CHUNK = 256
PATHS = 16

Floats = NDArray[np.float64]


@lru_cache(maxsize=1)
def reference_lines(count: int, height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """Return lines at angles 2 pi q / count as unit vectors, float64 ``[count, height * width]``."""
    angles = TURN * torch.arange(count, dtype=torch.float64, device=device) / count
    lines = torch.empty(count, height * width, dtype=torch.float64, device=device)
    # A part at a time: at 32x32 all lines together are 82 MB, and are held once.
    for part, rows in zip(torch.split(angles, CHUNK), torch.split(lines, CHUNK), strict=True):
        rows.copy_(F.normalize(render(part, height, width).flatten(1).double(), dim=1))
    return lines


def nearest_lines(images: Tensor, references: Tensor) -> tuple[Floats, NDArray[np.int64]]:
    """Return each image's smallest cosine distance to a reference line, and which line that is.

    Parameters
    ----------
    images : Tensor
        ``[M, H * W]``.
    references : Tensor
        Unit vectors, float64 ``[D, H * W]``.

    Returns
    -------
    distance : ndarray
        float64 ``[M]``, in [0, 2]. An image of zeros has no direction: its distance to every line is 1.
    index : ndarray
        int64 ``[M]``, in ``range(D)``.
    """
    # Nothing small is kept between the parts, or it would lie in the way of the next large one's memory.
    cosine = torch.empty(len(images), dtype=torch.float64, device=images.device)
    index = torch.empty(len(images), dtype=torch.int64, device=images.device)
    for start in range(0, len(images), CHUNK):
        part = slice(start, start + CHUNK)
        torch.max(F.normalize(images[part].double(), dim=1) @ references.T, dim=1, out=(cosine[part], index[part]))
    return (1 - cosine).clamp(min=0).cpu().numpy(), index.cpu().numpy()


def smoothness(angles: Floats) -> Floats:
    """Return max |step| / |first - last| - 1 / (N - 1) of each path, NaN where its ends are less than 1e-4 apart.

    Parameters
    ----------
    angles : ndarray
        Radians, float64 ``[P, N]``; jumps above pi are unwrapped along the path.
    """
    # A step of half a turn is no jump above pi, whatever its last bit says.
    unwrapped = np.unwrap(angles, discont=math.pi + 1e-9, axis=1)
    step = np.abs(np.diff(unwrapped, axis=1)).max(1)
    span = np.abs(unwrapped[:, -1] - unwrapped[:, 0])
    moves = span >= STILL
    ratio: Floats = np.divide(step, span, out=np.full_like(span, np.nan), where=moves)
    ratio -= 1 / (angles.shape[1] - 1)
    return ratio


def score_paths(images: Tensor, ends: Tensor | None = None) -> Scores:
    """Score paths of line images.

    Parameters
    ----------
    images : Tensor
        ``[P, N, 1, H, W]``, N at least 2; each path's first and last image are its ends.
    ends : Tensor, optional
        The true angles of each path's two end images, radians ``[P, 2]``.

    Returns
    -------
    dict of str to float
        ``mean_distance``: mean cosine distance to the nearest of 10,000 reference lines.
        ``smoothness_paper``: mean Smoothness where a path that doesn't move counts as 0, the authors' rule (Table 1).
        ``smoothness_strict``: mean Smoothness over the paths that move (NaN if none does).
        ``undefined_share``: share of paths that don't move.
        ``endpoint_error_deg``: mean angle, in degrees in [0, 180], between the true lines and those found at the paths'
        two ends (NaN without `ends`). All five are NaN where an image holds NaN or infinity.

    Raises
    ------
    ValueError
        If `images` has another number of axes or channels, or paths of a single image.
    """
    images = torch.as_tensor(images).detach()
    if images.dim() != 5 or images.shape[2] != 1 or images.shape[1] < 2 or not len(images):
        raise ValueError(f"images must be [P, N, 1, H, W] with N at least 2, not {list(images.shape)}")
    return _scores(*find_lines(images), None if ends is None else torch.as_tensor(ends).cpu().numpy())


def find_lines(images: Tensor) -> tuple[Floats, Floats]:
    """Return each image's cosine distance to the nearest of 10,000 reference lines, and that line's angle in radians.

    Both are float64 ``[P, N]`` for `images` ``[P, N, 1, H, W]``; NaN where an image holds NaN or infinity.
    """
    height, width = images.shape[-2:]
    references = reference_lines(REFERENCES, height, width, images.device)
    distance, index = nearest_lines(images.flatten(0, 1).flatten(1), references)
    angles = TURN / len(references) * index.astype(np.float64)
    broken = ~images.isfinite().flatten(2).all(2).cpu().numpy()
    shape = images.shape[:2]
    distance, angles = distance.reshape(shape), angles.reshape(shape)
    distance[broken] = angles[broken] = np.nan
    return distance, angles


def _scores(distance: Floats, angles: Floats, ends: Floats | None) -> Scores:
    names = ("mean_distance", "smoothness_paper", "smoothness_strict", "undefined_share", "endpoint_error_deg")
    if np.isnan(distance).any():
        return dict.fromkeys(names, math.nan)
    defined = smoothness(angles)
    moving = ~np.isnan(defined)
    endpoint = math.nan
    if ends is not None:
        difference = angles[:, [0, -1]] - ends
        endpoint = float(np.degrees(np.abs((difference + math.pi) % TURN - math.pi)).mean())
    values = (
        float(distance.mean()),
        float(defined[moving].sum() / len(angles)),
        float(defined[moving].mean()) if moving.any() else math.nan,
        float(1 - moving.mean()),
        endpoint,
    )
    return dict(zip(names, values, strict=True))


class LinesBenchmark(AlongPaths):
    """Decodes paths between pairs of test lines and scores them with `score_paths`.

    The first `pairs` test images are joined with the next `pairs`. Parameters and errors are those of `AlongPaths`.
    """

    key = "lines"

    def __init__(self, pairs: int = 256, steps: int = 16, path: str = "lerp") -> None:
        super().__init__(pairs, steps, path)

    def fits(self, trained: Trained) -> bool:
        """Only images drawn from a known angle can be scored."""
        return isinstance(trained.dataset, Lines)

    def evaluate(self, trained: Trained) -> Result:
        """Return the five scores of `score_paths`, and per image the distance and the angle they were made from."""
        lines = trained.dataset
        assert isinstance(lines, Lines)
        split, pairs = lines.test(), min(self.pairs, lines.test_size // 2)
        ends = torch.stack([lines.test_angles[:pairs], lines.test_angles[pairs : 2 * pairs]], 1).numpy()
        distance, angles = np.empty((pairs, self.steps)), np.empty((pairs, self.steps))
        # A few paths at a time: all of them at once would need most of a gigabyte in the decoder.
        for start in range(0, pairs, PATHS):
            part = torch.arange(start, min(start + PATHS, pairs))
            x1, x2 = split.examples(part, trained.device), split.examples(part + pairs, trained.device)
            distance[part], angles[part] = find_lines(trained.model.interpolate(x1, x2, self.steps, self.path))
        return Result(_scores(distance, angles, ends), {"distance": distance, "angles": angles, "ends": ends})
