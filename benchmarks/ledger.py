"""What tensors take: in all, kept for backward passes, and allocated on the CPU in the course of a step."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from torch import Tensor
from torch.profiler import ProfilerActivity, profile

MB = 1e6


def size(tensors: Iterable[Tensor]) -> float:
    """Return megabytes."""
    return sum(t.nbytes for t in tensors) / MB


class Saved:
    """A tensor that a backward pass keeps; `Ledger` counts its storage until it is let go."""

    def __init__(self, ledger: Ledger, tensor: Tensor) -> None:
        self.ledger, self.tensor = ledger, tensor
        ledger.keep(tensor)

    def __del__(self) -> None:
        self.ledger.let_go(self.tensor)


class Ledger:
    """Counts the bytes of storages that are kept, apart from those of tensors that are there anyway."""

    def __init__(self, there: Iterable[Tensor]) -> None:
        self.there = {t.untyped_storage().data_ptr() for t in there}
        self.kept: Counter[int] = Counter()
        self.bytes = self.most = 0

    def keep(self, tensor: Tensor) -> None:
        """Count the tensor's storage, if it isn't yet."""
        storage = tensor.untyped_storage()
        self.kept[storage.data_ptr()] += 1
        if self.kept[storage.data_ptr()] == 1 and storage.data_ptr() not in self.there:
            self.bytes += storage.nbytes()
            self.most = max(self.most, self.bytes)

    def let_go(self, tensor: Tensor) -> None:
        """Count it no longer, once nothing keeps it."""
        storage = tensor.untyped_storage()
        self.kept[storage.data_ptr()] -= 1
        if not self.kept[storage.data_ptr()] and storage.data_ptr() not in self.there:
            self.bytes -= storage.nbytes()


def allocated_at_most(step: Callable[[], object]) -> int:
    """Return the most bytes that a step on the CPU has allocated at a time beyond those there were before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        seen.export_chrome_trace(file.name)
        events = json.loads(Path(file.name).read_text())["traceEvents"]
    memory = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]")
    now = most = 0
    for _, size in memory:
        now += size
        most = max(most, now)
    return most
