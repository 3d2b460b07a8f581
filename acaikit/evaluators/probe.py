"""The tandem probe's accuracy (paper, section 4.2)."""

from __future__ import annotations

import torch

from acaikit.evaluators.base import Evaluator, Result, Trained


class ProbeAccuracy(Evaluator):
    """Percentage of the whole test set that the probe, trained in tandem with the autoencoder, gets right."""

    key = "probe"
    needs = "labels, and a probe trained in tandem"

    def fits(self, trained: Trained) -> bool:
        """Needs a model that was trained with its probe."""
        return trained.probe is not None

    def evaluate(self, trained: Trained) -> Result:
        """Return ``accuracy`` in percent; arrays predictions and labels, int64 ``[N]``."""
        probe, split = trained.probe, trained.dataset.test()
        assert probe is not None and split.labels is not None
        found = [probe(trained.model.code(x)).argmax(1) for x, _ in split.batches(500, trained.device)]
        predictions, labels = torch.cat(found).cpu().numpy(), split.labels.numpy()
        accuracy = 100 * float((predictions == labels).mean())
        return Result({"accuracy": accuracy}, {"predictions": predictions, "labels": labels})
