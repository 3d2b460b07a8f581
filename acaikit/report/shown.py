"""What a trained model makes of test examples and of latents, as arrays to be drawn."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acaikit.data.base import Dataset
from acaikit.errors import EvaluationError, UserError
from acaikit.evaluators.base import Trained, spread
from acaikit.evaluators.codes import BATCH
from acaikit.rng import generator
from acaikit.types import Shape

Pair = tuple[int, int]


def check_drawable(dataset: Dataset) -> Shape:
    """Return the shape in which the examples of `dataset` are drawn; `UserError` where they can't be."""
    shape = dataset.picture or dataset.shape
    if not 1 <= len(shape) <= 3:
        raise UserError(f"examples of shape {shape} are no vectors, sequences or images: they can't be drawn")
    return shape


def as_seen(examples: np.ndarray, shape: Shape) -> tuple[np.ndarray, list[str]]:
    """Return examples ``[..., *shape]`` as they can be drawn: the mean of channels that are no colours, with a note."""
    if len(shape) < 3 or shape[0] in (1, 3):
        return examples, []
    return examples.mean(-3, keepdims=True), [f"the mean of {shape[0]} channels"]


def pairs_of(total: int, pairs: int, pair: Pair | None = None) -> NDArray[np.int64]:
    """Return the positions ``[P, 2]`` of `pairs` pairs spread over `total` examples, or of the one `pair`.

    Raises
    ------
    UserError
        If there are fewer than two examples, or no such example.
    """
    if pair is not None:
        if not all(0 <= i < total for i in pair):
            raise UserError(f"--pair {pair[0]} {pair[1]}: the test examples are numbered from 0 to {total - 1:,}")
        return np.array([pair])
    index = spread(2 * pairs, total)
    half = len(index) // 2
    if not half:
        raise UserError(f"a path joins two test examples, but there is {total}")
    return np.stack([index[:half], index[half : 2 * half]], 1)


def ends(trained: Trained, chosen: NDArray[np.int64]) -> Tensor:
    """Return pairs of test examples, float32 ``[P, 2, *shape]`` on the model's device."""
    split = trained.dataset.test()
    return torch.stack([split.examples(torch.from_numpy(end.copy()), trained.device) for end in chosen.T], 1)


def between(trained: Trained, both: Tensor, steps: int, path: str) -> np.ndarray:
    """Return decoded paths between pairs of examples ``[P, 2, *shape]``, float32 ``[P, steps, *shape]``.

    Raises
    ------
    UserError
        If there is no such path, or it can't be used with this model.
    EvaluationError
        If what is decoded is not finite.
    """
    with trained.evaluating():
        paths = trained.model.interpolate(both[:, 0], both[:, 1], steps, trained.path(path))
    return _finite(paths)


def reconstructed(trained: Trained, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `count` test examples, spread evenly over all, and what the model makes of them.

    Raises
    ------
    EvaluationError
        If what is decoded is not finite.
    """
    split = trained.dataset.test()
    x = split.examples(torch.from_numpy(spread(count, len(split))), trained.device)
    with trained.evaluating():
        return x.cpu().numpy(), _finite(torch.cat([trained.model.reconstruct(part) for part in torch.split(x, BATCH)]))


def sampled(trained: Trained, count: int, seed: int) -> tuple[np.ndarray, str]:
    """Return what `count` random latents decode to, and in words where they were drawn from.

    That is N(0, I) where the model has a prior, else the normal distribution that has the latents' mean and covariance.

    Raises
    ------
    EvaluationError
        If the latents, or what is decoded, are not finite.
    """
    noise = generator(seed, "samples")
    shape = trained.model.latent_shape
    with trained.evaluating():
        if trained.model.has_prior:
            z, words = torch.randn(count, *shape, generator=noise), "Samples from the prior N(0, I)"
        else:
            latents = torch.from_numpy(_finite(trained.latents)).flatten(1).double()
            mean = latents.mean(0)
            # Weights of N(0, 1) on the N centred latents have the covariance of the latents, whatever its rank.
            weights = torch.randn(count, len(latents), generator=noise, dtype=torch.float64)
            z = (mean + weights @ (latents - mean) / len(latents) ** 0.5).float().view(count, *shape)
            words = "Samples from a Gaussian fitted to the latents"
        parts = [trained.model.decode(part.to(trained.device)) for part in torch.split(z, BATCH)]
    return _finite(torch.cat(parts)), words


def coded(trained: Trained, count: int) -> tuple[np.ndarray, NDArray[np.int64] | None]:
    """Return the codes of `count` test examples, spread evenly over all, float32 ``[N, D]``, and their labels.

    They are what a probe and a clustering read; not checked.
    """
    split = trained.dataset.test()
    rows = torch.from_numpy(spread(count, len(split)))
    x = split.examples(rows, trained.device)
    with trained.evaluating():
        codes = torch.cat([trained.model.code(part).flatten(1).float().cpu() for part in torch.split(x, BATCH)])
    return codes.numpy(), None if split.labels is None else split.labels.cpu()[rows].numpy()


def _finite(values: Tensor) -> np.ndarray:
    if not torch.isfinite(values).all():
        raise EvaluationError(
            "what the model makes of its data holds NaN or infinity: it has diverged; draw an earlier checkpoint with "
            "--step"
        )
    return values.cpu().numpy()
