"""The autoencoder: encoder, decoder, likelihood, and the regularizers' part in the path between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import cast

import torch
from torch import Generator, Tensor, nn

from acaikit.errors import UserError
from acaikit.likelihoods import Likelihood
from acaikit.memory import telling_of_memory
from acaikit.nets import Decoder, Encoder
from acaikit.paths import Landscape, ModelPath, Path, resolve
from acaikit.regularizer import Architecture, Regularizer
from acaikit.returned import shape, unpack
from acaikit.rng import initialise
from acaikit.types import Shape


def named(regularizers: Iterable[Regularizer]) -> dict[str, Regularizer]:
    """Name each regularizer by its class, the second of a kind "NAME_2" and so on."""
    names: dict[str, Regularizer] = {}
    for regularizer in regularizers:
        kind = type(regularizer).__name__
        same = sum(type(other).__name__ == kind for other in names.values())
        names[f"{kind}_{same + 1}" if same else kind] = regularizer
    return names


def _telling(part: nn.Module) -> AbstractContextManager[None]:
    return telling_of_memory(type(part).__name__, "make its layers, or the data, smaller")


class Autoencoder(nn.Module):
    """An encoder and a decoder, with the regularizers that stand between them.

    Parameters
    ----------
    encoder, decoder : Encoder, Decoder
        Networks that are not built yet.
    likelihood : Likelihood
        Reads the decoder's output.
    regularizers : sequence of Regularizer
        In the order in which data meets them.
    data_shape : tuple of int
        One example's shape: ``(C, H, W)`` for images, ``(C, L)`` for sequences, ``(D,)`` for vectors.
    seed : int
        Each part's weights are drawn from (seed, its name).

    Attributes
    ----------
    data_shape, latent_shape : tuple of int
        One example's shape before and after encoding.

    Raises
    ------
    UserError
        If the parts' sizes don't fit together, or a part takes more memory than there is.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        likelihood: Likelihood,
        regularizers: Iterable[Regularizer],
        data_shape: Shape,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood
        self.data_shape = data_shape
        with _telling(encoder):
            self.latent_shape = shape(encoder.build(data_shape), f"{type(encoder).__name__}.build")
        with _telling(decoder):
            decoder.build(self.latent_shape, data_shape)
        self._regularizers = nn.ModuleDict(named(regularizers))
        for regularizer in self.regularizers.values():
            with _telling(regularizer):
                regularizer.build(Architecture(data_shape, self.latent_shape, encoder))
        for name, part in {"encoder": encoder, "decoder": decoder, **self.regularizers}.items():
            initialise(part, seed, name)

    @property
    def regularizers(self) -> Mapping[str, Regularizer]:
        """The regularizers by name, in order."""
        return cast("Mapping[str, Regularizer]", self._regularizers)

    def encode(self, x: Tensor, sample: Generator | None = None) -> Tensor:
        """Return the latents z ``[B, *latent_shape]`` of `x` ``[B, *data_shape]``, float32 in [-1, 1].

        Deterministic (a VAE's mean), unless `sample` gives a generator to draw from the posterior.
        """
        z: Tensor = self.encoder(x)
        for name, regularizer in self.regularizers.items():
            z, _ = unpack(regularizer.posterior(z, sample), f"{name}.posterior", z.shape)
        return z

    def emit(self, z: Tensor) -> Tensor:
        """Return what the decoder reads for latents `z`, without noise; both ``[B, *latent_shape]``."""
        for name, regularizer in self.regularizers.items():
            z, _ = unpack(regularizer.emit(z, None), f"{name}.emit", z.shape)
        return z

    def decode(self, z: Tensor) -> Tensor:
        """Return the data ``[B, *data_shape]`` that latents `z` ``[B, *latent_shape]`` decode to, without noise."""
        return self.likelihood.image(self.decoder(self.emit(z)))

    def code(self, x: Tensor) -> Tensor:
        """Return the representation that probe and clustering read, ``[B, *latent_shape]``.

        It is what the decoder would read for the clean features: the encoder's output, for a VAE before mu and sigma,
        for a VQ-VAE after the quantiser.
        """
        return self.emit(self.encoder(x))

    @property
    def has_prior(self) -> bool:
        """Whether a regularizer makes the latents alike to N(0, I)."""
        return any(regularizer.prior for regularizer in self.regularizers.values())

    def doubts(self, z: Tensor) -> dict[str, Tensor]:
        """Return what each critic holds against latents `z` ``[B, *latent_shape]`` and what they decode to.

        By regularizer, ``[B]``; only of those that have a view, see `Regularizer.doubt`.
        """
        x = self.decode(z)
        held = {name: regularizer.doubt(z, x) for name, regularizer in self.regularizers.items()}
        return {name: doubt for name, doubt in held.items() if doubt is not None}

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return decode(encode(x)), ``[B, *data_shape]``."""
        return self.decode(self.encode(x))

    def interpolate(self, x1: Tensor, x2: Tensor, steps: int = 16, path: str | Path | ModelPath = "lerp") -> Tensor:
        """Return decoded paths from `x1` to `x2`, ``[B, steps, *data_shape]``, both ends included.

        The data lie in [-1, 1], but a decoder trained with MSE may go beyond; nothing is clipped.

        Parameters
        ----------
        x1, x2 : Tensor
            Two batches, ``[B, *data_shape]`` in [-1, 1].
        steps : int
            Points per path, at least 2.
        path : str, callable or ModelPath
            The name of a registered path, or a function ``(a, b, t) -> [B, len(t), *latent_shape]``, or what makes one.

        Raises
        ------
        UserError
            If `steps` is below 2, no path has that name, or the path needs to know the data's latents: then make it
            with ``Trained.path``.
        """
        if steps < 2:
            raise UserError(f"a path has two ends, so steps must be at least 2, not {steps}")
        along = resolve(path, Landscape(self.decode))
        z = along(self.encode(x1), self.encode(x2), torch.linspace(0, 1, steps, device=x1.device))
        return self.decode(z.flatten(0, 1)).view(len(x1), steps, *self.data_shape)
