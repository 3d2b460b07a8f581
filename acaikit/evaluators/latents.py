"""The latents of a trained model, to be kept with their labels."""

from __future__ import annotations

import torch

from acaikit import checks
from acaikit.data.base import Split
from acaikit.evaluators.base import Evaluator, Result, Trained
from acaikit.evaluators.codes import BATCH


class Latents(Evaluator):
    """Stores what probe and clustering read of a model: its codes of training and test examples, and their labels.

    Parameters
    ----------
    examples : int
        How many training examples are coded, from the first on.

    Raises
    ------
    UserError
        If `examples` is below 1.
    """

    key = "latents"

    def __init__(self, examples: int = 60_000) -> None:
        checks.whole("Latents.examples", examples, at_least=1)
        self.examples = examples

    def fits(self, trained: Trained) -> bool:
        """Fits every dataset."""
        return True

    def evaluate(self, trained: Trained) -> Result:
        """Code the examples.

        Returns
        -------
        Result
            Scores ``train`` and ``test``, the numbers of examples, and ``dimensions``, that of a flattened code. Arrays
            train and test, float32 ``[N, *latent]``, and, where there are labels, train_labels and test_labels, int64
            ``[N]``. Codes that are not finite are stored as they are.
        """
        arrays = {}
        for name, split in {"train": trained.dataset.training(self.examples), "test": trained.dataset.test()}.items():
            arrays[name] = _codes(trained, split).cpu().numpy()
            if split.labels is not None:
                arrays[f"{name}_labels"] = split.labels.cpu().numpy()
        scores = {name: float(len(arrays[name])) for name in ("train", "test")}
        return Result(scores | {"dimensions": float(arrays["test"][0].size)}, arrays)


def _codes(trained: Trained, split: Split) -> torch.Tensor:
    return torch.cat([trained.model.code(x) for x, _ in split.batches(BATCH, trained.device)])
