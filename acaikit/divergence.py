"""Divergence: NaN or inf in training, looked for at the price of one reduction a step, and named once it is there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor
from torch.nn.utils import get_total_norm

ON_NAN = ("stop", "skip", "rewind")
"""What can be done about it: end the run, leave out the update, or go back to a checkpoint and draw anew."""
MAX_SKIPS = 100
"""Updates that may be left out in succession: a run without any is of no use."""
BATCH = "the batch"

_SHOWN = 3


class Diverged(Exception):
    """Training met numbers that are not finite.

    Attributes
    ----------
    step : int
        The step that met them, counted from 1; no weight has moved in it.
    terms : list of str
        The losses that are not finite: "reconstruction", "ACAI/critic".
    tensors : list of str
        Which tensors hold such numbers: "the batch" before all, if it does, then "gradient of encoder.layers.0.weight"
        and "encoder.layers.0.weight", by the names of the model's ``named_parameters()``, the probe's after "probe.".
    skipped : int
        How many steps before this one were skipped for the same reason, in succession.
    """

    def __init__(self, step: int, terms: Sequence[str], tensors: Sequence[str], skipped: int = 0) -> None:
        super().__init__(step, terms, tensors, skipped)
        self.step, self.terms, self.tensors, self.skipped = step, list(terms), list(tensors), skipped

    def __str__(self) -> str:
        others = [name for name in self.tensors if name != BATCH]
        found = [f"{BATCH} holds NaN or inf"] if BATCH in self.tensors else []
        if self.terms:
            found.append(f"the {'losses' if self.terms[1:] else 'loss'} {_listed(self.terms)} not finite")
        if others:
            found.append(f"{_listed(others)} not finite")
        before = f", after {self.skipped} steps in succession that were skipped" if self.skipped else ""
        return f"training diverged in step {self.step}{before}: {'; '.join(found)}"


def finite(tensors: Iterable[Tensor]) -> bool:
    """Whether all numbers in `tensors` surely are finite; False as well where their squares overflow."""
    # The host must know before a weight moves, so this scalar is read in every step, and it is all that is read. A step
    # captured as a CUDA graph would keep it on the device, give it to Adam as `found_inf`, which holds the weights
    # still, and read it every k steps.
    return bool(get_total_norm(tensors, foreach=True).isfinite())


def not_finite(named: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Return the names of the tensors that hold NaN or inf; this waits for the device at each."""
    return [name for name, tensor in named if not tensor.isfinite().all()]


def _listed(names: Sequence[str]) -> str:
    shown, more = ", ".join(names[:_SHOWN]), len(names) - _SHOWN
    return f"{shown} and {more} more are" if more > 0 else f"{shown} {'are' if names[1:] else 'is'}"
