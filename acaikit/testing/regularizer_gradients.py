"""The gradients of a regularizer's losses against a slow oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acaikit.engine import Trainer
from acaikit.objective import forward
from acaikit.regularizer import Regularizer
from acaikit.testing.fixtures import STEPS, small_trainer
from acaikit.testing.rules import NotConforming

Factory = Callable[[], "Regularizer | Sequence[Regularizer]"]

TOLERANCE = 1e-9
"""Largest relative difference between two gradients in float64; rounding alone stays below 1e-12."""


def made(factory: Factory) -> list[Regularizer]:
    """Return what the factory makes, as a list."""
    found = factory()
    return list(found) if isinstance(found, Sequence) else [found]


def trainer_with(factory: Factory, data: str, seed: int = 0) -> Trainer:
    """Return a small trainer of the regularizers that the factory makes."""
    return small_trainer(made(factory), data, seed=seed)


def double(trainer: Trainer) -> None:
    """Make the model and the probe float64."""
    trainer.model.double()
    if trainer.probe is not None:
        trainer.probe.double()


@contextmanager
def constant(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Build no graph that ends in `parameters`, which all are trainable."""
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(True)


def check_gradients(factory: Factory, data: str = "images") -> None:
    """Compare every player's gradient with ``torch.autograd.grad`` of its own loss, from a forward pass of its own."""
    trainer = trainer_with(factory, data)
    for _ in range(STEPS):  # away from the initial weights, where a gradient can vanish by symmetry
        trainer.step()
    double(trainer)
    x, y = trainer.stream.next()
    x = x.double()
    states = {name: g.get_state() for name, g in trainer.noise.items()}
    expected = _oracle(trainer, x, y, states)
    for name, g in trainer.noise.items():
        g.set_state(states[name])
    for optimizer in trainer.optimizers.values():
        optimizer.zero_grad()
    trainer.objective.backward(x, y, trainer.noise)
    for player, parameters in trainer.objective.players.items():
        for parameter, grad in zip(parameters, expected[player], strict=True):
            got = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            scale = max(grad.norm().item(), 1e-6)
            if not (got - grad).norm().item() <= TOLERANCE * scale:
                raise NotConforming(
                    f"the gradient of {player}'s {name_of(trainer, parameter)} is not that of {player}'s own loss: "
                    f"its norm is {got.norm():.6g}, and {grad.norm():.6g} by torch.autograd.grad of that loss alone. A "
                    f"second player's layers belong in self.critic; don't call detach() or set requires_grad in a hook"
                )


def _oracle(
    trainer: Trainer, x: Tensor, y: Tensor | None, states: Mapping[str, Tensor]
) -> dict[str, tuple[Tensor, ...]]:
    """Return each player's gradients, obtained one player at a time, each from a forward pass of its own."""
    model, probe, players = trainer.model, trainer.probe, trainer.objective.players
    gradients = {}
    for player, parameters in players.items():
        for name, g in trainer.noise.items():
            g.set_state(states[name])
        if player == "model":
            with constant([p for other in players if other != "model" for p in players[other]]):
                terms = forward(model, x, trainer.noise, want_code=False).terms
            for name, term in terms.items():
                has_gradient(term, f"{name}'s model_loss")
            loss = torch.stack(list(terms.values())).sum()
        elif player == "probe":
            assert probe is not None and y is not None
            loss = F.cross_entropy(probe(model.code(x)), y)
        else:
            views = forward(model, x, trainer.noise, want_code=False).views
            loss = model.regularizers[player].own_loss(views[player])
            has_gradient(loss, f"{player}'s own_loss")
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, found, strict=True):
            if gradient is None:
                raise NotConforming(
                    f"no loss moves {player}'s {name_of(trainer, parameter)}: what own_loss trains belongs in "
                    f"self.critic, and what nothing trains needs requires_grad_(False)"
                )
        gradients[player] = tuple(g for g in found if g is not None)
    encoder = {id(p) for p in model.encoder.parameters()}
    moves = [g for p, g in zip(players["model"], gradients["model"], strict=True) if id(p) in encoder]
    if moves and not any(g.any() for g in moves):
        raise NotConforming(
            "no loss moves the encoder, because a hook's derivative is zero everywhere, as that of round(), sign() and "
            "argmax() is: pass gradients straight through it, z + (e - z).detach()"
        )
    return gradients


def has_gradient(loss: Tensor, what: str) -> None:
    """Raise `NotConforming` where `loss` can move nothing."""
    if not loss.requires_grad:
        raise NotConforming(
            f"{what} moves nothing, because a hook cuts it off: leave out detach() and no_grad(), gradients are routed "
            f"for you"
        )


def name_of(trainer: Trainer, parameter: Tensor) -> str:
    """Return what the trainer's model calls a parameter."""
    named = [*trainer.model.named_parameters(), *(trainer.probe.named_parameters("probe") if trainer.probe else ())]
    return next((name for name, p in named if p is parameter), "parameter")
