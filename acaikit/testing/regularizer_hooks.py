"""A regularizer's hooks: what they are called, what each gives, and that it leaves alone what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from acaikit.engine import Trainer
from acaikit.errors import UserError
from acaikit.objective import forward
from acaikit.regularizer import HOOKS
from acaikit.regularizer import check_hooks as refuse_hooks
from acaikit.testing.regularizer_gradients import Factory, constant, has_gradient, made, trainer_with
from acaikit.testing.rules import NotConforming
from acaikit.testing.side_effects import undrawn
from acaikit.testing.states import difference
from acaikit.types import Step

DETERMINISTIC = "where noise is None a hook must be deterministic"
FROM_NOISE = "pass generator=noise to every random function (nn.Dropout takes none)"
_TAKES = {"corrupt": "x", "posterior": "h", "emit": "z"}
"""What the hooks take whose result has the same shape."""


def check_hooks(factory: Factory) -> None:
    """See that each regularizer writes at least one hook, and that no other method is nearly called like one."""
    for regularizer in made(factory):
        try:
            refuse_hooks(type(regularizer))
        except UserError as error:
            raise NotConforming(str(error)) from error


def check_calls(factory: Factory, data: str = "images") -> None:
    """Call every hook as a training step does, and see what it gives, and that what it is given stays as it is."""
    trainer = trainer_with(factory, data)
    model, players = trainer.model, trainer.objective.players
    for name, regularizer in model.regularizers.items():
        for hook in HOOKS:
            setattr(regularizer, hook, _watched(f"{name}.{hook}", getattr(regularizer, hook)))
    x, _ = trainer.stream.next()
    views = forward(model, x, trainer.noise, want_code=False).views
    for name, regularizer in model.regularizers.items():
        if name in players:
            with constant(players["model"]):
                loss = regularizer.own_loss(_leaves(views[name]))
            has_gradient(loss, f"{name}'s own_loss")
            if any(gradient is not None for gradient in torch.autograd.grad(loss, players["model"], allow_unused=True)):
                raise NotConforming(
                    f"{name}.own_loss reads what another hook has kept on self: return it there as an extra, "
                    f'(z, {{"mu": mu}}), and read it as step.mu'
                )
        with torch.no_grad():
            regularizer.after_step(views[name].detached())


def _leaves(step: Step) -> Step:
    """Return the same numbers, by which can be differentiated, as in training, but with no graph behind them."""
    leaves = step.detached()
    for value in (leaves.x, leaves.h, leaves.z, leaves.x_hat, *leaves.extras.values()):
        value.requires_grad_(value.is_floating_point())
    return leaves


def undrawing(trainer: Trainer) -> Trainer:
    """Return the trainer; each hook of its regularizers now raises `NotConforming` where it draws from elsewhere."""
    running: list[str] = []
    for name, regularizer in trainer.model.regularizers.items():
        for hook in HOOKS:
            setattr(regularizer, hook, _undrawing(f"{name}.{hook}", getattr(regularizer, hook), running))
    return trainer


def _undrawing(said: str, call: Callable[..., Any], running: list[str]) -> Callable[..., Any]:
    hook = said.rpartition(".")[2]
    without = f"{hook} has no noise: draw in prepare, from its noise, and return the draw there as an extra"
    instead = without if hook in ("model_loss", "own_loss", "after_step") else FROM_NOISE

    def drawing(*arguments: Any) -> Any:
        # A hook that decodes calls others' hooks, inside a transform (torch.func.jvp) perhaps, where no state is read.
        if running:
            return call(*arguments)
        running.append(said)
        try:
            with undrawn(said, DETERMINISTIC if arguments[-1] is None else instead):
                return call(*arguments)
        finally:
            running.pop()

    return drawing


def _watched(said: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a hook that is called `said` in messages, watched while it runs."""
    hook = said.rpartition(".")[2]

    def watched(*arguments: Any, **named: Any) -> Any:
        given = _tensors(hook, (*arguments, *named.values())[0])
        before = {name: (tensor._version, tensor.detach().clone()) for name, tensor in given.items()}
        with mock.patch.object(torch.autograd, "backward", _refusing_backward(said)):
            out = call(*arguments, **named)
        # Numbers may happen to stay as they were, and change unseen by way of .data.
        changed = [
            name
            for name, (version, values) in before.items()
            if given[name]._version != version or difference({"": values}, {"": given[name].detach()}) is not None
        ]
        if changed:
            one = " (one tensor)" if len({id(given[name]) for name in changed}) < len(changed) else ""
            raise NotConforming(
                f"{said} changes {' and '.join(changed)} in place{one}: leave out steps such as {changed[-1]} += ... "
                f"and relu_()"
            )
        _check_given(said, hook, out, given)
        return out

    return watched


def _refusing_backward(said: str) -> Callable[..., None]:
    def backward(*arguments: Any, **named: Any) -> None:
        raise NotConforming(f"{said} calls backward(): return the loss, and every player is moved by its own")

    return backward


def _tensors(hook: str, argument: Any) -> dict[str, Tensor]:
    """Return what a hook is given, by the name that its author has for it."""
    if isinstance(argument, Step):
        return {f"step.{name}": getattr(argument, name) for name in ("x", "h", "z", "x_hat", *argument.extras)}
    return {_TAKES[hook]: argument}


def _check_given(said: str, hook: str, out: Any, taken: Mapping[str, Tensor]) -> None:
    """See that what a hook gives is what it is to give."""
    extras: Any = {}
    if hook == "prepare":
        extras = out
    elif hook in ("posterior", "emit") and isinstance(out, tuple) and len(out) == 2:
        out, extras = out
    if not isinstance(extras, Mapping) or not all(isinstance(extra, Tensor) for extra in extras.values()):
        raise NotConforming(f"{said} gives extras that are no dict of tensors by name, such as {{'mu': mu}}")
    if hook in _TAKES:
        wanted = list(taken[_TAKES[hook]].shape)
        if not isinstance(out, Tensor) or list(out.shape) != wanted:
            gives = f"shape {list(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
            optional = "" if hook == "corrupt" else ", alone or with extras: (z, {'mu': mu})"
            raise NotConforming(
                f"{said} gives {gives} for {_TAKES[hook]} of shape {wanted}: return a tensor of that shape{optional}"
            )
    if hook in ("model_loss", "own_loss") and not isinstance(out, Tensor):
        raise NotConforming(f"{said} gives a {type(out).__name__}: return the loss, a tensor (without .item())")
