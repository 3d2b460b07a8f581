"""A path that trades length for density."""

from __future__ import annotations

from torch import Tensor

from acaikit import checks, densities
from acaikit.errors import UserError
from acaikit.paths.base import Landscape
from acaikit.paths.relaxed import Field, Relaxed


class LikelyPath(Relaxed):
    """The path that minimises n sum_i |z_i+1 - z_i|^2 / s^2 - weight / n sum_i log p(z_i), n = points - 1.

    The idea is that of ProbGEORCE (Rygaard et al. 2025, arXiv 2510.26266); the discretisation is `Relaxed`'s. s is the
    density's `scale`, the spread of one coordinate of the latents: with it `weight` means the same for latents of any
    scale, as it does for any number of points.

    What a weight of 4 does to paths between samples of N(0, I) in 16 to 256 dimensions: halfway along a straight line
    the norm is 0.71 sqrt(D), where the data's own is sqrt(D). With "prior" and "gaussian" it becomes 0.57, with
    "kernel" 0.64: the likeliest point is the mean, so these densities lead the path inward, away from where data lie.
    With "shell", the density of the distance from the mean, it becomes 0.80, on the way to `slerp`'s 1.0; but for a
    factor of that distance, it is what ProbGEORCE's program takes for a normal prior. The paths are 1% to 3% longer
    than the straight line. A weight of 0 gives the straight line itself.

    Struski et al. (2019, arXiv 1904.03445) maximise the realism index along the path instead, and prove that this leads
    to a geodesic of a Riemannian metric. The index grows with the density, so both seek the same regions.

    Parameters
    ----------
    density : str
        p: "prior", which is N(0, I), or a fit to training latents: "shell", "gaussian" or "kernel". See
        `acaikit.densities`.
    weight : float
        What density counts for, at least 0.
    points, iterations : int
        See `Relaxed`.

    Raises
    ------
    UserError
        If `density` is none of these, `weight` is negative, `points` below 3, or `iterations` below 1.
    """

    def __init__(self, density: str = "shell", weight: float = 4.0, points: int = 16, iterations: int = 100) -> None:
        super().__init__(points, iterations)
        densities.density("LikelyPath.density", density)
        checks.number("LikelyPath.weight", weight, at_least=0)
        self.density, self.weight = density, weight

    def terms(self, landscape: Landscape) -> tuple[Field, Field]:
        """Return the latents in units of their spread, and what they cost."""

        def missing() -> Tensor:
            raise UserError(
                f"LikelyPath needs training latents for its {self.density} density, and a model alone has none: make "
                f"the path with run.trained.path(...), or choose LikelyPath(density='prior')"
            )

        density = densities.density("LikelyPath.density", self.density).of(landscape.latents or missing)
        return lambda z: z / density.scale, lambda z: -self.weight * density.log_density(z.flatten(1))
