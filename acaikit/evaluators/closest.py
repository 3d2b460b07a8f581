"""The nearest of many references that lie along a curve, found without a look at most of them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]

RUN = 16
"""References in a run, of which the middle one stands for all at first."""
BLOCK = 1024
"""Images at a time."""
FEW = 256
"""Images that are compared with all references sooner than runs are passed over."""
SLACK = 1e-5
"""Radians by which rounding may move an angle: sqrt(2 * error of a cosine), for up to 10^5 numbers an image."""


def nearest(images: Tensor, vectors: Tensor) -> tuple[Floats, NDArray[np.int64]]:
    """Return each image's smallest cosine distance to a reference, and which reference that is.

    Angles between vectors obey the triangle inequality. So where the angle to the middle of a run of references, less
    the angle to the run's farthest member, is more than that to another run's middle, nothing in the run is nearest,
    and it is passed over. The result is that of comparing with all references, up to rounding in the last bits.

    Parameters
    ----------
    images : Tensor
        ``[M, size of an example]``.
    vectors : Tensor
        The references: unit vectors, float64 ``[D, size of an example]``. The closer neighbours are, the fewer are
        looked at: of 10,000 lines of 32x32 the 625 in the middle of a run, and some 60 more for an image that resembles
        a line, some 1,300 for one that doesn't.

    Returns
    -------
    distance : ndarray
        float64 ``[M]``, in [0, 2]; NaN where an image holds NaN or infinity. An image of zeros has no direction: its
        distance to every reference is 1.
    index : ndarray
        int64 ``[M]``, in ``range(D)``; of several whose products with the image round to the same number the lowest.
    """
    if len(images) < FEW:
        cosine, index = torch.max(F.normalize(images.double(), dim=1) @ vectors.T, dim=1)
        return (1 - cosine).clamp(min=0).cpu().numpy(), index.cpu().numpy()
    runs = torch.split(vectors, RUN)
    middles = torch.stack([run[len(run) // 2] for run in runs])
    radii = torch.stack([_angle(run @ middle).amax() for run, middle in zip(runs, middles, strict=True)]) + SLACK
    cosine = torch.full((len(images),), torch.nan, dtype=torch.float64, device=images.device)
    index = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    for start in range(0, len(images), BLOCK):
        unit = F.normalize(images[start : start + BLOCK].double(), dim=1)
        angle = _angle(unit @ middles.T)
        worthwhile = angle - radii <= angle.amin(1, keepdim=True)
        for number, run in enumerate(runs):
            rows = worthwhile[:, number].nonzero().squeeze(1)
            found, where = torch.max(unit[rows] @ run.T, dim=1)
            nearer = ~(found <= cosine[start + rows])  # NaN where nothing was found so far
            rows = start + rows[nearer]
            cosine[rows], index[rows] = found[nearer], number * RUN + where[nearer]
    return (1 - cosine).clamp(min=0).cpu().numpy(), index.cpu().numpy()


def _angle(cosine: Tensor) -> Tensor:
    return cosine.clamp(-1, 1).arccos()
