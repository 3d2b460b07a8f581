"""How well the test set is reconstructed."""

from __future__ import annotations

import torch

from acaikit import checks
from acaikit.evaluators.base import Evaluator, Result, Trained, spread


class Reconstruction(Evaluator):
    """Mean squared error of the reconstructed test set, and examples side by side.

    Parameters
    ----------
    examples : int
        How many examples to keep for the picture.
    limit : int, optional
        Measure the error on at most this many test examples, spread evenly. Left out, it is measured on all. The
        paper's recipes have 1,000, those of CelebA 10,000; ``acaikit eval RUN_DIR --reconstruction --set
        Reconstruction.limit=None`` measures all.

    Raises
    ------
    UserError
        If `examples` or `limit` is below 1.
    """

    key = "reconstruction"

    def __init__(self, examples: int = 32, limit: int | None = None) -> None:
        checks.whole("Reconstruction.examples", examples, at_least=1)
        if limit is not None:
            checks.whole("Reconstruction.limit", limit, at_least=1)
        self.examples, self.limit = examples, limit

    def fits(self, trained: Trained) -> bool:
        """Fits every dataset."""
        return True

    def evaluate(self, trained: Trained) -> Result:
        """Return ``mse`` over every element; arrays originals and reconstructions, float32 ``[M, *shape]``."""
        model, split = trained.model, trained.dataset.test()
        measured = torch.from_numpy(spread(self.limit or len(split), len(split)))
        total = torch.zeros((), dtype=torch.float64, device=trained.device)
        for part in torch.split(measured, 500):
            x = split.examples(part, trained.device)
            total += (model.reconstruct(x) - x).square().double().sum()
        shown = split.examples(torch.from_numpy(spread(self.examples, len(split))), trained.device)
        arrays = {"originals": shown.cpu().numpy(), "reconstructions": model.reconstruct(shown).cpu().numpy()}
        return Result({"mse": total.item() / (len(measured) * shown[0].numel())}, arrays)
