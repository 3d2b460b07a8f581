"""Paths between test examples, to look at, with the scores that need no known factor."""

from __future__ import annotations

import torch

from acaikit.evaluators.base import AlongPaths, Result, Trained, spread


class Interpolation(AlongPaths):
    """Decodes paths between pairs of test examples; parameters and errors are those of `AlongPaths`."""

    key = "interpolation"

    def __init__(self, pairs: int = 8, steps: int = 16, path: str = "lerp") -> None:
        super().__init__(pairs, steps, path)

    def evaluate(self, trained: Trained) -> Result:
        """Decode the paths.

        Returns
        -------
        Result
            ``endpoint_mse``: mean squared error of the paths' ends against the test examples they come from.
            ``step_ratio``: largest over mean distance between neighbours on a path, averaged over paths; 1 is even, N -
            1 a jump. Arrays: paths, float32 ``[P, N, *shape]``.
        """
        split = trained.dataset.test()
        index = torch.from_numpy(spread(2 * self.pairs, len(split)))
        half = len(index) // 2
        x1 = split.examples(index[:half], trained.device)
        x2 = split.examples(index[half : 2 * half], trained.device)
        paths = trained.model.interpolate(x1, x2, self.steps, trained.path(self.path))
        ends = torch.stack([x1, x2], 1)
        step = (paths[:, 1:] - paths[:, :-1]).flatten(2).norm(dim=2)
        ratio = (step.amax(1) / step.mean(1)).mean()
        scores = {"endpoint_mse": (paths[:, [0, -1]] - ends).square().mean().item(), "step_ratio": ratio.item()}
        return Result(scores, {"paths": paths.cpu().numpy()})
