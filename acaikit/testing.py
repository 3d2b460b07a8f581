"""Conformance checks for authors of parts: one call tells whether a part keeps the rules that training relies on.

Examples
--------
>>> from acaikit.regularizers import ACAI
>>> from acaikit.testing import check_regularizer
>>> check_regularizer(ACAI)
>>> check_regularizer(lambda: [ACAI(weight=1.0)])
>>> check_regularizer(ACAI, data="vectors")
"""

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
from acaikit.data.lines import Lines
from acaikit.engine import Trainer
from acaikit.errors import UserError
from acaikit.evaluators.interpolation import Interpolation
from acaikit.evaluators.probe import ProbeAccuracy
from acaikit.experiment import Experiment
from acaikit.nets import ConvDecoder, ConvEncoder, Decoder, Encoder, MLPDecoder, MLPEncoder
from acaikit.objective import constant, forward
from acaikit.registry import unknown
from acaikit.regularizer import Regularizer
from acaikit.types import Shape

Factory = Callable[[], "Regularizer | Sequence[Regularizer]"]

STEPS = 3
HOOKS = ("corrupt", "posterior", "emit", "prepare", "model_loss", "own_loss", "after_step")
TOLERANCE = 1e-9
"""Largest relative difference between two gradients in float64; rounding alone stays below 1e-12."""


CONV = (ConvEncoder(depth=4, scales=2, latent=2), ConvDecoder(depth=4, scales=2))
MLP = (MLPEncoder(hidden=(8,), latent=8), MLPDecoder(hidden=(8,)))
DATA: Mapping[str, tuple[Shape, tuple[Encoder, Decoder]]] = {
    "images": ((1, 8, 8), CONV),
    "sequences": ((4, 16), CONV),
    "vectors": ((64,), MLP),
}
"""What a part can be checked on: the 64 numbers of a small example in this shape, and networks that fit."""


class NotConforming(AssertionError):
    """A part breaks a rule; the message says which and what to do."""


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
        generator, a tensor is made on a device or in a dtype of its own, evaluation changes state or is random, or a
        run saved, restored and continued differs from one that was never interrupted.
    """
    check_hooks(factory)
    # A broken rule breaks later checks too: the first to fail is the one that names it.
    for check in (check_dtype, check_evaluation, check_randomness, check_device, check_gradients, check_resume):
        check(factory, data)


def _make(factory: Factory) -> list[Regularizer]:
    made = factory()
    return [made] if isinstance(made, Regularizer) else list(made)


class _LinesAs(Lines):
    """Lines of 8x8, their pixels read as examples of another shape."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(8, 8, test_size=32)
        self.shape = shape

    def render(self, values: Tensor) -> Tensor:
        return super().render(values).view(-1, *self.shape)


def _trainer(factory: Factory, data: str, seed: int = 0) -> Trainer:
    if data not in DATA:
        raise UserError(unknown("check_regularizer can't check on", data, DATA))
    shape, (encoder, decoder) = DATA[data]
    return Trainer(
        Experiment(
            dataset=_LinesAs(shape),
            encoder=encoder,
            decoder=decoder,
            regularizers=_make(factory),
            batch_size=6,
            learning_rate=1e-2,
            seed=seed,
        )
    )


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
            near = [] if name in HOOKS else difflib.get_close_matches(name, HOOKS, n=1, cutoff=0.85)
            if near and callable(getattr(kind, name)):
                raise NotConforming(f"{kind.__name__}.{name} is no hook: did you mean {near[0]}?")
        if not any(getattr(kind, hook) is not getattr(Regularizer, hook) for hook in HOOKS):
            raise NotConforming(f"{kind.__name__} writes none of the hooks {', '.join(HOOKS)}: it does nothing")


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


def check_evaluation(factory: Factory, data: str = "images") -> None:
    """Evaluate, and see that it changes no state and gives the same result twice."""
    trainer = _trainer(factory, data)
    trainer.step()
    before = _flatten(trainer.state_dict())
    x = trainer.experiment.dataset.test().examples(slice(0, 8))
    with torch.no_grad():
        once, twice = trainer.model.interpolate(x[:4], x[4:]), trainer.model.interpolate(x[:4], x[4:])
        for evaluator in (Interpolation(pairs=2, steps=3), ProbeAccuracy()):
            evaluator.evaluate(trainer.trained)
    if not torch.equal(once, twice):
        raise NotConforming("two evaluations differ: where noise is None a hook must be deterministic")
    after = _flatten(trainer.state_dict())
    for path in before:
        if not _equal(before[path], after[path]):
            raise NotConforming(
                f"evaluation changed {path}: hooks must not change state; that is what after_step is for"
            )


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
    one, two = _flatten(a.state_dict()), _flatten(b.state_dict())
    for path in one:
        if path not in two or not _equal(one[path], two[path]):
            raise NotConforming(f"{message} (first difference: {path})")


def _flatten(tree: Any, path: str = "state") -> dict[str, Any]:
    match tree:
        case dict():
            return {k: v for key, value in tree.items() for k, v in _flatten(value, f"{path}[{key!r}]").items()}
        case list() | tuple():
            return {k: v for i, value in enumerate(tree) for k, v in _flatten(value, f"{path}[{i}]").items()}
        case Tensor():
            return {path: tree.clone()}
        case _:
            return {path: tree}


def _equal(a: Any, b: Any) -> bool:
    return torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else bool(a == b)


def _double(trainer: Trainer) -> None:
    trainer.model.double()
    if trainer.probe is not None:
        trainer.probe.double()


def _name_of(trainer: Trainer, parameter: Tensor) -> str:
    named = [*trainer.model.named_parameters(), *(trainer.probe.named_parameters("probe") if trainer.probe else ())]
    return next((name for name, p in named if p is parameter), "parameter")
