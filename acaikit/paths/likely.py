"""A path that trades length for density."""

from __future__ import annotations

from torch import Tensor

from acaikit import checks, densities
from acaikit.densities import Density
from acaikit.errors import UserError
from acaikit.paths.base import Landscape, Path
from acaikit.paths.relaxed import Relaxed
from acaikit.paths.straight import lerp


class LikelyPath(Relaxed):
    """The path that trades length for density: short, and through latents that are likely.

    It minimises ``n sum_i |w_i+1 - w_i|^2 - weight / n sum_i log p(z_i)``, n = points - 1. The idea is that of
    ProbGEORCE (Rygaard et al. 2025, arXiv 2510.26266); the discretisation is `Relaxed`'s. w is the latent z whitened as
    the density p whitens it: else a path would become likely by small moves in directions in which the latents hardly
    vary, and which nobody sees. So `weight` also means the same for latents of any scale, as it does for any number of
    points.

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

    def over(self, landscape: Landscape) -> Path:
        """Return the path as a function, for one model."""
        density = self._density(landscape)
        path = self.relaxed(lambda white: white, lambda white: -self.weight * density.of_white(white))

        def along(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
            white = density.whiten(a.flatten(1)), density.whiten(b.flatten(1))
            bend = path(*white, t) - lerp(*white, t)
            straight = lerp(a, b, t)
            return straight + density.colour(bend.flatten(0, 1)).to(a).view(straight.shape)

        return along

    def _density(self, landscape: Landscape) -> Density:

        def missing() -> Tensor:
            raise UserError(
                f"LikelyPath needs training latents for its {self.density} density, and a model alone has none: make "
                f"the path with run.trained.path(...), or choose LikelyPath(density='prior')"
            )

        return densities.density("LikelyPath.density", self.density).of(landscape.latents or missing)
