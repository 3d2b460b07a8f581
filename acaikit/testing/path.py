"""The check of paths."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from acaikit.errors import UserError
from acaikit.paths import Landscape, ModelPath, Path, described
from acaikit.paths.base import check
from acaikit.regularizers import KL
from acaikit.rng import generator
from acaikit.testing.device import new_tensors_elsewhere
from acaikit.testing.fixtures import STEPS, small_trainer
from acaikit.testing.rules import NotApplicable, NotConforming, Rule, keep
from acaikit.testing.side_effects import undrawn
from acaikit.types import Shape

Factory = Callable[..., Any]

PAIRS = 3
TOLERANCE = 1e-5
"""Largest difference between points that should be the same, as a share of 1 + the largest number in them."""


def check_path(factory: Factory, data: str = "images") -> None:
    """Check a path between latents; return None when all is well.

    Parameters
    ----------
    factory : callable
        The path itself where it is a function ``(a, b, t)``; else what makes a new one: a class of `ModelPath` whose
        parameters all have defaults will do.
    data : str
        The model's data, which decide the latents' shape: "images" ``[2, 2, 2]``, "sequences" ``[2, 4]`` or "vectors"
        ``[8]``.

    Raises
    ------
    UserError
        If `data` is none of these.
    NotConforming
        If it has no name by which a measurement along it can be stored, doesn't lead from `a` to `b`, gives another
        shape or dtype, numbers that aren't finite between ends that are equal, opposite or zero, another path for a
        pair in other company, other points for a part of `t`, or other ones each time, needs gradients to be on,
        changes its ends, draws random numbers, or makes tensors on a device of its own.
    """
    keep(RULES, factory, data)


def _made(factory: Factory) -> Any:
    """Return the path: a function whose arguments are all to be given is the path itself."""
    needed = [p.name for p in inspect.signature(factory).parameters.values() if p.default is p.empty]
    if not inspect.isfunction(factory) or not needed:
        return factory()
    if len(needed) != 3:
        raise NotConforming(f"{factory.__name__} needs {', '.join(needed)}: a path is a function of a, b and t")
    return factory


def _name(factory: Factory) -> str:
    path = _made(factory)
    return str(getattr(path, "__name__", type(path).__name__))


def _landscape(data: str, dtype: torch.dtype = torch.float32) -> tuple[Landscape, Shape]:
    """Return what a path may know of a small model of this dtype, and the latents' shape."""
    trainer = small_trainer([KL()], data)
    for _ in range(STEPS):
        trainer.step()
    model, latents = trainer.model.eval(), trainer.trained.latents.to(dtype)
    return Landscape(model.to(dtype).decode, lambda: latents), model.latent_shape


def _along(factory: Factory, data: str, dtype: torch.dtype = torch.float32) -> tuple[Path, Shape]:
    """Return the path as a function, and the latents' shape."""
    path = _made(factory)
    landscape, shape = _landscape(data, dtype)
    along: Any = path.over(landscape) if isinstance(path, ModelPath) else path
    return along, shape


def _ends(shape: Shape, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    a, b = torch.randn(2, PAIRS, *shape, generator=generator(0, "ends"), dtype=torch.float64).to(dtype)
    return a, b


def _close(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= TOLERANCE * (1 + other.abs().max()))


def _check_kind(factory: Factory, data: str) -> None:
    path, name = _made(factory), _name(factory)
    try:
        check("it", path)
    except UserError as error:
        raise NotConforming(
            f"{name} is no path whose name tells what it does: write a function (a, b, t) at the top of a module, or, "
            f"where it has parameters or needs the model, a subclass of acaikit.paths.ModelPath"
        ) from error
    if isinstance(path, str):
        raise NotConforming(f"{path!r} is a path's name: give the path itself")
    try:
        json.dumps(described(path), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise NotConforming(
            f"what {name} keeps as attributes is stored as its parameters, but is not JSON ({error}): keep what is no "
            f"parameter under a name that begins with '_'"
        ) from error


def _check_points(factory: Factory, data: str) -> None:
    """See that there are as many points as were asked for, from a to b, which stay as they are."""
    name = _name(factory)
    for dtype in (torch.float32, torch.float64):
        along, shape = _along(factory, data, dtype)
        a, b = _ends(shape, dtype)
        for pairs, points in ((PAIRS, 16), (1, 2), (PAIRS, 1)):
            t = torch.linspace(0, 1, points)
            before = [tensor.clone() for tensor in (a, b, t)]
            z: Any = along(a[:pairs], b[:pairs], t)
            if not all(torch.equal(*pair) for pair in zip(before, (a, b, t), strict=True)):
                raise NotConforming(f"{name} changes a, b or t: leave out in-place steps such as a += ...")
            wanted = [pairs, points, *shape]
            if not isinstance(z, Tensor) or list(z.shape) != wanted or z.dtype != dtype:
                said = f"{z.dtype} {list(z.shape)}" if isinstance(z, Tensor) else f"a {type(z).__name__}"
                raise NotConforming(
                    f"{name} gives {said} for a and b of {dtype} {[pairs, *shape]} and t of [{points}], not {dtype} "
                    f"{wanted}"
                )
            if not _close(z[:, 0], a[:pairs]) or (points > 1 and not _close(z[:, -1], b[:pairs])):
                raise NotConforming(f"{name} must be at a where t = 0, and at b where t = 1")


def _check_hard_ends(factory: Factory, data: str) -> None:
    """See that it is finite, and keeps to its ends, between ends where a formula may have no answer."""
    (along, shape), name = _along(factory, data), _name(factory)
    a, b = _ends(shape)
    zero = torch.zeros_like(a)
    cases = {
        "equal": (a, a),
        "opposite": (a, -a),
        "nearly equal": (a, a * (1 + 1e-7)),
        "one zero": (zero, b),
        "both zero": (zero, zero),
        "of very different lengths": (1e-4 * a, 1e4 * b),
    }
    for said, (start, end) in cases.items():
        z = along(start, end, torch.linspace(0, 1, 5))
        if not z.isfinite().all():
            raise NotConforming(
                f"{name} is not finite between ends that are {said}: look for a division by zero, and take the limit "
                f"of the formula there"
            )
        if not _close(z[:, 0], start) or not _close(z[:, -1], end):
            raise NotConforming(f"{name} must be at a where t = 0, and at b where t = 1, where they are {said} too")


def _check_alone(factory: Factory, data: str) -> None:
    """Compare each pair's path with the one that it has alone, and each point with the one that is asked for alone."""
    (along, shape), name = _along(factory, data), _name(factory)
    a, b = _ends(shape)
    t = torch.linspace(0, 1, 7)
    z = along(a, b, t)
    if not _close(torch.cat([along(a[i : i + 1], b[i : i + 1], t) for i in range(PAIRS)]), z):
        raise NotConforming(
            f"{name}'s path between two ends depends on the other pairs: take no mean, norm or order over the first "
            f"axis, and flatten from the second on (flatten(1))"
        )
    if not _close(along(a, b, t[[0, 2, 5, 6]]), z[:, [0, 2, 5, 6]]):
        raise NotConforming(
            f"where {name} is at t depends on the other values of t: a path is a function of t, however finely it is "
            f"drawn"
        )


def _check_repeatable(factory: Factory, data: str) -> None:
    """See that it is the same each time, with gradients and without."""
    name = _name(factory)
    (along, shape), (anew, _) = _along(factory, data), _along(factory, data)
    a, b = _ends(shape)
    t = torch.linspace(0, 1, 7)
    with undrawn(name, "a path is deterministic; what must be drawn comes from acaikit.rng.generator(0, name)"):
        z = along(a, b, t)
    with torch.no_grad():
        others = [along(a, b, t), anew(a, b, t)]
    if not all(torch.equal(z.detach(), other) for other in others):
        raise NotConforming(
            f"{name} is another path each time: it must not depend on chance, on what it was asked before, or on "
            f"whether gradients are on (torch.enable_grad() switches them on)"
        )


def _check_device(factory: Factory, data: str) -> None:
    if isinstance(_made(factory), ModelPath):
        raise NotApplicable("how a path that depends on the model does on a GPU shows only there")
    along, shape = _along(factory, data)
    a, b = _ends(shape)
    t = torch.linspace(0, 1, 7)
    with new_tensors_elsewhere(_name(factory), "a"):
        along(a, b, t)


def _check_landscape(factory: Factory, data: str) -> None:
    """See what becomes of it where the model is known, and no data."""
    path = _made(factory)
    if not isinstance(path, ModelPath):
        raise NotApplicable("it needs no model")
    known, shape = _landscape(data)
    a, b = _ends(shape)
    try:
        path.over(Landscape(known.decode))(a, b, torch.linspace(0, 1, 3))
    except UserError:
        pass
    except Exception as error:
        raise NotConforming(
            f"{_name(factory)} raises {type(error).__name__} where the model is known, and no data ({error}): "
            f"landscape.latents is None there, and a UserError says that the path needs them"
        ) from error


RULES = (
    Rule("is a path, and has a name to be stored by", _check_kind),
    Rule("leads from a to b, in the latents' shape and dtype", _check_points),
    Rule("is finite between equal, opposite and zero ends", _check_hard_ends),
    Rule("treats each pair and each point by itself", _check_alone),
    Rule("is the same each time", _check_repeatable),
    Rule("makes its tensors on the device of the latents", _check_device),
    Rule("says so where it needs latents that aren't there", _check_landscape),
)
