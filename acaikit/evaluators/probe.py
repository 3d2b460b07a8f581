"""The tandem probe's accuracy (paper, section 4.2)."""

from __future__ import annotations

import torch

from acaikit.evaluators.base import Evaluator, Result, Trained


class ProbeAccuracy(Evaluator):
    """Percentage of the whole test set that the probe, trained in tandem with the autoencoder, gets right."""

    key = "probe"

    def fits(self, trained: Trained) -> bool:
        """Needs a model that was trained with its probe."""
        return trained.probe is not None

    def evaluate(self, trained: Trained) -> Result:
        """Return ``accuracy`` in percent."""
        probe = trained.probe
        assert probe is not None
        split = trained.dataset.test()
        right = torch.zeros((), dtype=torch.int64, device=trained.device)
        for x, y in split.batches(500, trained.device):
            right += (probe(trained.model.code(x)).argmax(1) == y).sum()
        return Result({"accuracy": 100 * right.item() / len(split)})
