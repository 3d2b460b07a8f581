"""Whitening: codes whose training part has no correlations and the same spread in every direction."""

from __future__ import annotations

import numpy as np

from acaikit.errors import EvaluationError
from acaikit.evaluators.codes import Floats

EPSILON = 1e-5


def whiten(train: Floats, test: Floats) -> tuple[Floats, Floats]:
    """Centre by the training mean, rotate by the training SVD, divide by the singular values + 1e-5.

    The singular values are those of the centred codes themselves, as in the authors' program: each column of the
    whitened training codes then has norm 1, and variance 1/N instead of 1. K-means finds the same clusters on either
    scale, and its inertia on this one is at most the number of columns.

    Parameters
    ----------
    train, test : ndarray
        float32 ``[N, D]`` and ``[M, D]``, finite.

    Returns
    -------
    train, test : ndarray
        float32 ``[N, R]`` and ``[M, R]``, where R is the rank of the centred training codes, computed in float64. The
        directions left out are those in which the training codes don't vary, so that no centre lies outside 0 there and
        they can't tell one cluster from another.

    Raises
    ------
    EvaluationError
        If all training codes are the same.

    Notes
    -----
    Source: the paper, section 4.3, and the authors' program.
    """
    if (train == train[0]).all():
        raise EvaluationError(f"all {len(train):,} training codes are one point, which can't be whitened")
    mean = train.mean(0, dtype=np.float64)
    centred = train - mean
    # The triangular factor has the singular values and the rotation of the whole, and is quickly decomposed.
    _, scale, rotation = np.linalg.svd(np.linalg.qr(centred, mode="r"), full_matrices=False)
    varies = scale > scale[0] * max(centred.shape) * np.finfo(np.float64).eps
    whitening = rotation[varies].T / (scale[varies] + EPSILON)
    return (centred @ whitening).astype(np.float32), ((test - mean) @ whitening).astype(np.float32)
