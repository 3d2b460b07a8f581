"""The check of encoders."""

from __future__ import annotations

from collections.abc import Callable

from acaikit.engine import Trainer
from acaikit.nets import Encoder, MLPDecoder
from acaikit.testing.fixtures import SHAPES, LinesAs, experiment_of, one_of
from acaikit.testing.network import ODD, Fit, Network
from acaikit.testing.network_rules import rules_of
from acaikit.testing.rules import keep, made_as
from acaikit.types import Shape


def check_encoder(factory: Callable[[], Encoder], data: str = "images") -> None:
    """Check an encoder; return None when all is well.

    Parameters
    ----------
    factory : callable
        Makes a new encoder each time it is called; a class whose parameters all have defaults will do.
    data : str
        What to encode: "images" ``[3, 32, 32]``, "sequences" ``[4, 16]`` or "vectors" ``[64]``.

    Raises
    ------
    UserError
        If `data` is none of these.
    NotConforming
        If it gives another shape than its `build` returns, can't be copied or built again, makes tensors of a dtype or
        on a device of its own, draws random numbers or weights that are not the run's, isn't deterministic or changes
        in evaluation, an example's latent depends on others there, gradients don't come through, a loss is not finite,
        a run saved, restored and continued differs from one that was never interrupted, or sizes that don't fit end in
        anything but a `UserError` that names the encoder. `Refused`, a kind of it, if it doesn't take such data.
    """
    keep(RULES, factory, data)


def _encoder(factory: Callable[[], Encoder], data: str) -> Network:
    shape, encoder = one_of(data, SHAPES), factory()
    made_as(encoder, Encoder, "acaikit.nets")

    def fit(shape: Shape) -> Fit:
        return Fit(f"data of shape {list(shape)}", shape, lambda encoder: encoder.build(shape))

    def trainer(seed: int) -> Trainer:
        return Trainer(experiment_of(LinesAs(shape), factory(), MLPDecoder(hidden=(8,)), seed=seed))

    return Network(type(encoder).__name__, factory, fit(shape), [fit(odd) for odd in ODD], trainer)


RULES = rules_of(_encoder)
