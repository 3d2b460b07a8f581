"""Mean losses, summed where they are computed: the host reads a few numbers a row, and none in a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class Means:
    """Sums of losses in one tensor, which stays where it is in memory, and the number of steps that they are of.

    Attributes
    ----------
    count : int
        Steps summed since the last reading. The device knows which they were, so its reader counts them.
    """

    def __init__(self) -> None:
        self.count = 0
        self._names: list[str] = []
        self._sums: Tensor | None = None
        self._loaded: Mapping[str, Tensor] = {}

    def add(self, names: Sequence[str], losses: Tensor, left_out: Tensor) -> None:
        """Add the losses ``[len(names)]``, unless the scalar `left_out` isn't 0."""
        if self._sums is None:
            none = torch.zeros_like(losses[0])
            self._names, self._sums = list(names), torch.stack([self._loaded.get(name, none) for name in names])
        self._sums += torch.where(left_out.bool(), 0, losses)

    def read(self) -> dict[str, float]:
        """Return the means by name, none where no step was summed, and begin anew."""
        means = {name: (total / self.count).item() for name, total in self._totals().items()}
        self.count, self._loaded = 0, {}
        if self._sums is not None:
            self._sums.zero_()
        return means

    def state_dict(self) -> dict[str, Any]:
        """Return the sums by name, scalars, and their count."""
        return {"sums": self._totals(), "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from what `state_dict` returned."""
        self.count, self._sums = state["count"], None
        self._loaded = {name: total.to(device) for name, total in state["sums"].items()}

    def _totals(self) -> dict[str, Tensor]:
        if self._sums is None:
            return dict(self._loaded)
        return dict(zip(self._names, self._sums.clone().unbind(), strict=True)) if self.count else {}
