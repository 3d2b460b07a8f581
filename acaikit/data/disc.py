"""Images of a disc whose one true factor is its horizontal position: the lines benchmark's idea without a circle."""

from __future__ import annotations

import torch
from torch import Tensor

from acaikit import checks
from acaikit.data.rendered import Factor, Rendered
from acaikit.errors import UserError


class Disc(Rendered):
    """Bright discs on a dark ground; the one factor is how far the centre is from the left edge, in pixels.

    A pixel whose centre is at distance d from the disc's is ``2 clip(radius + 1/2 - d, 0, 1) - 1``: how far the edge is
    away stands for the part of the pixel that is covered. Pixel q spans [q, q + 1]. The disc's centre is at half of the
    image's height and in [radius, width - radius) from the left, so that the disc is always wholly inside. The label is
    the tenth of that range.

    Parameters
    ----------
    height, width : int
        The image's sides in pixels, at least 4.
    radius : float
        The disc's radius in pixels, at least 1; twice that is at most `height`, and less than `width`.
    test_size : int
        Number of test images, at least 2, drawn with a fixed seed of their own.

    Raises
    ------
    UserError
        If a number is out of range.
    """

    def __init__(self, height: int = 32, width: int = 32, radius: float = 4.0, test_size: int = 5000) -> None:
        checks.whole("Disc.height", height, at_least=4)
        checks.whole("Disc.width", width, at_least=4)
        checks.number("Disc.radius", radius, at_least=1)
        if 2 * radius > height or 2 * radius >= width:
            raise UserError(
                f"Disc.radius = {radius:g} needs a height of at least {2 * radius:g} and a width above it, so that the "
                f"disc has room to move; the image is {height} x {width}"
            )
        self.height, self.width, self.radius = height, width, radius
        super().__init__((1, height, width), Factor("position", radius, width - radius, False, "px"), test_size)

    def render(self, values: Tensor) -> Tensor:
        """Draw discs at the positions `values` ``[N]``, in pixels; float32 ``[N, 1, height, width]``."""
        x, y = (torch.arange(n, dtype=torch.float64, device=values.device) + 0.5 for n in (self.width, self.height))
        right, down = x - values.double().view(-1, 1, 1, 1), (y - self.height / 2).view(-1, 1)
        distance = torch.hypot(right, down)
        # In place: the distances of a whole test set are the largest thing here.
        return distance.neg_().add_(self.radius + 0.5).clamp_(0, 1).mul_(2).sub_(1).float()
