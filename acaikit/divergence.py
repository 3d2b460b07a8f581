"""Divergence: NaN or inf in training, looked for at the price of one reduction a step, and named once it is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

ON_NAN = ("stop", "skip", "rewind")
"""What can be done about it: end the run, leave out the update, or go back to a checkpoint and draw anew."""
MAX_SKIPS = 100
"""Updates that may be left out in succession: a run without any is of no use."""
BATCH = "the batch"

LOOK_EVERY = 32
"""Steps between two looks at what a GPU has judged."""

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


class Tally(NamedTuple):
    """What became of the steps since the last look.

    Attributes
    ----------
    taken, skipped : int
        Steps with and without an update.
    in_succession : int
        How many of the last steps before the end, or before the halt, were skipped.
    halted : int
        Whether there was one skip too many; no step after it counts.
    """

    taken: int
    skipped: int
    in_succession: int
    halted: int


class Guard:
    """Judges each step on the device where its numbers are, and holds back the update of one that is not finite.

    A host that asks a GPU in each step waits for it in each step. So what follows from a step's numbers is computed
    beside them, and the host looks now and then: meanwhile the update is held back on the device, and once there was
    one skip too many, every one that follows.

    Parameters
    ----------
    device : torch.device
        Where the steps are taken.

    Attributes
    ----------
    left_out : Tensor
        float32 scalar on the device, 1 where the step that was judged last has no update; Adam takes it as `found_inf`.
    """

    def __init__(self, device: torch.device) -> None:
        self.left_out = torch.zeros((), device=device)
        self._patience = torch.zeros((), dtype=torch.int64, device=device)
        self._tally = torch.zeros(len(Tally._fields), dtype=torch.int64, device=device)
        self._names: list[str] = []
        self._finite = torch.zeros(0, dtype=torch.bool, device=device)

    def set(self, *, skip: bool | None = None, in_succession: int | None = None) -> None:
        """Say whether steps may be skipped, and how many were in succession before the next."""
        if skip is not None:
            self._patience.fill_(MAX_SKIPS if skip else 0)
        if in_succession is not None:
            self._tally.zero_()
            self._tally[Tally._fields.index("in_succession")].fill_(in_succession)

    def judge(self, batch: Tensor, losses: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        """Judge a step by its losses and gradients, each by its name; the batch is kept to be named beside them."""
        tensors = {BATCH: batch, **losses, **gradients}
        # One reduction over all; in float32 the squares of numbers that are finite may overflow.
        finite = torch.stack(torch._foreach_norm(list(tensors.values()), 2, torch.float64)).isfinite()
        if self._names != list(tensors):
            self._names, self._finite = list(tensors), torch.ones_like(finite)
        taken, skipped, in_succession, halted = self._tally.unbind()
        bad, over = ~finite[1:].all(), halted.bool()
        halts = over | (bad & (in_succession >= self._patience))
        left_out = bad | halts
        self._finite.copy_(torch.where(over, self._finite, finite))
        self.left_out.copy_(left_out)
        tally = [
            taken + ~left_out,
            skipped + (bad & ~halts),
            torch.where(halts, in_succession, (in_succession + 1) * bad),
            halts.long(),
        ]
        self._tally.copy_(torch.stack(tally))

    @contextmanager
    def holding(self, module: nn.Module) -> Iterator[None]:
        """Give the tensors of `module` their numbers back after the block, unless the step judged last has an update.

        One that the block replaces by another is held back as well; one that it makes is not.
        """
        kept = {name: tensor.clone() for name, tensor in _tensors(module)}
        yield
        for name, tensor in _tensors(module):
            if name in kept:
                tensor.copy_(torch.where(self.left_out.bool(), kept[name], tensor))

    def look(self) -> Tally:
        """Return what became of the steps since the last look; this waits for the device."""
        tally = Tally(*self._tally.tolist())
        self.set(in_succession=tally.in_succession)
        return tally

    def faults(self) -> list[str]:
        """Return the names of what was not finite in the step that halted the others, or else in the last."""
        return [name for name, finite in zip(self._names, self._finite.tolist(), strict=True) if not finite]


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def not_finite(named: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Return the names of the tensors that hold NaN or inf; this waits for the device at each."""
    return [name for name, tensor in named if not tensor.isfinite().all()]


def _listed(names: Sequence[str]) -> str:
    shown, more = ", ".join(names[:_SHOWN]), len(names) - _SHOWN
    return f"{shown} and {more} more are" if more > 0 else f"{shown} {'are' if names[1:] else 'is'}"
