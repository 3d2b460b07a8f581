"""What a path is: a function ``(a, b, t)``, or a recipe that makes one for a given model.

`a` and `b` are latents ``[P, *latent shape]``, `t` is ``[N]`` in [0, 1], and the result is ``[P, N, *latent shape]``
with `a` at t = 0 and `b` at t = 1.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from acaikit.errors import UserError
from acaikit.registry import load, parts

Path = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Landscape:
    """What a path may know of the latent space that it crosses.

    Attributes
    ----------
    decode : callable
        Latents ``[B, *latent shape]`` to data ``[B, *data shape]``, differentiable.
    latents : callable or None
        Returns the latents of training examples, ``[N, *latent shape]``; None where there is no dataset.
    """

    decode: Callable[[Tensor], Tensor]
    latents: Callable[[], Tensor] | None = None


class ModelPath(ABC):
    """A path that depends on the model: on what latents decode to, or on where the data's latents lie.

    Its public attributes are its parameters, which are stored beside whatever is measured along it.

    Attributes
    ----------
    version : int
        To be raised when the path changes though its parameters don't.
    """

    version: ClassVar[int] = 1

    @abstractmethod
    def over(self, landscape: Landscape) -> Path:
        """Return the path as a function, for one model. It may be called without gradients and must not need them.

        Raises
        ------
        UserError
            If `landscape` lacks what the path needs.
        """


AnyPath = str | Path | ModelPath


def resolve(path: AnyPath, landscape: Landscape) -> Path:
    """Return a path as a function: one that is named is found in the registry, one that depends on the model is made.

    Raises
    ------
    UserError
        If no path has that name, or `landscape` lacks what it needs.
    """
    found = _made(path)
    return found.over(landscape) if isinstance(found, ModelPath) else found


def described(path: AnyPath) -> Any:
    """Return a path as its name, or as a dict of its name and parameters: what a protocol says of it."""
    found = _made(path)
    if isinstance(found, ModelPath):
        parameters = {k: v for k, v in vars(found).items() if not k.startswith("_")}
        name = path if isinstance(path, str) else type(found).__name__
        return {"path": name, "version": found.version, **parameters}
    if isinstance(path, str):
        return path
    where = f"{found.__module__}:{found.__qualname__}"
    names = [part.name for part in parts() if part.kind == "paths" and part.entry_point.value == where]
    return names[0] if names else where


def _made(path: AnyPath) -> Path | ModelPath:
    """Return the path itself: one that is named is found in the registry, and made where it has parameters."""
    found: Any = load("paths", path) if isinstance(path, str) else path
    made: Path | ModelPath = found() if isinstance(found, type) else found
    return made


def check(argument: str, path: object) -> None:
    """Raise `UserError`, which calls it `argument`, unless `path` is the name of a registered path, or is a path."""
    if isinstance(path, str):
        try:
            load("paths", path)
        except UserError as error:
            raise UserError(f"{argument}: {error}") from None
    elif not isinstance(path, ModelPath) and (
        not inspect.isfunction(path) or "<" in path.__qualname__  # <lambda>, <locals>
    ):
        raise UserError(
            f"{argument} must be a path whose name tells what it does: the name of a part, such as 'slerp', a function "
            f"of a module, or, where it has parameters, a ModelPath, such as @Geodesic()"
        )
