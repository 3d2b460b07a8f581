"""Whether code makes its tensors on the device of the data, found out without a second device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from acaikit.testing.rules import NotConforming


class _NothingOnMeta(TorchFunctionMode):
    """Raises where a tensor is made on the meta device; torch itself lets some of them pass in silence."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.is_meta:
            raise RuntimeError(f"{func.__name__}(...)")
        return out


@contextmanager
def new_tensors_elsewhere(who: str, data: str) -> Iterator[None]:
    """Let new tensors land on another device by default, as they do when the model is on a GPU.

    Where `who` makes one in the block without saying where, `NotConforming` names the `data` whose device it should be.
    """
    try:
        with torch.device("meta"), _NothingOnMeta():
            yield
    except (RuntimeError, NotImplementedError, ValueError) as error:
        raise NotConforming(
            f"{who} makes a tensor on the default device, so it would fail on a GPU: give it device={data}.device "
            f"({error})"
        ) from error
