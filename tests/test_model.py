from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from acaikit.errors import UserError
from acaikit.likelihoods import MSE, Bernoulli, Likelihood
from acaikit.model import Autoencoder
from acaikit.nets import ConvDecoder, ConvEncoder
from acaikit.regularizers import ACAI, KL, VQEMA, AdversarialPrior, Denoising, LatentDropout, Regularizer

SHAPE, LATENT = (1, 8, 8), (2, 2, 2)


def autoencoder(*regularizers: Regularizer, seed: int = 0, likelihood: Likelihood | None = None) -> Autoencoder:
    encoder, decoder = ConvEncoder(depth=3, scales=2, latent=2), ConvDecoder(depth=3, scales=2)
    return Autoencoder(encoder, decoder, likelihood or MSE(), regularizers, SHAPE, seed)


def vq() -> VQEMA:
    return VQEMA(entries=8, vectors=3, hidden=5)


def images(count: int = 4, seed: int = 0) -> Tensor:
    return 2 * torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed)) - 1


def quantised(model: Autoencoder, z: Tensor) -> Tensor:
    """What a VQ-VAE's decoder reads, with the nearest entries found by the direct distance."""
    part = model.regularizers["VQEMA"]
    u = part.to_vectors(z.flatten(1)).view(len(z), 3, 1, -1)
    nearest = (u - part.codebook).square().sum(3).argmin(2)
    return part.from_vectors(part.codebook[nearest].flatten(1)).view(z.shape)


def same(model: Autoencoder, h: Tensor) -> Tensor:
    return h


class Affine(Regularizer):
    """Scales and shifts what passes, so that the order of two shows."""

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.scale, self.shift = scale, shift

    def corrupt(self, x: Tensor, noise: Generator | None) -> Tensor:
        raise AssertionError("only training corrupts")

    def posterior(self, h: Tensor, noise: Generator | None) -> Tensor:
        return self.scale * h + self.shift

    def emit(self, z: Tensor, noise: Generator | None) -> tuple[Tensor, dict[str, Tensor]]:
        assert noise is None
        return self.scale * z + self.shift, {"e": z}


@pytest.mark.parametrize(
    ("make", "code"),
    [
        pytest.param(list, same, id="baseline"),
        pytest.param(lambda: [LatentDropout()], same, id="dropout: before dropout"),
        pytest.param(lambda: [Denoising()], same, id="denoising: of the clean x"),
        pytest.param(lambda: [KL()], same, id="VAE: before mu and sigma"),
        pytest.param(lambda: [AdversarialPrior()], same, id="AAE"),
        pytest.param(lambda: [vq()], quantised, id="VQ-VAE: what the decoder reads"),
        pytest.param(lambda: [ACAI()], same, id="ACAI"),
        pytest.param(lambda: [KL(), vq(), LatentDropout()], quantised, id="several"),
    ],
)
def test_code(make: Callable[[], list[Regularizer]], code: Callable[[Autoencoder, Tensor], Tensor]) -> None:
    model, x = autoencoder(*make()), images()
    found = model.code(x)
    assert found.shape == (4, *LATENT)
    torch.testing.assert_close(found, code(model, model.encoder(x)))


def test_encode_is_the_encoder() -> None:
    model, x = autoencoder(vq(), LatentDropout(), Denoising(), ACAI()), images()
    assert model.latent_shape == LATENT
    assert torch.equal(model.encode(x), model.encoder(x))


def test_encode_gives_a_vaes_mean() -> None:
    model, x = autoencoder(KL()), images()
    mean = model.regularizers["KL"].mu(model.encoder(x).flatten(1)).view(4, *LATENT)
    assert torch.equal(model.encode(x), mean)


def test_encode_samples_a_vae_on_request() -> None:
    model, x = autoencoder(KL()), images()
    h, kl = model.encoder(x).flatten(1), model.regularizers["KL"]
    eps = torch.randn(4, 8, generator=torch.Generator().manual_seed(7))
    expected = kl.mu(h) + kl.log_var(h).exp().sqrt() * eps
    torch.testing.assert_close(model.encode(x, sample=torch.Generator().manual_seed(7)), expected.view(4, *LATENT))


@pytest.mark.parametrize(
    ("likelihood", "image"), [(MSE(), lambda o: o), (Bernoulli(), lambda o: 2 / (1 + (-o).exp()) - 1)]
)
def test_decode_shows_the_likelihoods_image(likelihood: Likelihood, image: Callable[[Tensor], Tensor]) -> None:
    model = autoencoder(KL(), LatentDropout(), likelihood=likelihood)
    z = torch.randn(4, *LATENT)
    torch.testing.assert_close(model.decode(z), image(model.decoder(z)))


def test_decode_quantises() -> None:
    model, z = autoencoder(vq()), torch.randn(4, *LATENT)
    torch.testing.assert_close(model.decode(z), model.decoder(quantised(model, z)))


def test_regularizers_act_in_order() -> None:
    model, x = autoencoder(Affine(2, 0), Affine(1, 1)), images()
    assert list(model.regularizers) == ["Affine", "Affine_2"]
    h = model.encoder(x)
    torch.testing.assert_close(model.encode(x), 2 * h + 1)
    torch.testing.assert_close(model.emit(h), 2 * h + 1)
    torch.testing.assert_close(model.code(x), 2 * h + 1)
    torch.testing.assert_close(model.reconstruct(x), model.decoder(2 * (2 * h + 1) + 1))


def test_interpolate_from_one_reconstruction_to_the_other() -> None:
    model, x1, x2 = autoencoder(KL(), vq(), ACAI()), images(seed=1), images(seed=2)
    found = model.interpolate(x1, x2, steps=5)
    assert found.shape == (4, 5, *SHAPE)
    z1, z2 = model.encode(x1), model.encode(x2)
    for n in range(5):
        torch.testing.assert_close(found[:, n], model.decode((1 - n / 4) * z1 + n / 4 * z2))
    torch.testing.assert_close(found[:, 0], model.reconstruct(x1))
    torch.testing.assert_close(found[:, -1], model.reconstruct(x2))


def test_interpolate_has_the_papers_length() -> None:
    assert autoencoder().interpolate(images(), images()).shape[1] == 16


def test_interpolate_along_a_path() -> None:
    def corner(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        assert t.tolist() == [0, 0.5, 1]
        return torch.stack([a, torch.zeros_like(a), b], 1)

    model, x1, x2 = autoencoder(), images(seed=1), images(seed=2)
    torch.testing.assert_close(model.interpolate(x1, x2, 3, corner)[:, 1], model.decode(torch.zeros(4, *LATENT)))
    round_path = model.interpolate(x1, x2, 3, "slerp")
    assert not torch.allclose(round_path[:, 1], model.interpolate(x1, x2, 3, "lerp")[:, 1])


def test_interpolate_refuses() -> None:
    model = autoencoder()
    with pytest.raises(UserError, match="steps must be at least 2, not 1"):
        model.interpolate(images(), images(), steps=1)
    with pytest.raises(UserError, match="no path is called 'slrp': did you mean slerp"):
        model.interpolate(images(), images(), path="slrp")


@pytest.mark.parametrize("other", [[], [KL()], [LatentDropout(), ACAI(), vq()]])
def test_weights_of_a_part_depend_on_seed_and_name_alone(other: list[Regularizer]) -> None:
    torch.manual_seed(1)
    model = autoencoder(AdversarialPrior(), *other)
    torch.manual_seed(2)
    alone = autoencoder(AdversarialPrior())
    for name, value in alone.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
    reseeded = autoencoder(AdversarialPrior(), seed=1).state_dict()
    assert not any(torch.equal(reseeded[name], value) for name, value in alone.state_dict().items() if "weight" in name)


def test_regularizers_of_one_kind_are_numbered_and_drawn_apart() -> None:
    model = autoencoder(ACAI(), KL(), ACAI(), ACAI())
    assert list(model.regularizers) == ["ACAI", "KL", "ACAI_2", "ACAI_3"]
    first, second = (next(model.regularizers[name].critic.parameters()) for name in ("ACAI", "ACAI_2"))
    assert first.shape == second.shape
    assert not torch.equal(first, second)


def test_evaluation_is_deterministic() -> None:
    model, x = autoencoder(Denoising(), KL(), LatentDropout(), vq(), ACAI(), AdversarialPrior()), images()
    state = torch.get_rng_state()
    for method in (model.encode, model.code, model.reconstruct):
        assert torch.equal(method(x), method(x))
    assert torch.equal(torch.get_rng_state(), state)


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(UserError, match=r"ConvEncoder\.scales must be the same"):
        Autoencoder(ConvEncoder(3, scales=2), ConvDecoder(3, scales=1), MSE(), [], SHAPE)


def test_an_encoder_says_the_latents_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConvEncoder, "build", lambda self, data_shape: None)
    with pytest.raises(UserError, match=r"ConvEncoder\.build returns None: return a shape, a tuple of whole numbers"):
        autoencoder()


def test_a_shape_may_be_a_list_of_numpys_whole_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    build, expected = ConvEncoder.build, autoencoder().latent_shape
    monkeypatch.setattr(ConvEncoder, "build", lambda self, shape: list(np.array(build(self, shape))))
    assert autoencoder().latent_shape == expected
    assert all(type(n) is int for n in autoencoder().latent_shape)
