"""Health: numbers that tell whether a model that trains without an error learns anything still."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

from torch import Tensor

from acaikit import checks

CONSTANT = 1e-6
"""Spread of a critic's outputs, as a share of their mean size, that is none: what rounding leaves in float32."""
SETTLED = 1_000
"""Steps before which only latents that explode are warned of: much that looks lost early on recovers by itself."""
EXPLODED = 1e3
"""Root mean square of latents that no model needs: N(0, I) has 1."""


@dataclass(frozen=True)
class Sign:
    """One sign of health.

    Attributes
    ----------
    value : float
        What is watched; NaN where it can't be told.
    warning : str or None
        What is wrong and what may help, where something is.

    Raises
    ------
    UserError
        If they are anything else.
    """

    value: float
    warning: str | None = None

    def __post_init__(self) -> None:
        checks.instance("a sign of health's value", self.value, Real)
        if self.warning is not None:
            checks.instance("a sign of health's warning", self.warning, str)


def critic_spread(outputs: Tensor) -> Sign:
    """Return the standard deviation of a critic's outputs ``[B]`` for different inputs; a warning where there is none.

    The bound is relative, since a critic that the autoencoder fools gives small numbers, and is well.
    """
    value = outputs.std(correction=0).item()
    wrong = f"the critic has collapsed: its outputs for different inputs differ by {value:.1g} alone"
    return Sign(value, wrong if value <= CONSTANT * outputs.abs().mean().item() else None)


def latent_scale(z: Tensor) -> Sign:
    """Return the root mean square of latents `z`; a warning where it has exploded."""
    value = z.square().mean().sqrt().item()
    wrong = f"latents have grown to a root mean square of {value:.3g}: lower Experiment.learning_rate"
    return Sign(value, wrong if value > EXPLODED else None)
