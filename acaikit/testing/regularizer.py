"""The check of regularizers: gradients against a slow oracle, and the rules that keep a run repeatable."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.engine import Trainer
from acaikit.evaluators.interpolation import Interpolation
from acaikit.evaluators.probe import ProbeAccuracy
from acaikit.objective import constant, forward
from acaikit.regularizer import Regularizer
from acaikit.testing.conformance import STEPS, NotConforming, copied, difference, small_trainer

Factory = Callable[[], "Regularizer | Sequence[Regularizer]"]

HOOKS = ("corrupt", "posterior", "emit", "prepare", "model_loss", "own_loss", "after_step")
"""What training calls; `doubt` is for evaluators alone."""
TOLERANCE = 1e-9
"""Largest relative difference between two gradients in float64; rounding alone stays below 1e-12."""


def check_regularizer(factory: Factory, data: str = "images") -> None:
    """Check a regularizer, or a composition of several; return None when all is well.

    Parameters
    ----------
    factory : callable
        Makes a new regularizer, or a sequence of them, each time it is called; a class whose parameters all have
        defaults will do.
    data : str
        What to train on: "images" ``[1, 8, 8]`` and "sequences" ``[4, 16]`` with convolutional networks, or "vectors"
        ``[64]`` with dense ones.

    Raises
    ------
    UserError
        If `data` is none of these.
    NotConforming
        If it writes no hook, gradients reach another player than they should, weights or draws depend on torch's global
        generator, a tensor is made on a device or in a dtype of its own, `doubt` is no finite number per example,
        evaluation changes state or is random, or a run saved, restored and continued differs from one that was never
        interrupted.
    """
    check_hooks(factory)
    # A broken rule breaks later checks too: the first to fail is the one that names it.
    for check in (
        check_dtype,
        check_doubt,
        check_evaluation,
        check_randomness,
        check_device,
        check_gradients,
        check_resume,
    ):
        check(factory, data)


def _make(factory: Factory) -> list[Regularizer]:
    made = factory()
    return [made] if isinstance(made, Regularizer) else list(made)


def _trainer(factory: Factory, data: str, seed: int = 0) -> Trainer:
    return small_trainer(_make(factory), data, seed=seed)


def check_gradients(factory: Factory, data: str = "images") -> None:
    """Compare every player's gradient with ``torch.autograd.grad`` of its own loss, from a forward pass of its own."""
    trainer = _trainer(factory, data)
    for _ in range(STEPS):  # away from the initial weights, where a gradient can vanish by symmetry
        trainer.step()
    _double(trainer)
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
                    f"the gradient of {player}'s {_name_of(trainer, parameter)} is not that of {player}'s own loss: "
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
            with constant(p for other in players if other != "model" for p in players[other]):
                terms = forward(model, x, trainer.noise, want_code=False).terms
            for name, term in terms.items():
                _has_gradient(term, f"{name}'s model_loss")
            loss = torch.stack(list(terms.values())).sum()
        elif player == "probe":
            assert probe is not None and y is not None
            loss = F.cross_entropy(probe(model.code(x)), y)
        else:
            views = forward(model, x, trainer.noise, want_code=False).views
            loss = model.regularizers[player].own_loss(views[player])
            _has_gradient(loss, f"{player}'s own_loss")
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, found, strict=True):
            if gradient is None:
                raise NotConforming(
                    f"no loss moves {player}'s {_name_of(trainer, parameter)}: what own_loss trains belongs in "
                    f"self.critic, and what nothing trains needs requires_grad_(False)"
                )
        gradients[player] = tuple(g for g in found if g is not None)
    return gradients


def _has_gradient(loss: Tensor, what: str) -> None:
    if not loss.requires_grad:
        raise NotConforming(
            f"{what} moves nothing, because a hook cuts it off: leave out detach() and no_grad(), gradients are routed "
            f"for you"
        )


def check_hooks(factory: Factory) -> None:
    """See that each regularizer writes at least one hook, and that no other method is nearly called like one."""
    for regularizer in _make(factory):
        kind = type(regularizer)
        own = [name for name in vars(kind) if not name.startswith("_")]
        for name in own:
            known = (*HOOKS, "doubt")
            near = [] if name in known else difflib.get_close_matches(name, known, n=1, cutoff=0.85)
            if near and callable(getattr(kind, name)):
                raise NotConforming(f"{kind.__name__}.{name} is no hook: did you mean {near[0]}?")
        if not any(getattr(kind, hook) is not getattr(Regularizer, hook) for hook in HOOKS):
            raise NotConforming(
                f"{kind.__name__} writes none of the hooks {', '.join(HOOKS)}: it does nothing in training"
            )


def check_randomness(factory: Factory, data: str = "images") -> None:
    """Train twice with torch's global generator in different states, and see that nothing drew from it."""
    runs = []
    for global_seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(global_seed)
            trainer = _trainer(factory, data)
            before = torch.get_rng_state()
            for _ in range(STEPS):
                trainer.step()
            if not torch.equal(before, torch.get_rng_state()):
                raise NotConforming(
                    "a hook draws from torch's global generator: pass generator=noise to every random function"
                )
        runs.append(trainer)
    _same_state(
        runs[0],
        runs[1],
        "two runs with one seed differ. Weights are drawn through reset_parameters(): a module with parameters or "
        "buffers of its own needs that method",
    )


class _NothingOnMeta(TorchFunctionMode):
    """Raises where a tensor is made on the meta device; torch itself lets some of them pass in silence."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.is_meta:
            raise RuntimeError(f"{func.__name__}(...)")
        return out


def check_device(factory: Factory, data: str = "images") -> None:
    """Train while new tensors land on another device by default, as they do when the model is on a GPU."""
    trainer = _trainer(factory, data)
    x, y = trainer.stream.next()
    try:
        with torch.device("meta"), _NothingOnMeta():
            _, views = trainer.objective.backward(x, y, trainer.noise)
            for name, regularizer in trainer.model.regularizers.items():
                regularizer.after_step(views[name])
                with torch.no_grad():
                    regularizer.doubt(views[name].z, views[name].x)
    except (RuntimeError, NotImplementedError, ValueError) as error:
        raise NotConforming(
            f"a hook makes a tensor on the default device, so it would fail on a GPU: give it device=x.device ({error})"
        ) from error


def check_dtype(factory: Factory, data: str = "images") -> None:
    """Train in float64, and see that every loss is float64 and finite."""
    trainer = _trainer(factory, data)
    _double(trainer)
    x, _ = trainer.stream.next()
    try:
        run = forward(trainer.model, x.double(), trainer.noise, want_code=False)
        own = {
            f"{name}/critic": regularizer.own_loss(run.views[name])
            for name, regularizer in trainer.model.regularizers.items()
            if name in trainer.objective.players
        }
    except RuntimeError as error:
        raise NotConforming(f"a hook makes a tensor of its own dtype: give it dtype=x.dtype ({error})") from error
    for name, loss in (run.terms | own).items():
        if loss.dtype != torch.float64 or loss.dim() != 0 or not loss.isfinite():
            said = f"a {loss.dtype} of shape {list(loss.shape)} and value {loss.tolist()}"
            raise NotConforming(f"in float64 the loss {name!r} must be a finite float64 scalar, not {said}")


def check_doubt(factory: Factory, data: str = "images") -> None:
    """See that `doubt` is None or one finite number per example, the same each time and whatever it is asked beside."""
    trainer = _trainer(factory, data)
    for _ in range(STEPS):
        trainer.step()
    _double(trainer)
    model = trainer.model
    with torch.no_grad():
        z = model.encode(trainer.experiment.dataset.test().examples(slice(0, 4)).double())
        x = model.decode(z)
        for name, regularizer in model.regularizers.items():
            doubt, again = (_doubt(name, regularizer, z, x) for _ in range(2))
            if not torch.equal(doubt, again):
                raise NotConforming(f"{name}.doubt gives two answers to one question: it must be deterministic")
            alone = torch.cat([_doubt(name, regularizer, z[i : i + 1], x[i : i + 1]) for i in range(len(z))])
            if not torch.allclose(alone, doubt, rtol=TOLERANCE, atol=TOLERANCE):
                raise NotConforming(
                    f"{name}.doubt of an example depends on the others in its batch: take no mean, norm or order over "
                    f"the first axis"
                )


def _doubt(name: str, regularizer: Regularizer, z: Tensor, x: Tensor) -> Tensor:
    """Return what `doubt` returns, or zeros where that is None."""
    try:
        doubt: Any = regularizer.doubt(z, x)
    except (RuntimeError, IndexError) as error:
        raise NotConforming(
            f"{name}.doubt can't be asked about {len(z)} latents ({error}): it takes any number of them, and makes its "
            f"own tensors with dtype=z.dtype"
        ) from error
    if doubt is None:
        return z.new_zeros(len(z))
    if not isinstance(doubt, Tensor) or doubt.shape != (len(z),) or not doubt.isfinite().all():
        said = f"{doubt.tolist()}" if isinstance(doubt, Tensor) else f"a {type(doubt).__name__}"
        raise NotConforming(
            f"{name}.doubt must be None or a tensor of one finite number per example: {len(z)} here, not {said}"
        )
    return doubt


def check_evaluation(factory: Factory, data: str = "images") -> None:
    """Evaluate, and see that it changes no state and gives the same result twice."""
    trainer = _trainer(factory, data)
    trainer.step()
    before = copied(trainer.state_dict(), "state")
    x = trainer.experiment.dataset.test().examples(slice(0, 8))
    with torch.no_grad():
        once, twice = trainer.model.interpolate(x[:4], x[4:]), trainer.model.interpolate(x[:4], x[4:])
        trainer.model.doubts(trainer.model.encode(x))
        for evaluator in (Interpolation(pairs=2, steps=3), ProbeAccuracy()):
            evaluator.evaluate(trainer.trained)
    if not torch.equal(once, twice):
        raise NotConforming("two evaluations differ: where noise is None a hook must be deterministic")
    path = difference(before, copied(trainer.state_dict(), "state"))
    if path is not None:
        raise NotConforming(f"evaluation changed {path}: hooks must not change state; that is what after_step is for")


def check_resume(factory: Factory, data: str = "images") -> None:
    """Save, restore into a new trainer, continue, and compare with never having stopped, bit for bit."""
    straight = _trainer(factory, data)
    for _ in range(STEPS):
        straight.step()
    with tempfile.TemporaryDirectory() as folder:
        files = Checkpoints(Path(folder), run_id="check")
        files.save(straight.steps, straight.state_dict())
        restored: Any = files.load(straight.steps)
    resumed = _trainer(factory, data, seed=1)  # whatever is not restored keeps the wrong seed's value
    resumed.load_state_dict(restored)
    for trainer in (straight, resumed):
        for _ in range(STEPS):
            trainer.step()
    _same_state(
        straight,
        resumed,
        "a restored run goes on differently: state belongs in parameters and in buffers (register_buffer)",
    )


def _same_state(a: Trainer, b: Trainer, message: str) -> None:
    path = difference(copied(a.state_dict(), "state"), copied(b.state_dict(), "state"))
    if path is not None:
        raise NotConforming(f"{message} (first difference: {path})")


def _double(trainer: Trainer) -> None:
    trainer.model.double()
    if trainer.probe is not None:
        trainer.probe.double()


def _name_of(trainer: Trainer, parameter: Tensor) -> str:
    named = [*trainer.model.named_parameters(), *(trainer.probe.named_parameters("probe") if trainer.probe else ())]
    return next((name for name, p in named if p is parameter), "parameter")
