"""The rules that encoders, decoders and critics share: what acaikit relies on in any network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from acaikit.errors import UserError
from acaikit.rng import generator
from acaikit.testing.device import new_tensors_elsewhere
from acaikit.testing.fixtures import BATCH
from acaikit.testing.network import Network, fits
from acaikit.testing.rules import NotApplicable, NotConforming, Refused, Rule, about_dtypes
from acaikit.testing.side_effects import undrawn
from acaikit.testing.states import copied, difference
from acaikit.testing.training import check_losses, check_resumed, check_seeded
from acaikit.types import Shape

TOLERANCE = 1e-9
"""Largest difference, in float64, between an example's output in a batch and alone; rounding stays below 1e-12."""


def rules_of(network: Callable[[Any, str], Network]) -> tuple[Rule, ...]:
    """Return the rules of a kind of network, which `network` makes of a factory and a kind of data."""

    def on(check: Callable[[Network], None]) -> Callable[[Any, str], None]:
        return lambda factory, data: check(network(factory, data))

    return tuple(Rule(title, on(check)) for title, check in _CHECKS.items())


def _check_build(network: Network) -> None:
    """See that it takes the sizes, and is made anew by its factory."""
    if network.make() is network.make():
        raise NotConforming(
            f"the factory returns the same {network.name} twice: make a new one each time, lambda: {network.name}(...)"
        )
    module = network.make()
    found = fits(module, network.fit)
    if isinstance(found, UserError):
        raise Refused(f"{network.name} doesn't take {network.fit.said}: {found}") from found
    if any(is_lazy(parameter) for parameter in module.parameters()):
        raise NotConforming(
            f"{network.name} has layers that don't know their sizes yet (such as nn.LazyLinear), so that no weights "
            f"could be drawn: build is told the shapes, make layers of these"
        )


def _check_output(network: Network) -> None:
    """See that the output has the shape that was promised, for any number of examples."""
    module = network.built().eval()
    shape: Shape = network.fit.build(network.make())
    for count in (1, 2, BATCH):
        x = network.examples(count)
        before = x.clone()
        with torch.no_grad():
            out: Any = module(x)
        wanted = [count, *shape]
        if not isinstance(out, Tensor) or list(out.shape) != wanted:
            said = f"shape {list(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
            raise NotConforming(
                f"{network.name}, built for {network.fit.said}, gives {said} for a batch of {count}, not {wanted}"
            )
        if not out.isfinite().all():
            raise NotConforming(f"{network.name} gives numbers that are not finite, with weights as they are drawn")
        if not torch.equal(x, before):
            raise NotConforming(f"{network.name}.forward changes what it is given: leave out inplace=True and x += ...")


def _check_copies(network: Network) -> None:
    """Copy it before and after it is built, and build the copy again."""
    module = network.make()
    try:
        unbuilt = copy.deepcopy(module)
        first = network.fit.build(unbuilt)
        again = copy.deepcopy(unbuilt)
    except Exception as error:
        raise NotConforming(
            f"{network.name} can't be copied by copy.deepcopy ({error}): every run trains a copy, so keep no open "
            f"file, generator or result of a computation as an attribute"
        ) from error
    second = network.fit.build(again)
    shapes = [{name: tuple(t.shape) for name, t in each.state_dict().items()} for each in (unbuilt, again)]
    if first != second or shapes[0] != shapes[1]:
        raise NotConforming(
            f"{network.name} that is built twice is another network: build makes all layers anew and appends to none "
            f"(a critic with the encoder's architecture is a copy of it that is built again)"
        )


def _check_seeded(network: Network) -> None:
    module, x = network.built(), network.examples(BATCH)
    with undrawn(f"{network.name}.forward", _NO_NOISE), torch.no_grad():
        module(x)
    check_seeded(network.trainer, f"{network.name}.forward", _NO_NOISE)


_NO_NOISE = (
    "a network has no noise of its own (no dropout, for one). A regularizer may draw, from the generator that its "
    "hooks are given"
)


def _check_dtype(network: Network) -> None:
    """Compute in float64."""
    module = network.built().double().eval()
    try:
        with torch.no_grad():
            out = module(network.examples(BATCH).double())
    except RuntimeError as error:
        if not about_dtypes(error):
            raise
        raise NotConforming(
            f"{network.name} makes a tensor of its own dtype: give it dtype=x.dtype, or keep it in a buffer "
            f"(register_buffer) ({error})"
        ) from error
    if out.dtype != torch.float64:
        raise NotConforming(f"{network.name} turns float64 into {out.dtype}: give what it makes dtype=x.dtype")


def _check_device(network: Network) -> None:
    """Compute while new tensors land on another device by default."""
    module, x = network.built(), network.examples(BATCH)
    with new_tensors_elsewhere(f"{network.name}.forward", "x"), torch.no_grad():
        module(x)


def _check_alone(network: Network) -> None:
    """Compare each example's output in a batch with what it is alone."""
    module, x = network.built().double().eval(), network.examples(BATCH).double()
    with torch.no_grad():
        together, alone = module(x), torch.cat([module(x[i : i + 1]) for i in range(BATCH)])
    if not torch.allclose(together, alone, rtol=TOLERANCE, atol=TOLERANCE):
        raise NotConforming(
            f"{network.name}'s output for an example depends on the others in its batch, in evaluation too: what is "
            f"measured would depend on how examples are batched. Take no mean, norm or order over the first axis"
        )


def _check_evaluation(network: Network) -> None:
    """Compute twice in evaluation mode, and see that nothing has changed."""
    module, x = network.built().eval(), network.examples(BATCH)
    before = copied(module.state_dict(), "state")
    with torch.no_grad():
        once, twice = module(x), module(x)
    if not torch.equal(once, twice):
        raise NotConforming(f"{network.name} gives two outputs for one input in evaluation: it must be deterministic")
    path = difference(before, copied(module.state_dict(), "state"))
    if path is not None:
        raise NotConforming(
            f"{network.name}.forward changes {path} in evaluation: change it only where self.training is True"
        )


def _check_gradients(network: Network) -> None:
    """See that gradients reach the input and every parameter that is to be trained."""
    module = network.built().double()
    x = network.examples(BATCH).double().requires_grad_()
    draw = generator(0, "away from what vanishes by symmetry")
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype))
    out = module(x)
    weights = torch.randn(out.shape, generator=draw, dtype=out.dtype)
    named = {"what it is given": x, **{n: p for n, p in module.named_parameters() if p.requires_grad}}
    found: Sequence[Tensor | None] = [None] * len(named)
    if out.requires_grad:
        found = torch.autograd.grad((out * weights).sum(), list(named.values()), allow_unused=True)
    for name, gradient in zip(named, found, strict=True):
        if gradient is None or (name == "what it is given" and not gradient.any()):
            raise NotConforming(
                f"no gradient goes through {network.name} to {name}: leave out detach(), no_grad() and steps such as "
                f"round() and argmax(); what nothing trains needs requires_grad_(False)"
            )
        if not gradient.isfinite().all():
            raise NotConforming(f"the gradient of {network.name}'s output by {name} is not finite")


def _check_training(network: Network) -> None:
    check_losses(network.trainer)
    check_resumed(network.trainer)


_SAY_SO = "where sizes don't fit, build must raise acaikit.errors.UserError"


def _check_sizes(network: Network) -> None:
    """Build it for odd sizes: it says that they don't fit, or they do."""
    refused = 0
    for fit in network.odd:
        module = network.make()
        shape = fits(module, fit)
        if isinstance(shape, UserError):
            refused += 1
            continue
        try:
            with torch.no_grad():
                given = list(module.eval()(torch.zeros(2, *fit.taken)).shape)
        except Exception as error:
            raise NotConforming(
                f"{network.name} can be built for {fit.said}, and fails there ({error}): {_SAY_SO}"
            ) from error
        if given != [2, *shape]:
            raise NotConforming(
                f"{network.name}, built for {fit.said}, gives shape {given} for a batch of 2, not {[2, *shape]}: "
                f"{_SAY_SO}"
            )
    if not refused:
        raise NotApplicable("it takes any size")


_CHECKS: dict[str, Callable[[Network], None]] = {
    "can be built for the data": _check_build,
    "gives the shape that it promises, for any number of examples": _check_output,
    "can be copied, and built again": _check_copies,
    "keeps to the dtype of the data": _check_dtype,
    "makes its tensors on the device of the data": _check_device,
    "draws nothing, and its weights come from the run's seed": _check_seeded,
    "is deterministic in evaluation, and changes nothing there": _check_evaluation,
    "treats each example by itself in evaluation": _check_alone,
    "passes gradients on to its input and its weights": _check_gradients,
    "trains, and goes on with the same bits after a restart": _check_training,
    "says which sizes don't fit": _check_sizes,
}
