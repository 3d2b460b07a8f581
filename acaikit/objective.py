"""The objective: one forward pass, every player's loss, and which loss moves which weights.

Gradients are routed by holding weights constant, in two phases over the same forward pass. In the first, the critics
are constant: the forward pass and every `model_loss` build a graph that ends in the model's weights. In the second, the
model is constant and what the forward pass produced is detached: every `own_loss`, and the probe's, ends in its own
player's weights. No weight moves between the phases, so all gradients are taken at the same weights; a graph is freed
as soon as its phase is over, which matters more on a CPU than the number of operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

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
def constant(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Treat `parameters` as constants: no graph built inside the block ends in them."""
    frozen = [p for p in parameters if p.requires_grad]
    for p in frozen:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in frozen:
            p.requires_grad_(True)


def overrides(regularizer: Regularizer, hook: str) -> bool:
    """Whether the regularizer's class writes `hook` itself."""
    return getattr(type(regularizer), hook) is not getattr(Regularizer, hook)


def players(model: Autoencoder, probe: Probe | None) -> Players:
    """Return each player's trainable parameters by name: "model", every regularizer with a critic, and "probe".

    Raises
    ------
    UserError
        If a regularizer has an `own_loss` but no critic to train with it, a critic but no `own_loss` or nothing in it
        to train, no hook at all, or a method that is nearly called like one.
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
        self._ours = self.players["model"]
        self._others = [p for name, parameters in self.players.items() if name != "model" for p in parameters]

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
        with constant(self._others):
            run = forward(self.model, x, noise, want_code=self.probe is not None)
            for name, loss in run.terms.items():
                scalar(loss, f"{name}.model_loss")
            _sum(run.terms).backward()  # type: ignore[no-untyped-call]
        views = {name: view.detached() for name, view in run.views.items()}
        own: dict[str, Tensor] = {}
        with constant(self._ours):
            for name, regularizer in self.model.regularizers.items():
                if name in self.players:
                    own[f"{name}/critic"] = scalar(regularizer.own_loss(views[name]), f"{name}.own_loss")
        if self.probe is not None:
            assert run.code is not None and y is not None
            own["probe"] = F.cross_entropy(self.probe(run.code), y)
        if own:
            if not any(loss.requires_grad for loss in own.values()):
                raise UserError(f"{' and '.join(own)}: no own_loss moves a weight: compute it by self.critic")
            _sum(own).backward()  # type: ignore[no-untyped-call]
        return {name: loss.detach() for name, loss in (run.terms | own).items()}, views


def _sum(losses: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()
