"""The objective: one forward pass, every player's loss, and which loss moves which weights.

All losses are built on one graph. The gradient of each player's loss is taken with respect to that player's weights
alone: the graph is followed only as far as leads to them, so no loss moves another player's weights, and no gradient is
computed to be thrown away. No weight moves in between: all gradients are taken at the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from acaikit.errors import UserError
from acaikit.model import Autoencoder
from acaikit.probe import Probe
from acaikit.regularizer import Regularizer, check_hooks
from acaikit.returned import mapping, scalar, tensor, unpack
from acaikit.rng import generator
from acaikit.types import Step

Players = dict[str, list[nn.Parameter]]


@dataclass(frozen=True)
class Pass:
    """One forward pass: a `Step` per regularizer, the model's loss terms by name, and the code that the probe reads."""

    views: dict[str, Step]
    terms: dict[str, Tensor]
    code: Tensor | None


@contextmanager
def answering_once(critics: Iterable[nn.Module]) -> Iterator[None]:
    """Let each critic that is asked about the same tensor again, inside the block, give the answer it gave before.

    The model's loss and the critic's own ask about the same mixes: that is one forward pass, and one draw where a
    critic draws, say by dropout.
    """
    patched = {critic: vars(critic).get("forward") for critic in critics}
    for critic in patched:
        critic.forward = _remembering(critic.forward)
    try:
        yield
    finally:
        for critic, before in patched.items():
            if before is None:
                del critic.forward
            else:
                critic.forward = before


def _remembering(ask: Callable[..., Any]) -> Callable[..., Any]:
    answers: dict[tuple[bool, int, int], tuple[Tensor, Tensor, int]] = {}

    def forward(x: Tensor, *more: Any, **named: Any) -> Any:
        if more or named:
            return ask(x, *more, **named)
        key = torch.is_grad_enabled(), id(x), x._version
        if key in answers:
            _, answer, version = answers[key]
            if answer._version == version:  # else it was changed in place, and is the answer no more
                return answer
        answer = ask(x)
        if isinstance(answer, Tensor):
            answers[key] = x, answer, answer._version  # while x lives, no other tensor has its id
        return answer

    return forward


def overrides(regularizer: Regularizer, hook: str) -> bool:
    """Whether the regularizer's class writes `hook` itself."""
    return getattr(type(regularizer), hook) is not getattr(Regularizer, hook)


def players(model: Autoencoder, probe: Probe | None) -> Players:
    """Return each player's trainable parameters by name: "model", every regularizer with a critic, and "probe".

    Raises
    ------
    UserError
        If a regularizer has an `own_loss` but no critic to train with it, a critic but no `own_loss`, nothing in it to
        train or weights of the encoder or decoder in it, no hook at all, or a method that is nearly called like one.
    """
    critics = {name: reg.critic for name, reg in model.regularizers.items() if reg.critic is not None}
    for name, regularizer in model.regularizers.items():
        check_hooks(type(regularizer))
        if overrides(regularizer, "own_loss") and name not in critics:
            raise UserError(
                f"{name} defines own_loss, but there is nothing for it to train: set self.critic to a module"
            )
        if name in critics and not overrides(regularizer, "own_loss"):
            raise UserError(
                f"{name} has a critic, but no own_loss that trains it: a module that stays as it is goes under another "
                f"name, with requires_grad_(False)"
            )
    first = {id(p) for part in (model.encoder, model.decoder) for p in part.parameters()}
    for name, critic in critics.items():
        if any(id(p) in first for p in critic.parameters()):
            raise UserError(
                f"{name}.critic has weights of the encoder or decoder, which no second player may move: give it layers "
                f"of its own, such as copy.deepcopy(architecture.encoder)"
            )
    second = {id(p) for critic in critics.values() for p in critic.parameters()}
    result = {"model": [p for p in model.parameters() if p.requires_grad and id(p) not in second]}
    for name, critic in critics.items():
        result[name] = [p for p in critic.parameters() if p.requires_grad]
        if not result[name]:
            raise UserError(f"{name}.critic has no parameters to train: make its layers in build()")
    if probe is not None:
        result["probe"] = list(probe.parameters())
    return result


def generators(model: Autoencoder, seed: int, device: torch.device | str) -> dict[str, Generator]:
    """Return each regularizer's generator by name, and as "A/B" the one that B's `emit` draws from where A decodes."""
    names = list(model.regularizers)
    return {name: generator(seed, name, device) for name in [*names, *(f"{a}/{b}" for a in names for b in names)]}


def forward(model: Autoencoder, x: Tensor, noise: Mapping[str, Generator], *, want_code: bool) -> Pass:
    """Run the batch `x` through the model once, with the noise of `generators`, and take the model's loss terms."""
    regularizers = model.regularizers
    extras: dict[str, dict[str, Tensor]] = {name: {} for name in regularizers}

    def decode_for(reader: str) -> Callable[[Tensor], Tensor]:
        def decode(z: Tensor) -> Tensor:
            for name, regularizer in regularizers.items():
                z, _ = unpack(regularizer.emit(z, noise[f"{reader}/{name}"]), f"{name}.emit", z.shape)
            return model.likelihood.image(model.decoder(z))

        return decode

    seen = x
    for name, regularizer in regularizers.items():
        seen = tensor(regularizer.corrupt(seen, noise[name]), f"{name}.corrupt", x.shape)
    h = z = tensor(model.encoder(seen), type(model.encoder).__name__, (len(x), *model.latent_shape))
    for name, regularizer in regularizers.items():
        z, made = unpack(regularizer.posterior(z, noise[name]), f"{name}.posterior", h.shape)
        extras[name].update(made)
    e = z
    for name, regularizer in regularizers.items():
        e, made = unpack(regularizer.emit(e, noise[name]), f"{name}.emit", h.shape)
        extras[name].update(made)
    output = model.decoder(e)

    x_hat = model.likelihood.image(output)
    views = {
        name: Step(x, h, z, x_hat, encode=model.encode, decode=decode_for(name), extras=extras[name])
        for name in regularizers
    }
    for name, regularizer in regularizers.items():
        made = mapping(regularizer.prepare(views[name], noise[name]), f"{name}.prepare")
        views[name] = views[name].with_extras(made)
    likelihood = f"{type(model.likelihood).__name__}.loss"
    terms = {"reconstruction": scalar(model.likelihood.loss(output, x), likelihood)}
    for name, regularizer in regularizers.items():
        if overrides(regularizer, "model_loss"):
            terms[name] = regularizer.model_loss(views[name])
    return Pass(views, terms, _code(model, x, seen, h, z, e) if want_code else None)


def _code(model: Autoencoder, x: Tensor, seen: Tensor, h: Tensor, z: Tensor, e: Tensor) -> Tensor:
    """Return `model.code(x)`, detached, reusing what the noisy pass computed wherever it is the same."""
    with torch.no_grad():
        if seen is not x:
            return model.code(x)
        drawn = any(overrides(r, "emit") and r.emit_draws for r in model.regularizers.values())
        return e.detach() if z is h and not drawn else model.emit(h.detach())


class Objective:
    """Every player's loss on a batch, routed so that each loss moves its own player alone.

    Parameters
    ----------
    model : Autoencoder
        The first player.
    probe : Probe or None
        The last player, where the data have labels.

    Attributes
    ----------
    players : dict of str to list of Parameter
        Each player's trainable parameters; the model comes first.
    """

    def __init__(self, model: Autoencoder, probe: Probe | None) -> None:
        self.model, self.probe = model, probe
        self.players = players(model, probe)
        self._critics = [reg.critic for reg in model.regularizers.values() if reg.critic is not None]

    def backward(
        self, x: Tensor, y: Tensor | None, noise: Mapping[str, Generator]
    ) -> tuple[dict[str, Tensor], dict[str, Step]]:
        """Add to every player's gradients those of its own loss.

        Parameters
        ----------
        x : Tensor
            A batch ``[B, *data_shape]``, float32 in [-1, 1].
        y : Tensor or None
            Labels int64 ``[B]``; needed where there is a probe.
        noise : mapping of str to Generator
            What `generators` returned, on the device of `x`.

        Returns
        -------
        losses : dict of str to Tensor
            Every loss by name, detached scalars.
        views : dict of str to Step
            Each regularizer's step, detached.
        """
        regularizers = self.model.regularizers
        with answering_once(self._critics):
            run = forward(self.model, x, noise, want_code=self.probe is not None)
            for name, loss in run.terms.items():
                scalar(loss, f"{name}.model_loss")
            own = {
                name: scalar(regularizer.own_loss(run.views[name]), f"{name}.own_loss")
                for name, regularizer in regularizers.items()
                if name in self.players
            }
        if self.probe is not None:
            assert run.code is not None and y is not None
            own["probe"] = F.cross_entropy(self.probe(run.code), y)
        with _telling_misuse(regularizers):
            for player, loss in own.items():
                # What follows may share some of the graph: what a critic answered, or a critic in a posterior.
                self._descend(player, loss, retain_graph=True)
            self._descend("model", torch.stack(list(run.terms.values())).sum())
        views = {name: view.detached() for name, view in run.views.items()}
        named = {player if player == "probe" else f"{player}/critic": loss for player, loss in own.items()}
        return {name: loss.detach() for name, loss in (run.terms | named).items()}, views

    def _descend(self, player: str, loss: Tensor, *, retain_graph: bool = False) -> None:
        """Add the gradient of `loss` to that of the player's weights, but for those that are frozen by now."""
        trained = [p for p in self.players[player] if p.requires_grad]
        if not trained:
            return
        if loss.requires_grad:
            loss.backward(inputs=trained, retain_graph=retain_graph)  # type: ignore[no-untyped-call]
        if all(p.grad is None for p in trained):
            if player == "model":
                raise UserError("no loss moves a weight of the model: all that the losses depend on is frozen")
            raise UserError(
                f"{player}/critic: no own_loss moves a weight: compute it by self.critic, in every step; where nothing "
                f"is to move, return 0 * self.critic(...).sum()"
            )


_MISUSES = {
    "modified by an inplace operation": "changes in place what a gradient needs: losses leave the step's tensors and "
    "buffers as they are, and after_step moves buffers",
    "backward through the graph a second time": "uses a tensor of an earlier step with the graph behind it, or calls "
    "backward() itself: keep such a tensor as a buffer, which after_step moves",
}
"""What torch says in an error of ours that is a hook's, and what the hook does."""


@contextmanager
def _telling_misuse(regularizers: Iterable[str]) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        for said, meaning in _MISUSES.items():
            if said in str(error):
                who = " or ".join(["a network", *(f"a hook of {name}" for name in regularizers)])
                raise UserError(f"{who} {meaning} (torch: {error})") from error
        raise
