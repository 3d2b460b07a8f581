"""Densities of flattened latents: how likely a point is, under the prior or by a fit to the data's own latents."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from acaikit.errors import EvaluationError, UserError
from acaikit.registry import unknown

CENTRES = 2_000
"""Kernels of a kernel density: with more of them it costs more, and in many dimensions says the same."""
BANDWIDTHS = tuple(2 ** (i / 4) for i in range(-12, 5))
"""Bandwidths that are tried, in units of Scott's."""
CHUNK = 500


class Density(ABC):
    """The log density of latents. It computes in float64, and can be differentiated.

    It is one of whitened latents, in which every direction has the same spread, and of the change of volume.
    """

    log_volume: float | Tensor = 0.0
    """Log of the factor by which whitening multiplies volumes."""

    @classmethod
    @abstractmethod
    def fit(cls, latents: Tensor) -> Density:
        """Fit the density to `latents` ``[N, ...]``, which are flattened.

        Raises
        ------
        EvaluationError
            If they are not finite, or all the same.
        """

    @classmethod
    def of(cls, latents: Callable[[], Tensor]) -> Density:
        """Fit the density to the latents that `latents` returns; it is called only if they are needed."""
        return cls.fit(latents())

    @abstractmethod
    def whiten(self, z: Tensor) -> Tensor:
        """Return `z` ``[N, D]`` whitened, float64 ``[N, D]``."""

    @abstractmethod
    def colour(self, offsets: Tensor) -> Tensor:
        """Return the offsets of latents whose whitened offsets are `offsets`; both float64 ``[N, D]``."""

    @abstractmethod
    def of_white(self, white: Tensor) -> Tensor:
        """Return the log density of whitened latents ``[N, D]``, float64 ``[N]``."""

    def log_density(self, z: Tensor) -> Tensor:
        """Return the log density of `z` ``[N, D]``, float64 ``[N]``."""
        return self.of_white(self.whiten(z)) + self.log_volume


class Prior(Density):
    """N(0, I), whatever the latents."""

    @classmethod
    def fit(cls, latents: Tensor) -> Prior:
        """Return the prior, which the latents don't change."""
        return cls()

    @classmethod
    def of(cls, latents: Callable[[], Tensor]) -> Prior:
        """Return the prior without asking for the latents."""
        return cls()

    def whiten(self, z: Tensor) -> Tensor:
        """Return `z` as it is."""
        return z.double()

    def colour(self, offsets: Tensor) -> Tensor:
        """Return the offsets as they are."""
        return offsets

    def of_white(self, white: Tensor) -> Tensor:
        """Return -(|z|^2 + D log 2 pi) / 2."""
        return _normal(white)


class Gaussian(Density):
    """A normal distribution with the latents' mean and their covariance, shrunk toward a multiple of the identity.

    Shrinkage is oracle approximating (OAS; Chen et al. 2010, eq. 23, in scikit-learn's form). The covariance is thus
    never singular: not where coordinates are constant, nor with fewer examples than coordinates.

    Attributes
    ----------
    mean : Tensor
        float64 ``[D]``.
    whitening, colouring : Tensor
        float64 ``[D, D]``, inverse to each other: (z - mean) @ whitening has the identity as its covariance.
    """

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        identity = torch.eye(len(mean), dtype=mean.dtype, device=mean.device)
        factor = torch.linalg.cholesky(covariance)
        self.mean, self.colouring = mean, factor.T
        self.whitening = torch.linalg.solve_triangular(factor, identity, upper=False).T
        self.log_volume = self.whitening.diagonal().log().sum()

    @classmethod
    def fit(cls, latents: Tensor) -> Gaussian:
        """Fit mean and covariance."""
        points = _usable(latents)
        count, dimensions = points.shape
        mean = points.mean(0)
        covariance = (points - mean).T @ (points - mean) / count
        variance = covariance.diagonal().mean()
        square = covariance.square().mean()
        uneven = (count + 1) * (square - variance.square() / dimensions)
        shrinkage = ((square + variance.square()) / uneven).nan_to_num(1, posinf=1).clamp(0, 1)
        covariance *= 1 - shrinkage
        covariance.diagonal().add_(shrinkage * variance)
        return cls(mean, covariance)

    def whiten(self, z: Tensor) -> Tensor:
        """Return `z` ``[N, D]`` in coordinates in which this density is N(0, I), float64 ``[N, D]``."""
        white: Tensor = (z.double() - self.mean) @ self.whitening
        return white

    def colour(self, offsets: Tensor) -> Tensor:
        """Return the offsets of latents whose whitened offsets are `offsets`."""
        coloured: Tensor = offsets @ self.colouring
        return coloured

    def of_white(self, white: Tensor) -> Tensor:
        """Return the log of N(0, I)."""
        return _normal(white)


class _InGaussian(Density):
    """A density of latents that are whitened by a `Gaussian`."""

    def __init__(self, normal: Gaussian) -> None:
        self.normal = normal

    def whiten(self, z: Tensor) -> Tensor:
        """Return what `Gaussian.whiten` returns."""
        return self.normal.whiten(z)

    def colour(self, offsets: Tensor) -> Tensor:
        """Return what `Gaussian.colour` returns."""
        return self.normal.colour(offsets)


class Shell(_InGaussian):
    """How likely the distance r of a point from the mean is, whatever its direction.

    A normal density is largest at the mean, where in many dimensions no data lie: they lie in a thin shell around it. r
    is the length of the latent whitened by `Gaussian`, and its density that of the chi distribution whose mean square
    is the latents' own: with about D degrees of freedom, or fewer where coordinates are constant. It is a density of r,
    not of z.

    Attributes
    ----------
    freedom : float
        k, the degrees of freedom. The density is largest at r = sqrt(k - 1).
    """

    def __init__(self, normal: Gaussian, freedom: float) -> None:
        super().__init__(normal)
        self.freedom = freedom

    @classmethod
    def fit(cls, latents: Tensor) -> Shell:
        """Fit the normal density, and the degrees of freedom."""
        points = _usable(latents)
        normal = Gaussian.fit(points)
        return cls(normal, normal.whiten(points).square().sum(1).mean().item())

    def of_white(self, white: Tensor) -> Tensor:
        """Return the log density of r: (k - 1) log r - r^2 / 2 - (k / 2 - 1) log 2 - log Gamma(k / 2)."""
        half = self.freedom / 2
        r: Tensor = torch.linalg.vector_norm(white, dim=1)
        outward: Tensor = torch.special.xlogy(self.freedom - 1, r)
        return outward - r.square() / 2 - (half - 1) * math.log(2) - math.lgamma(half)


class KernelDensity(_InGaussian):
    """The mean of normal densities around latents, each with h^2 times the covariance of `Gaussian`.

    Its centres are at most 2,000 of the latents, spread evenly over them. The bandwidth h is Scott's, N^(-1 / (D + 4)),
    times the power of 2^(1/4) from 1/8 to 2 under which each centre is likeliest by the kernels of all the others: that
    of the largest leave-one-out likelihood. Among many duplicates it is the smallest.

    Attributes
    ----------
    bandwidth : float
        h.
    """

    def __init__(self, normal: Gaussian, centres: Tensor, bandwidth: float) -> None:
        super().__init__(normal)
        self.bandwidth, self.log_volume = bandwidth, normal.log_volume
        self._centres = normal.whiten(centres)

    @classmethod
    def fit(cls, latents: Tensor) -> KernelDensity:
        """Fit the covariance to all latents, and the bandwidth to the centres."""
        points = _usable(latents)
        rows = torch.linspace(0, len(points) - 1, min(CENTRES, len(points)), dtype=torch.float64).round().long()
        normal, centres = Gaussian.fit(points), points[rows.to(points.device)]
        scott = len(centres) ** (-1 / (centres.shape[1] + 4))
        return cls(normal, centres, _likeliest(normal.whiten(centres), [scott * factor for factor in BANDWIDTHS]))

    def of_white(self, white: Tensor) -> Tensor:
        """Return the log of the mean over the kernels."""
        count, dimensions = self._centres.shape
        apart = [
            torch.logsumexp(-_distances(part, self._centres) / (2 * self.bandwidth**2), 1)
            for part in torch.split(white, CHUNK)
        ]
        volume = math.log(count) + dimensions * (math.log(self.bandwidth) + math.log(2 * math.pi) / 2)
        return torch.cat(apart) - volume


DENSITIES: dict[str, type[Density]] = {
    "prior": Prior,
    "gaussian": Gaussian,
    "kernel": KernelDensity,
    "shell": Shell,
}
"""The densities that can be chosen by name."""


def density(argument: str, name: str) -> type[Density]:
    """Return the density called `name`.

    Raises
    ------
    UserError
        If there is none, under the name of the `argument` that asked for it.
    """
    if name not in DENSITIES:
        raise UserError(unknown(f"{argument}: no density is called", name, DENSITIES))
    return DENSITIES[name]


def _usable(latents: Tensor) -> Tensor:
    points = latents.flatten(1).double()
    if not len(points):
        raise EvaluationError("there are no training latents to fit a density to")
    broken = int((~points.isfinite()).any(1).sum())
    if broken:
        raise EvaluationError(
            f"{broken:,} of {len(points):,} training latents hold NaN or infinity: the model has diverged; measure an "
            f"earlier checkpoint with --step"
        )
    if bool((points == points[0]).all()):
        raise EvaluationError(
            f"no density can be fitted to the {len(points):,} training latents: they are all the same, so the encoder "
            f"tells no example from another"
        )
    return points


def _normal(white: Tensor) -> Tensor:
    return -(white.square().sum(1) + white.shape[1] * math.log(2 * math.pi)) / 2


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Return the squared distances between rows ``[N, D]`` and ``[M, D]``, ``[N, M]``."""
    return (a.square().sum(1, keepdim=True) + b.square().sum(1) - 2 * a @ b.T).clamp(min=0)


def _likeliest(white: Tensor, bandwidths: list[float]) -> float:
    """Return the bandwidth under which each row of `white` is likeliest by the others' kernels."""
    totals = torch.zeros(len(bandwidths), dtype=torch.float64)
    for rows in torch.split(torch.arange(len(white), device=white.device), CHUNK):
        squared = _distances(white[rows], white)
        squared.scatter_(1, rows.unsqueeze(1), torch.inf)
        totals += torch.stack([torch.logsumexp(-squared / (2 * h**2), 1).sum().cpu() for h in bandwidths])
    totals -= len(white) * white.shape[1] * torch.tensor(bandwidths, dtype=torch.float64).log()
    return bandwidths[int(totals.argmax())]
