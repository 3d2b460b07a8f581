"""The best one-to-one map of clusters to classes."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from acaikit.evaluators.codes import Labels


def match(clusters: Labels, labels: Labels, classes: int) -> Labels:
    """Return the class of each cluster under the one-to-one map that gets the most examples right.

    Parameters
    ----------
    clusters, labels : ndarray
        Each example's cluster and class, int64 ``[N]`` in ``range(classes)``; either may leave some out.
    classes : int
        Number of clusters and of classes.

    Returns
    -------
    ndarray
        int64 ``[classes]``, a permutation of ``range(classes)``.

    Notes
    -----
    Source: H. W. Kuhn, "The Hungarian method for the assignment problem", 1955; here by scipy.
    """
    counts = np.bincount(clusters * classes + labels, minlength=classes**2).reshape(classes, classes)
    _, of_cluster = linear_sum_assignment(counts, maximize=True)
    found: Labels = of_cluster.astype(np.int64)
    return found
