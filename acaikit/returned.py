"""What a part's methods returned: as it should be, or an error that names the method and what it should return."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from acaikit import checks
from acaikit.errors import UserError
from acaikit.types import Emitted, Extras, Shape


def unpack(emitted: Emitted, said: str, shape: Shape) -> tuple[Tensor, Extras]:
    """Split what the hook `said` returned into the tensor of `shape` that goes on and the extras that stay.

    Raises
    ------
    UserError
        If it returned anything else.
    """
    z, extras = emitted if isinstance(emitted, tuple) and len(emitted) == 2 else (emitted, {})
    return tensor(z, said, shape), mapping(extras, said)


def tensor(returned: Any, said: str, shape: Shape) -> Tensor:
    """Return what `said` returned, if that is a tensor of `shape`; else raise `UserError`."""
    if not isinstance(returned, Tensor) or returned.shape != shape:
        raise UserError(f"{said} returns {_what(returned)}: return a tensor of shape {list(shape)}")
    return returned


def scalar(returned: Any, said: str) -> Tensor:
    """Return the loss that `said` returned, if that is a tensor without dimensions; else raise `UserError`."""
    if not isinstance(returned, Tensor) or returned.dim():
        raise UserError(f"{said} returns {_what(returned)}: return the loss as a scalar tensor, such as x.mean()")
    return returned


def mapping(returned: Any, said: str) -> Extras:
    """Return the extras that `said` returned, if those are tensors by name; else raise `UserError`."""
    if not isinstance(returned, Mapping):
        raise UserError(f"{said} returns {_what(returned)} as extras: return a dict of tensors, such as {{'mu': mu}}")
    for name, extra in returned.items():
        if not isinstance(extra, Tensor):
            raise UserError(f"{said} returns {_what(extra)} as the extra {name!r}: return a tensor")
    return returned


def shape(returned: Any, said: str) -> Shape:
    """Return what `said` returned, if that is one example's shape; else raise `UserError`."""
    try:
        return tuple(operator.index(n) for n in returned)
    except TypeError:
        raise UserError(f"{said} returns {returned!r}: return a shape, a tuple of whole numbers") from None


def _what(returned: object) -> str:
    return f"a tensor of shape {list(returned.shape)}" if isinstance(returned, Tensor) else checks.said(returned)
