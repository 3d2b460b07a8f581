"""The lines benchmark's data: a line from the centre, whose angle is the one true factor (paper, section 4.1)."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from acaikit import checks
from acaikit.data.rendered import Factor, Rendered
from acaikit.errors import UserError

CHUNK = 512


def render(angles: Tensor | ArrayLike, height: int = 32, width: int = 32) -> Tensor:
    """Draw one line per angle, two pixels wide and anti-aliased along the rows.

    Parameters
    ----------
    angles : Tensor or array_like
        ``[N]``, radians.
    height, width : int
        The image's sides in pixels. The paper's are equal; the formula means nothing where they aren't.

    Returns
    -------
    Tensor
        float32 ``[N, 1, height, width]`` in [-1, 1], on the device of `angles`.
    """
    flat = torch.as_tensor(angles, dtype=torch.float64).reshape(-1)
    if not len(flat):
        return torch.empty(0, 1, height, width, device=flat.device)
    return torch.cat([_render(chunk, height, width) for chunk in torch.split(flat, CHUNK)])


def _render(angles: Tensor, height: int, width: int) -> Tensor:
    x0, y0 = torch.full_like(angles, height / 2), torch.full_like(angles, width / 2)
    x1 = x0 + (x0 - 1) * torch.cos(-angles)
    y1 = y0 + (y0 - 1) * torch.sin(-angles)
    # Drawn row by row, a line must be steep: a flat one is drawn with swapped coordinates and transposed.
    flat = (y1 - y0).abs() < (x1 - x0).abs()
    x0, y0, x1, y1 = (torch.where(flat, a, b) for a, b in ((y0, x0), (x0, y0), (y1, x1), (x1, y1)))
    down = y1 < y0
    x0, y0, x1, y1 = (torch.where(down, a, b) for a, b in ((x1, x0), (y1, y0), (x0, x1), (y0, y1)))
    dy = y1 - y0
    slope = torch.where(dy == 0, 0.0, (x1 - x0) / dy)
    left = x0 - 1

    side = max(height, width)
    rows = torch.arange(side, dtype=angles.dtype, device=angles.device)
    x0, y0, y1, slope = (v.unsqueeze(1) for v in (left, y0, y1, slope))
    drawn = (rows >= y0.trunc()) & (rows < y1.ceil())
    weight = torch.where(rows < y0.ceil(), y0.ceil() - y0, 1.0) * drawn
    start = (x0 + (rows - y0 - 0.5) * slope).unsqueeze(2)
    pixels = rows
    coverage = (torch.minimum(start + 2, pixels + 1) - torch.maximum(start, pixels)).clamp_(min=0)
    image = (2 * coverage * weight.unsqueeze(2) - 1).clamp_(-1, 1)
    image = torch.where(flat.view(-1, 1, 1), image.transpose(1, 2), image)
    return image[:, None, :height, :width].float()


class Lines(Rendered):
    """Lines at uniform angles, drawn on the fly; the label is the tenth of the circle.

    Parameters
    ----------
    height, width : int
        The image's sides in pixels, equal and at least 4.
    test_size : int
        Number of test images, at least 2, drawn with a fixed seed of their own.

    Raises
    ------
    UserError
        If a size is too small, or the image isn't square.
    """

    def __init__(self, height: int = 32, width: int = 32, test_size: int = 5000) -> None:
        checks.whole("Lines.height", height, 4, checks.SIZE)
        checks.whole("Lines.width", width, 4, checks.SIZE)
        if height != width:
            raise UserError(
                f"Lines.height and Lines.width must be equal, as they are in the paper, not {height}, {width}"
            )
        self.height, self.width = height, width
        super().__init__((1, height, width), Factor.turn("angle"), test_size)

    def render(self, values: Tensor) -> Tensor:
        """Draw lines at the angles `values` ``[N]``, in radians; float32 ``[N, 1, height, width]``."""
        return render(values, self.height, self.width)
