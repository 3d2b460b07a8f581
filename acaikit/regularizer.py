"""The abstract regularizer: a module with a few optional hooks, in the order in which data meets them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from acaikit.errors import UserError
from acaikit.health import Sign
from acaikit.nets import Encoder
from acaikit.types import Emitted, Extras, Shape, Step

HOOKS = ("corrupt", "posterior", "emit", "prepare", "model_loss", "own_loss", "after_step")
"""What a training step calls."""
ASKED = ("doubt", "health")
"""What is asked in between: it changes nothing."""


@dataclass(frozen=True)
class Architecture:
    """What a regularizer is built for.

    Attributes
    ----------
    data_shape, latent_shape : tuple of int
        One example's shape before and after encoding.
    encoder : Encoder
        The autoencoder's encoder, built; a copy of it makes a network of the same architecture.
    """

    data_shape: Shape
    latent_shape: Shape
    encoder: Encoder


class Regularizer(nn.Module):
    """Subclass this and write the hooks your idea needs; the others stay neutral.

    Gradients are routed for you, so no hook calls ``detach()``: `model_loss` moves the encoder, the decoder and this
    module's own layers, but never `critic`; `own_loss` moves `critic` and nothing else. All losses are taken at the
    same weights, from one forward pass, and then all optimizers step.

    `noise` is this regularizer's own `torch.Generator`, on the device of the data. It is None at evaluation, where
    every hook must be deterministic: draw from it with
    ``torch.randn(x.shape, generator=noise, device=x.device, dtype=x.dtype)``. The losses are given none: what they need
    drawn, `prepare` draws and returns as extras. ``step.encode`` is without noise.

    Attributes
    ----------
    critic : torch.nn.Module or None
        The second player, if there is one: the parameters that `own_loss` trains.
    emit_draws : bool
        Whether `emit` draws from `noise`. Where it doesn't, say False: the probe can then reuse what `emit` computed.
    prior : bool
        Whether this makes latents alike to samples of N(0, I), so that such samples can be decoded.
    recordable : bool
        Whether nothing that changes from step to step is kept on the host, as a Python number that counts steps is.
        Say True in the class's own body, and a GPU replays whole steps; left out, each operation is sent to it, which
        is slower and always right. A CPU doesn't ask.
    """

    critic: nn.Module | None
    emit_draws: ClassVar[bool] = True
    prior: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.critic = None

    def build(self, architecture: Architecture) -> None:
        """Make the layers whose sizes depend on the data or the latent.

        Weights are drawn afterwards through every submodule's ``reset_parameters()``, from the run's seed.

        Raises
        ------
        UserError
            Raise it where the idea isn't for such data, and say what it takes. One for images only does so where
            ``len(architecture.data_shape) != 3``: "Rotations takes images [C, H, W], not data of shape [64]".
        """

    def corrupt(self, x: Tensor, noise: Generator | None) -> Tensor:
        """Return what the encoder sees in place of the clean `x`, ``[B, *data shape]``, in training."""
        return x

    def posterior(self, h: Tensor, noise: Generator | None) -> Emitted:
        """Turn features `h` into the latent code z, both ``[B, *latent shape]``; optionally ``(z, extras)``."""
        return h

    def emit(self, z: Tensor, noise: Generator | None) -> Emitted:
        """Turn a latent code into what the decoder reads, both ``[B, *latent shape]``; optionally ``(e, extras)``."""
        return z

    def prepare(self, step: Step, noise: Generator) -> Extras:
        """Return what both losses need beyond the forward pass (mixes, prior samples); `step` has it by name."""
        return {}

    def model_loss(self, step: Step) -> Tensor:
        """Return the scalar that is added to the loss of encoder and decoder."""
        return torch.zeros((), device=step.x.device)

    def own_loss(self, step: Step) -> Tensor:
        """Return the scalar that `critic` minimises.

        Tensors of the step, and buffers, are left as they are: it is `after_step` that moves buffers. A gradient
        penalty may differentiate by them: ``torch.autograd.grad(d(step.x_mix).sum(), step.x_mix, create_graph=True)``.
        """
        return torch.zeros((), device=step.x.device)

    def doubt(self, z: Tensor, x: Tensor) -> Tensor | None:
        """Return how unreal `critic` holds latents `z` ``[B, *latent shape]`` or their images `x` ``[B, *data shape]``.

        One number each, ``[B]``, lower where they are more like the data; None where there is no view. Evaluators call
        it: nothing in training does.
        """
        return None

    def health(self, step: Step) -> dict[str, Sign]:
        """Return signs of health by name, each a number and, where it tells of a fault, a warning.

        `step` is the last training step's, detached. Called at every row of the metrics, without gradients and with the
        weights of after that step; it must be deterministic and change nothing, so it can't call ``step.decode``.
        Warnings count from the 1,000th step on.
        """
        return {}

    def after_step(self, step: Step) -> None:
        """Update buffers (moving averages and the like) after every optimizer has stepped; no gradients."""


def check_hooks(kind: type[Regularizer]) -> None:
    """Raise `UserError` where a class writes none of the `HOOKS`, or a method nearly called like one it doesn't write.

    One that does all it does in `build`, such as constraining the encoder's weights, is well.
    """
    absent = [hook for hook in (*HOOKS, *ASKED) if hook not in vars(kind)]
    for name, value in vars(kind).items():
        near = [] if name.startswith("_") else difflib.get_close_matches(name, absent, n=1, cutoff=0.85)
        if near and callable(value):
            raise UserError(f"{kind.__name__}.{name} is no hook: did you mean {near[0]}?")
    if all(getattr(kind, hook) is getattr(Regularizer, hook) for hook in (*HOOKS, "build")):
        raise UserError(f"{kind.__name__} writes none of the hooks {', '.join(HOOKS)}: it does nothing in training")
