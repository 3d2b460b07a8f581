from __future__ import annotations

import numpy as np
import pytest
import torch

from acaikit.data.lines import Lines
from acaikit.errors import EvaluationError, UserError
from acaikit.evaluators.base import Trained
from acaikit.experiment import Experiment
from acaikit.nets import MLPDecoder, MLPEncoder
from acaikit.regularizers.kl import KL
from acaikit.report import shown


def trained(*regularizers: object) -> Trained:
    lines = Lines(8, 8, test_size=20)
    nets = MLPEncoder(hidden=(5,), latent=3), MLPDecoder(hidden=(5,))
    return Trained(*Experiment(lines, *nets, regularizers=regularizers).build(), lines)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The latents that were decoded."""
    found: list[torch.Tensor] = []
    from acaikit.model import Autoencoder

    decode = Autoencoder.decode
    monkeypatch.setattr(Autoencoder, "decode", lambda model, z: found.append(z) or decode(model, z))
    return found


def test_pairs_are_spread_or_the_one_that_is_asked_for() -> None:
    np.testing.assert_array_equal(shown.pairs_of(100, 2), [[0, 66], [33, 99]])
    np.testing.assert_array_equal(shown.pairs_of(3, 8), [[0, 1]])
    np.testing.assert_array_equal(shown.pairs_of(100, 8, (7, 3)), [[7, 3]])
    for total, pair in ((100, (0, 100)), (100, (-1, 3)), (1, None)):
        with pytest.raises(UserError, match="test example"):
            shown.pairs_of(total, 1, pair)


def test_paths_join_the_pairs() -> None:
    run = trained()
    both = shown.ends(run, np.array([[4, 9], [2, 0]]))
    data = run.dataset.test().examples(slice(None))
    torch.testing.assert_close(both, data[torch.tensor([[4, 9], [2, 0]])])
    paths = shown.between(run, both, 5, "lerp")
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(paths[:, 0]), run.model.reconstruct(both[:, 0]))
        torch.testing.assert_close(torch.from_numpy(paths[:, -1]), run.model.reconstruct(both[:, 1]))


def test_a_prior_is_sampled_where_there_is_one(decoded: list[torch.Tensor]) -> None:
    made, words = shown.sampled(trained(KL()), 4000, 0)
    z = torch.cat(decoded).flatten(1).double()
    assert (made.shape, words) == ((4000, 1, 8, 8), "Samples from the prior N(0, I)")
    np.testing.assert_allclose(z.mean(0), 0, atol=0.08)
    np.testing.assert_allclose(np.cov(z.T), np.eye(3), atol=0.1)


def test_else_a_gaussian_with_the_latents_mean_and_covariance(decoded: list[torch.Tensor]) -> None:
    run = trained()
    latents = run.latents.flatten(1).double()
    latents[:, 2] = latents[:, 0] + 1  # singular
    run.__dict__["latents"] = latents.float().view(run.latents.shape)
    _, words = shown.sampled(run, 4000, 0)
    z = torch.cat(decoded).flatten(1).double()
    assert "Gaussian fitted to the latents" in words
    covariance = np.cov(latents.T)
    np.testing.assert_allclose(z.mean(0), latents.mean(0), atol=0.08 * covariance.max() ** 0.5)
    np.testing.assert_allclose(np.cov(z.T), covariance, atol=0.1 * covariance.max())
    torch.testing.assert_close(z[:, 2], z[:, 0] + 1, atol=1e-5, rtol=0)


def test_samples_depend_on_the_seed_alone() -> None:
    run = trained()
    state = torch.get_rng_state()
    first, again, other = (shown.sampled(run, 3, seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert torch.equal(state, torch.get_rng_state())


def test_codes_are_of_examples_spread_over_the_test_set() -> None:
    run = trained()
    codes, labels = shown.coded(run, 5)
    rows = [0, 5, 10, 14, 19]
    with torch.no_grad():
        expected = run.model.code(run.dataset.test().examples(torch.tensor(rows))).flatten(1)
    np.testing.assert_allclose(codes, expected, atol=1e-6)
    np.testing.assert_array_equal(labels, run.dataset.test().labels[rows])


def test_a_model_that_diverged_is_not_drawn() -> None:
    run = trained()
    with torch.no_grad():
        next(run.model.decoder.parameters()).fill_(float("nan"))
    both = shown.ends(run, np.array([[0, 1]]))
    for make in (
        lambda: shown.between(run, both, 3, "lerp"),
        lambda: shown.sampled(run, 2, 0),
        lambda: shown.reconstructed(run, 3),
    ):
        with pytest.raises(EvaluationError, match="NaN or infinity"):
            make()
