"""A network under check: an encoder, a decoder or a critic, and the sizes that it is built for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from acaikit.errors import UserError
from acaikit.rng import generator, initialise
from acaikit.testing.rules import NotConforming
from acaikit.testing.training import MakeTrainer
from acaikit.types import Shape

ODD: tuple[Shape, ...] = ((1, 7, 9), (2, 33, 20), (3, 5), (13,), (1,))
"""Shapes of data that a network may refuse; in training none may come as a surprise."""


@dataclass(frozen=True)
class Fit:
    """Sizes that a network can be built for.

    Attributes
    ----------
    said : str
        What a message calls them.
    taken : tuple of int
        The shape of one example of what the network reads.
    build : callable
        Builds a network for them; returns the shape of one example of what it gives.
    """

    said: str
    taken: Shape
    build: Callable[[Any], Any]


@dataclass(frozen=True)
class Network:
    """A network under check.

    Attributes
    ----------
    name : str
        Its class.
    make : callable
        Makes it anew, not built.
    fit : Fit
        What it is checked on.
    odd : sequence of Fit
        Sizes that may well not fit it.
    trainer : callable
        Makes a trainer of an autoencoder with it.
    """

    name: str
    make: Callable[[], nn.Module]
    fit: Fit
    odd: Sequence[Fit]
    trainer: MakeTrainer

    def built(self) -> nn.Module:
        """Return one that is built, its weights drawn as in a run."""
        module = self.make()
        with torch.random.fork_rng(devices=[]):
            self.fit.build(module)
            initialise(module, 0, "checked")
        return module

    def examples(self, count: int) -> Tensor:
        """Return what it reads: uniform in [-1, 1], float32 ``[count, *taken]``, the same each time."""
        return torch.rand(count, *self.fit.taken, generator=generator(0, "examples")) * 2 - 1


def fits(module: nn.Module, fit: Fit) -> Shape | UserError:
    """Build the network; return the shape of what it gives, or the error by which it says that sizes don't fit."""
    name = type(module).__name__
    try:
        with torch.random.fork_rng(devices=[]):
            shape: Any = fit.build(module)
    except UserError as error:
        # It may be a part inside that refuses: a critic's encoder.
        if not any(type(inner).__name__ in str(error) for inner in module.modules()):
            raise NotConforming(
                f"{name}.build refuses {fit.said} with a message that doesn't name {name} ({error}): begin it with "
                f"the parameter to change, {name}.parameter, and say what would fit"
            ) from error
        return error
    except Exception as error:
        raise NotConforming(
            f"{name}.build raises {type(error).__name__} for {fit.said} ({error}): where sizes don't fit, raise "
            f"acaikit.errors.UserError, which names {name}.parameter and says what would fit"
        ) from error
    if not isinstance(shape, tuple) or not all(type(n) is int and n > 0 for n in shape):
        raise NotConforming(
            f"{name}.build returns {shape!r}: return the latent's shape, a tuple of whole numbers such as (16,)"
        )
    return shape
