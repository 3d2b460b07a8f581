"""The realism index of latents along a path: how plausible its points are, compared with the data's own latents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acaikit.densities import DENSITIES
from acaikit.errors import EvaluationError, UserError
from acaikit.evaluators.base import AlongPaths, Result, Trained, spread
from acaikit.evaluators.codes import BATCH
from acaikit.model import Autoencoder
from acaikit.paths.base import AnyPath
from acaikit.registry import unknown

Floats = NDArray[np.float64]

SCORES = ("critic", *DENSITIES)


def prior_index(z: Tensor) -> Floats:
    """Return the realism index of `z` ``[N, D]`` under N(0, I), in closed form: 1 - F(|z|^2), float64 ``[N]``.

    F is the distribution function of chi-square with D degrees of freedom.
    """
    from scipy.stats import chi2  # here: it takes half a second, which no other evaluator needs

    index: Floats = chi2.sf(z.double().square().sum(1).cpu().numpy(), z.shape[1])
    return index


def empirical_index(scores: Floats, reference: Floats) -> Floats:
    """Return the share of `reference` that lies below each of `scores`, float64 in [0, 1] in the shape of `scores`.

    What is equal counts half (mid-ranks), so that where all are equal the index is 0.5.
    """
    ordered = np.sort(reference)
    below, up_to = (np.searchsorted(ordered, scores, side) for side in ("left", "right"))
    index: Floats = (below + up_to) / (2 * len(ordered))
    return index


class RealismIndex(AlongPaths):
    """Tells how plausible the points of a path are among the data's own latents, one number in [0, 1] for each.

    The realism index of a latent z is ri(z) = P(f(Z) <= f(z)), with Z drawn from the distribution of latents and f a
    score on the latent space (Struski et al. 2019, arXiv 1904.03445). Of latents that are distributed like Z it is
    uniform, 0.5 on average. The ends of the paths are latents of test examples, so ``ends`` near 0.5 says that f and Z
    fit this model; where it is not (the prior, for a model that was not made to have one), no other row means much.

    An index near 0 says that f finds nearly all real latents better, one near 1 that it finds nearly all of them worse.
    Neither is like the data. A normal density is largest at its mean, in many dimensions far from all samples: halfway
    along straight lines between samples of N(0, I) the index under that prior is 0.91 for D = 16 and 0.997 for D = 64,
    too likely to be typical. A good middle is like the ends. The density "shell" takes both for faults.

    The pairs are test examples spread evenly over the split.

    Parameters
    ----------
    pairs, steps, path
        Number of paths, points on each with both ends, and their kind; see `AlongPaths`.
    scores : sequence of str
        What f is: the name of a density, "prior", "gaussian", "kernel" or "shell", or "critic", which is less the doubt
        of each critic in the model. For the prior, Z is N(0, I). For the others, Z is every second of the first 10,000
        training latents; the densities are fitted to those in between.

    Raises
    ------
    UserError
        If `pairs` is below 1, `steps` below 2, `path` is none, or `scores` holds another name or none.
    """

    key = "realism"

    def __init__(
        self,
        pairs: int = 256,
        steps: int = 16,
        path: AnyPath = "lerp",
        scores: Sequence[str] = ("prior", "gaussian", "kernel", "critic"),
    ) -> None:
        super().__init__(pairs, steps, path)
        if isinstance(scores, str) or not scores:
            raise UserError(f"RealismIndex.scores must be a list of names, each one of {', '.join(SCORES)}")
        for name in scores:
            if name not in SCORES:
                raise UserError(unknown("RealismIndex.scores: no score is called", name, SCORES))
        self.scores = tuple(scores)

    def evaluate(self, trained: Trained) -> Result:
        """Measure.

        Returns
        -------
        Result
            Scores by row and column: ``ends/COLUMN``, the mean index of the paths' ends; ``middle/COLUMN``, that of the
            point in the middle, or of the two nearest to it; ``lowest/COLUMN``, the mean over paths of the lowest index
            on each, ends included, which two independent ends alone would make 1/3. A column is a density's name, or
            ``critic_NAME`` for each critic; a model without critics has none of these. Arrays: ``index/COLUMN``,
            float64 ``[P, N]``.

        Raises
        ------
        EvaluationError
            If latents or a critic's views are not finite, the training latents are all the same, there are fewer than
            two, or the model has no critic and no other score is asked for.
        """
        z = self._points(trained)
        scores: dict[str, float] = {}
        arrays: dict[str, Floats] = {}
        for column, values in self._columns(trained, z.flatten(0, 1)):
            index = values.reshape(z.shape[:2])
            middle = index[:, (self.steps - 1) // 2 : self.steps // 2 + 1]
            scores[f"ends/{column}"] = float(index[:, [0, -1]].mean())
            scores[f"middle/{column}"] = float(middle.mean())
            scores[f"lowest/{column}"] = float(index.min(1).mean())
            arrays[f"index/{column}"] = index
        if not scores:
            raise EvaluationError("this model has no critic: ask for another score, such as 'gaussian'")
        return Result(scores, arrays)

    def _points(self, trained: Trained) -> Tensor:
        """Return the latents on the paths, ``[P, N, *latent shape]``."""
        split = trained.dataset.test()
        index = torch.from_numpy(spread(2 * self.pairs, len(split)))
        half = len(index) // 2
        a, b = (
            torch.cat([trained.model.encode(split.examples(part, trained.device)) for part in torch.split(ends, BATCH)])
            for ends in (index[:half], index[half : 2 * half])
        )
        z = trained.path(self.path)(a, b, torch.linspace(0, 1, self.steps, device=trained.device))
        broken = int((~z.isfinite().flatten(1).all(1)).sum())
        if broken:
            raise EvaluationError(
                f"{broken:,} of {half:,} paths between test examples hold NaN or infinity: the model has diverged; "
                f"measure an earlier checkpoint with --step"
            )
        return z

    def _columns(self, trained: Trained, z: Tensor) -> Iterator[tuple[str, Floats]]:
        """Yield each score's name and the index of points `z` ``[M, *latent shape]`` under it, ``[M]``."""
        for name in self.scores:
            if name == "prior":
                yield name, prior_index(z.flatten(1))
                continue
            known, reference = trained.latents[::2], trained.latents[1::2]
            if not len(reference):
                raise EvaluationError("there are fewer than two training examples to compare with")
            if name == "critic":
                views, usual = (_doubts(trained.model, points) for points in (z, reference))
                for critic in views:
                    yield f"critic_{critic}", empirical_index(-views[critic], -usual[critic])
            else:
                density = DENSITIES[name].fit(known)
                found, usual_ = (density.log_density(points.flatten(1)).cpu().numpy() for points in (z, reference))
                yield name, empirical_index(found, usual_)


def _doubts(model: Autoencoder, z: Tensor) -> dict[str, Floats]:
    """Return what each critic holds against latents, float64 ``[M]``."""
    if not model.doubts(z[:1]):
        return {}
    parts = [model.doubts(part) for part in torch.split(z, BATCH)]
    found = {name: torch.cat([part[name] for part in parts]).double().cpu().numpy() for name in parts[0]}
    for name, values in found.items():
        if not np.isfinite(values).all():
            raise EvaluationError(
                f"{name}'s critic answers with NaN or infinity: the model has diverged; measure an earlier checkpoint "
                f"with --step"
            )
    return found
