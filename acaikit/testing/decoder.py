"""The check of decoders."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from torch import Tensor, nn

from acaikit.engine import Trainer
from acaikit.errors import UserError
from acaikit.nets import Decoder, Encoder, Linear
from acaikit.testing.fixtures import SHAPES, LinesAs, experiment_of, one_of
from acaikit.testing.network import ODD, Fit, Network, fits
from acaikit.testing.network_rules import rules_of
from acaikit.testing.rules import Refused, keep, made_as
from acaikit.types import Shape


def check_decoder(factory: Callable[[], Decoder], data: str = "images") -> None:
    """Check a decoder; return None when all is well.

    It is built for the first latents that it takes: a vector ``[8]``, or 4 channels of 1, 2, 4, ... along each axis.

    Parameters
    ----------
    factory : callable
        Makes a new decoder each time it is called; a class whose parameters all have defaults will do.
    data : str
        What to decode to: "images" ``[3, 32, 32]``, "sequences" ``[4, 16]`` or "vectors" ``[64]``.

    Raises
    ------
    UserError
        If `data` is none of these.
    NotConforming
        As for `check_encoder`. `Refused`, a kind of it, if it takes none of these latents.
    """
    keep(RULES, factory, data)


class _Anything(Encoder):
    """Gives latents of a wanted shape."""

    def __init__(self, latent_shape: Shape) -> None:
        super().__init__()
        self.latent_shape = latent_shape

    def build(self, data_shape: Shape) -> Shape:
        self.layers = nn.Sequential(Linear(prod(data_shape), prod(self.latent_shape)))
        return self.latent_shape

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x.flatten(1)).unflatten(1, self.latent_shape)
        return out


def _decoder(factory: Callable[[], Decoder], data: str) -> Network:
    shape, decoder = one_of(data, SHAPES), factory()
    made_as(decoder, Decoder, "acaikit.nets")
    name = type(decoder).__name__

    def fit(latent_shape: Shape, data_shape: Shape = shape) -> Fit:
        def build(decoder: Decoder) -> Shape:
            decoder.build(latent_shape, data_shape)
            return data_shape

        return Fit(f"latents of shape {list(latent_shape)} and data of shape {list(data_shape)}", latent_shape, build)

    latents = [(8,), *((4, *[2**scale] * (len(shape) - 1)) for scale in range(6) if len(shape) > 1)]
    answers = {latent_shape: fits(factory(), fit(latent_shape)) for latent_shape in latents}
    taken = [latent_shape for latent_shape, answer in answers.items() if not isinstance(answer, UserError)]
    if not taken:
        tried = ", ".join(str(list(latent_shape)) for latent_shape in latents)
        raise Refused(
            f"{name} takes latents of none of the shapes {tried} for {data} of shape {list(shape)}; of the last it "
            f"says: {answers[latents[-1]]}"
        )

    def trainer(seed: int) -> Trainer:
        return Trainer(experiment_of(LinesAs(shape), _Anything(taken[0]), factory(), seed=seed))

    odd = [fit(taken[0], other) for other in ODD] + [fit((3,) * axes) for axes in (1, 2, 3)]
    return Network(name, factory, fit(taken[0]), odd, trainer)


RULES = rules_of(_decoder)
