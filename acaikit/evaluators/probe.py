"""The tandem probe's accuracy (paper, section 4.2)."""

from __future__ import annotations

import math

import torch

from acaikit.evaluators.base import Evaluator, Result, Trained
from acaikit.evaluators.codes import BATCH


class ProbeAccuracy(Evaluator):
    """Percentage of the whole test set that the probe, trained in tandem with the autoencoder, gets right."""

    key = "probe"
    needs = "labels, and a probe trained in tandem"

    def under(self, protocol: str) -> Evaluator:
        """Return this one, or a `LinearProbe`: a classifier that had as much time as it needed."""
        if protocol == "paper":
            return self
        from acaikit.evaluators.linear_probe import LinearProbe  # scikit-learn takes a second to import

        return LinearProbe()

    def fits(self, trained: Trained) -> bool:
        """Needs a model that was trained with its probe."""
        return trained.probe is not None

    def evaluate(self, trained: Trained) -> Result:
        """Return ``accuracy`` in percent, NaN if a logit isn't finite; arrays predictions and labels, int64 ``[N]``."""
        probe, split = trained.probe, trained.dataset.test()
        assert probe is not None and split.labels is not None
        logits = torch.cat([probe(trained.model.code(x)) for x, _ in split.batches(BATCH, trained.device)]).cpu()
        predictions, labels = logits.argmax(1).numpy(), split.labels.cpu().numpy()
        accuracy = 100 * float((predictions == labels).mean()) if logits.isfinite().all() else math.nan
        return Result({"accuracy": accuracy}, {"predictions": predictions, "labels": labels})
