"""The check of likelihoods."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from acaikit.engine import Trainer
from acaikit.likelihoods import Likelihood
from acaikit.nets import MLPDecoder, MLPEncoder
from acaikit.rng import generator
from acaikit.testing.device import new_tensors_elsewhere
from acaikit.testing.fixtures import BATCH, SHAPES, LinesAs, experiment_of, one_of
from acaikit.testing.rules import NotConforming, Rule, keep, made_as
from acaikit.testing.side_effects import undrawn
from acaikit.testing.training import check_losses, check_resumed, check_seeded

Factory = Callable[[], Likelihood]

TOLERANCE = 1e-9
"""Largest difference, in float64, between an example's image in a batch and alone."""
RATE, DESCENT = 0.1, 200
"""Adam's learning rate and steps, with which the loss is brought down: an output may go from 0 to about 10."""


def check_likelihood(factory: Factory, data: str = "images") -> None:
    """Check a likelihood; return None when all is well.

    Parameters
    ----------
    factory : callable
        Makes a new likelihood each time it is called; a class whose parameters all have defaults will do.
    data : str
        What to reconstruct: "images" ``[3, 32, 32]``, "sequences" ``[4, 16]`` or "vectors" ``[64]``.

    Raises
    ------
    UserError
        If `data` is none of these.
    NotConforming
        If its loss is no finite scalar that falls as the image nears the data, its image hasn't their shape and scale
        or passes no gradient on, it can't be copied, makes tensors of a dtype or on a device of its own, draws random
        numbers, mixes the examples of a batch, or a run saved, restored and continued differs from one that was never
        interrupted.
    """
    keep(RULES, factory, data)


def _data(data: str) -> Tensor:
    return LinesAs(one_of(data, SHAPES)).test().examples(slice(0, BATCH)).double()


def _output(data: str) -> Tensor:
    """Return what a decoder might give: N(0, 1), float64."""
    return torch.randn(BATCH, *one_of(data, SHAPES), generator=generator(0, "output"), dtype=torch.float64)


def _check_kind(factory: Factory, data: str) -> None:
    one_of(data, SHAPES)
    likelihood = factory()
    made_as(likelihood, Likelihood, "acaikit.likelihoods")
    try:
        copy.deepcopy(likelihood)
    except Exception as error:
        raise NotConforming(
            f"{_name(likelihood)} can't be copied by copy.deepcopy ({error}): every run trains a copy"
        ) from error


def _check_loss(factory: Factory, data: str) -> None:
    """See that the loss is a finite scalar of the output's dtype, and leaves the output and the data alone."""
    likelihood, output, x = factory(), _output(data).requires_grad_(), _data(data)
    likelihood.loss(output.float(), x.float())  # what fails here has nothing to do with the dtype
    given = [output.clone(), x.clone()]
    try:
        loss: Any = likelihood.loss(*given)
    except RuntimeError as error:
        raise NotConforming(
            f"{_name(likelihood)}.loss makes a tensor of its own dtype: give it dtype=x.dtype ({error})"
        ) from error
    if not isinstance(loss, Tensor) or loss.dim() or loss.dtype != x.dtype or not loss.isfinite():
        said = f"a {type(loss).__name__}"
        if isinstance(loss, Tensor):
            value = f" and value {loss.item()}" if loss.dim() == 0 else ""
            said = f"a {loss.dtype} of shape {list(loss.shape)}{value}"
        raise NotConforming(f"{_name(likelihood)}.loss must be a finite scalar, float64 for float64 data, not {said}")
    if not torch.equal(given[0], output) or not torch.equal(given[1], x):
        raise NotConforming(
            f"{_name(likelihood)}.loss changes what it is given: leave out in-place steps such as x += ..."
        )
    if not loss.requires_grad:
        raise NotConforming(f"{_name(likelihood)}.loss moves nothing: leave out detach() and no_grad()")


def _check_image(factory: Factory, data: str) -> None:
    """See that the image is one of the data, each example by itself, and passes gradients on."""
    likelihood, output = factory(), _output(data).requires_grad_()
    name = _name(likelihood)
    image: Any = likelihood.image(output)
    if not isinstance(image, Tensor) or image.shape != output.shape or image.dtype != output.dtype:
        said = f"a {getattr(image, 'dtype', type(image).__name__)} of shape {list(getattr(image, 'shape', ()))}"
        raise NotConforming(
            f"{name}.image must have the shape and the dtype of the data, {output.dtype} {list(output.shape)} here, "
            f"not {said}: a decoder gives as many numbers as an example has"
        )
    if not image.isfinite().all():
        raise NotConforming(f"{name}.image is not finite for outputs of an ordinary size")
    (slope,) = torch.autograd.grad(image.sum(), output, allow_unused=True) if image.requires_grad else (None,)
    if slope is None or not slope.any():
        raise NotConforming(
            f"no gradient goes through {name}.image: critics judge it, and the decoder must learn from them. Leave out "
            f"detach(), no_grad() and steps such as round()"
        )
    alone = torch.cat([likelihood.image(output[i : i + 1]) for i in range(BATCH)])
    if not torch.allclose(alone, image, rtol=TOLERANCE, atol=TOLERANCE):
        raise NotConforming(
            f"{name}.image of an example depends on the others in its batch: take no mean, norm or order over the "
            f"first axis"
        )


def _check_descent(factory: Factory, data: str) -> None:
    """Bring the loss down, and see that the image comes to the data."""
    likelihood, x = factory(), _data(data)
    output = torch.zeros_like(x, requires_grad=True)
    optimizer = torch.optim.Adam([output], RATE)
    apart = [(likelihood.image(output) - x).abs().mean().item()]
    for _ in range(DESCENT):
        optimizer.zero_grad()
        likelihood.loss(output, x).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    apart.append((likelihood.image(output) - x).abs().mean().item())
    if not apart[1] < apart[0] / 2:
        raise NotConforming(
            f"as {_name(likelihood)}.loss falls, its image doesn't come to the data: {apart[0]:.3g} apart before, "
            f"{apart[1]:.3g} after. Data and image lie in [-1, 1]; a loss is made small"
        )


def _check_device(factory: Factory, data: str) -> None:
    likelihood, output, x = factory(), _output(data), _data(data)
    with new_tensors_elsewhere(_name(likelihood), "x"):
        likelihood.loss(output, x)
        likelihood.image(output)


def _check_draws(factory: Factory, data: str) -> None:
    """See that training draws nothing, and is the same twice."""
    likelihood = factory()
    own = "a likelihood is deterministic; a regularizer may draw, from the generator that its hooks are given"
    with undrawn(_name(likelihood), own):
        likelihood.loss(_output(data), _data(data))
        likelihood.image(_output(data))
    check_seeded(lambda seed: _trainer(factory, data, seed), _name(likelihood), own)


def _check_training(factory: Factory, data: str) -> None:
    check_losses(lambda seed: _trainer(factory, data, seed))
    check_resumed(lambda seed: _trainer(factory, data, seed))


def _trainer(factory: Factory, data: str, seed: int) -> Trainer:
    networks = MLPEncoder(hidden=(8,), latent=8), MLPDecoder(hidden=(8,))
    return Trainer(experiment_of(LinesAs(one_of(data, SHAPES)), *networks, likelihood=factory(), seed=seed))


def _name(likelihood: Likelihood) -> str:
    return type(likelihood).__name__


RULES = (
    Rule("is a likelihood, and can be copied", _check_kind),
    Rule("has a loss that is a finite number, of the data's dtype", _check_loss),
    Rule("has an image of the data's shape, which passes gradients on", _check_image),
    Rule("brings the image to the data as its loss falls", _check_descent),
    Rule("makes its tensors on the device of the data", _check_device),
    Rule("draws nothing", _check_draws),
    Rule("trains, and goes on with the same bits after a restart", _check_training),
)
