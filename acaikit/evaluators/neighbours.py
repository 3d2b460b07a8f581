"""How unlike any training example an image is."""

from __future__ import annotations

import torch
from torch import Tensor

from acaikit.data.base import Split
from acaikit.errors import EvaluationError

CHUNK = 1024
"""Images and examples that are compared at a time."""


def without(split: Split, examples: Tensor) -> Split:
    """Return the examples of `split` that are no copy of one of `examples` ``[M, *shape]``.

    Some published sets are tested on what they are trained on: each test example would find itself.
    """
    known = {row.tobytes() for row in examples.cpu().numpy()}
    rows = (row for x, _ in split.batches(CHUNK) for row in x.cpu().numpy())
    kept = torch.tensor([row.tobytes() not in known for row in rows], dtype=torch.bool)
    return Split(split.data[kept.to(split.data.device)])


class Neighbours:
    """Training examples, and how far an image is from the nearest of them.

    The distance of x and y is ``|x - y|^2 / (|x - m|^2 + |y - m|^2)``, where m is the mean of the training examples. It
    lies in [0, 2] and has no unit. For images of equal contrast, |x - m| = |y - m|, it is the cosine distance of
    x - m and y - m; one minus it is the product of contrast and structure in the structural similarity of Wang et al.
    (2004), over a whole image. A plain Euclidean distance would favour what is pale: the mean itself is close to
    everything. Here it is at a distance of 1 from every other image. The cosine distance doesn't see contrast at all,
    and where a dissolve of two examples only loses contrast, as with `Sinusoid`, it finds nothing wrong.

    Parameters
    ----------
    examples : Split
        The training examples, at least one.
    device : torch.device or str
        Where to compute.

    Attributes
    ----------
    mean : Tensor
        The mean of the examples, float32 ``[*shape]``.

    Raises
    ------
    EvaluationError
        If there is no example.
    """

    mean: Tensor

    def __init__(self, examples: Split, device: torch.device | str) -> None:
        if not len(examples):
            raise EvaluationError("there are no training examples, but those of the pairs, to compare with")
        self.examples, self.device = examples, device
        total = sum(x.double().sum(0) for x, _ in examples.batches(CHUNK, device))
        assert isinstance(total, Tensor)
        self.mean = (total / len(examples)).float()

    def distance(self, images: Tensor) -> Tensor:
        """Return each image's distance to the nearest example, float64 ``[...]`` for images ``[..., *shape]``."""
        leading = images.shape[: images.dim() - self.mean.dim()]
        parts = torch.split(images.reshape(-1, *self.mean.shape), CHUNK)
        return torch.cat([self._distance(part) for part in parts]).view(leading)

    def _distance(self, images: Tensor) -> Tensor:
        x = self._centred(images)
        best = torch.full((len(x),), -torch.inf, device=self.device)
        nearest = torch.zeros(len(x), dtype=torch.int64, device=self.device)
        for start in range(0, len(self.examples), CHUNK):
            y = self._centred(self.examples.examples(slice(start, start + CHUNK), self.device))
            likeness, index = _over(2 * x @ y.T, _square(x)[:, None] + _square(y)).max(1)
            nearer = likeness > best
            best, nearest = likeness.where(nearer, best), (index + start).where(nearer, nearest)
        # Products of float32 find a neighbour that is the nearest to about 1e-7; how near it is must be exact.
        x, y = x.double(), self._centred(self.examples.examples(nearest, self.device)).double()
        return _over(_square(x - y), _square(x) + _square(y))

    def _centred(self, images: Tensor) -> Tensor:
        return (images.to(self.mean) - self.mean).flatten(1)


def _square(vectors: Tensor) -> Tensor:
    return vectors.square().sum(1)


def _over(a: Tensor, b: Tensor) -> Tensor:
    """Return a / b, and 0 where both are 0: there two images are both the mean."""
    return a / b.clamp(min=torch.finfo(b.dtype).tiny)
