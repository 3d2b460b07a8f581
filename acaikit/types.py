"""The few types that every layer shares: shapes, scores and the `Step` of one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

Shape = tuple[int, ...]
Scores = dict[str, float]
Extras = Mapping[str, Tensor]
Emitted = Tensor | tuple[Tensor, Extras]


@dataclass(frozen=True)
class Step:
    """What one forward pass produced, as a regularizer sees it.

    Besides the fields below, a regularizer finds under its own names what its hooks returned as extras:
    ``step.alpha`` and ``step.x_mix`` for ACAI, ``step.mu`` for KL. Extras are private to the regularizer that made
    them.

    Attributes
    ----------
    x : Tensor
        The clean batch, ``[B, *data shape]``, float32 in [-1, 1].
    h : Tensor
        The encoder's output for the (possibly corrupted) batch, ``[B, *latent shape]``.
    z : Tensor
        The latent code, ``[B, *latent shape]``: `h` after every regularizer's ``posterior``.
    x_hat : Tensor
        The reconstruction as an image, ``[B, *data shape]``.
    encode : callable
        ``encode(x) -> z`` without noise, in the same graph.
    decode : callable
        ``decode(z) -> image``, in the same graph, through every regularizer's ``emit``.
    extras : mapping of str to Tensor
        What this regularizer's own hooks returned.
    """

    x: Tensor
    h: Tensor
    z: Tensor
    x_hat: Tensor
    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]
    extras: Extras = field(default_factory=dict)

    def __getattr__(self, name: str) -> Tensor:
        extras: Extras = self.__dict__.get("extras", {})
        if name in extras:
            return extras[name]
        have = ", ".join(["x", "h", "z", "x_hat", *extras])
        raise AttributeError(f"step has no {name!r}: this regularizer sees {have}")

    def with_extras(self, extras: Extras) -> Step:
        """Return the same step with `extras` added to those it has."""
        return replace(self, extras={**self.extras, **extras})

    def detached(self) -> Step:
        """Return the same numbers with no gradient behind them."""
        tensors: dict[str, Any] = {name: getattr(self, name).detach() for name in ("x", "h", "z", "x_hat")}
        return replace(self, **tensors, extras={name: value.detach() for name, value in self.extras.items()})
