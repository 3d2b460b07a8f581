"""The losses of a regularizer: their dtype, that they and their gradients are finite, and that a step repeats them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from acaikit.engine import Trainer
from acaikit.objective import forward
from acaikit.testing.regularizer_gradients import Factory, double, name_of, trainer_with
from acaikit.testing.rules import NotConforming, about_dtypes
from acaikit.testing.training import LOOK_FOR, check_losses


def check_dtype(factory: Factory, data: str = "images") -> None:
    """Train in float64, and see that every loss is float64, and that the losses and their gradients are finite."""
    trainer = trainer_with(factory, data)
    double(trainer)
    x, _ = trainer.stream.next()
    try:
        losses = _losses(trainer, x.double())
    except RuntimeError as error:
        if not about_dtypes(error):
            raise
        raise NotConforming(f"a hook makes a tensor of its own dtype: give it dtype=x.dtype ({error})") from error
    for name, loss in losses.items():
        if loss.dtype != torch.float64 or loss.dim() != 0 or not loss.isfinite():
            value = f" and value {loss.item()}" if loss.dim() == 0 else ""
            said = f"a {loss.dtype} of shape {list(loss.shape)}{value}"
            raise NotConforming(f"in float64 the loss {name!r} must be a finite float64 scalar, not {said}")
    _check_finite_gradients(trainer, losses)


def check_steps(factory: Factory, data: str = "images") -> None:
    """Take a few training steps, in which a hook may stumble over what it has kept, and see that losses stay finite."""
    check_losses(lambda seed: trainer_with(factory, data, seed))


def check_repeats(factory: Factory, data: str = "images") -> None:
    """Take the losses twice at the same weights, from the same noise, and see that they are the same."""
    trainer = trainer_with(factory, data)
    x, _ = trainer.stream.next()
    states = {name: g.get_state() for name, g in trainer.noise.items()}
    once = _losses(trainer, x)
    for name, g in trainer.noise.items():
        g.set_state(states[name])
    for name, loss in _losses(trainer, x).items():
        if not torch.equal(loss, once[name]):
            raise NotConforming(
                f"the loss {name!r} of the same step differs from call to call: what changes from step to step, such "
                f"as a count for a warm-up, belongs in a buffer (register_buffer), updated in after_step"
            )


def _losses(trainer: Trainer, x: Tensor) -> dict[str, Tensor]:
    """Return every loss by name, but that of the probe."""
    run = forward(trainer.model, x, trainer.noise, want_code=False)
    own = {
        f"{name}/critic": regularizer.own_loss(run.views[name])
        for name, regularizer in trainer.model.regularizers.items()
        if name in trainer.objective.players
    }
    return run.terms | own


def _check_finite_gradients(trainer: Trainer, losses: Mapping[str, Tensor]) -> None:
    for name, loss in losses.items():
        parameters = trainer.objective.players[name.removesuffix("/critic") if name.endswith("/critic") else "model"]
        if not loss.requires_grad:
            continue  # a later rule says that it moves nothing
        found = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
        for parameter, gradient in zip(parameters, found, strict=True):
            if gradient is not None and not gradient.isfinite().all():
                raise NotConforming(
                    f"the gradient of the loss {name!r} by {name_of(trainer, parameter)} is not finite: {LOOK_FOR}"
                )
