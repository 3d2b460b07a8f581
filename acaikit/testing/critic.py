"""The check of critics."""

from __future__ import annotations

from collections.abc import Callable

from acaikit.critics import Critic
from acaikit.engine import Trainer
from acaikit.nets import MLPDecoder, MLPEncoder
from acaikit.regularizers import ACAI
from acaikit.testing.fixtures import SHAPES, LinesAs, experiment_of, one_of
from acaikit.testing.network import ODD, Fit, Network
from acaikit.testing.network_rules import rules_of
from acaikit.testing.rules import Rule, keep, made_as
from acaikit.types import Shape


def check_critic(factory: Callable[[], Critic], data: str = "images") -> None:
    """Check a critic, which is trained as that of `ACAI`; return None when all is well.

    Parameters
    ----------
    factory : callable
        Makes a new critic each time it is called; a class whose parameters all have defaults will do.
    data : str
        What to judge: "images" ``[3, 32, 32]``, "sequences" ``[4, 16]`` or "vectors" ``[64]``.

    Raises
    ------
    UserError
        If `data` is none of these.
    NotConforming
        If it gives anything but one number per example, ``[B]``; else as for `check_encoder`. `Refused`, a kind of it,
        if it doesn't take such data.
    """
    keep(RULES, factory, data)


def _critic(factory: Callable[[], Critic], data: str) -> Network:
    shape, critic = one_of(data, SHAPES), factory()
    made_as(critic, Critic, "acaikit.critics")

    def fit(shape: Shape) -> Fit:
        def build(critic: Critic) -> Shape:
            critic.build(shape)
            return ()

        return Fit(f"examples of shape {list(shape)}", shape, build)

    def trainer(seed: int) -> Trainer:
        networks = MLPEncoder(hidden=(8,), latent=8), MLPDecoder(hidden=(8,))
        return Trainer(experiment_of(LinesAs(shape), *networks, regularizers=[ACAI(critic=factory())], seed=seed))

    return Network(type(critic).__name__, factory, fit(shape), [fit(odd) for odd in ODD], trainer)


RULES: tuple[Rule, ...] = rules_of(_critic)
