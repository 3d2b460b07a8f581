from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from acaikit.data.base import Split
from acaikit.densities import Gaussian, KernelDensity
from acaikit.errors import EvaluationError, UserError
from acaikit.evaluators.base import Trained
from acaikit.evaluators.realism import RealismIndex, empirical_index, prior_index
from acaikit.paths import lerp
from acaikit.paths.geodesic import Geodesic
from acaikit.regularizers import ACAI, KL, AdversarialPrior


@pytest.fixture(autouse=True)
def _few_training_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acaikit.evaluators.base.LATENTS", 300)


class Flat(torch.nn.Module):
    """An encoder that reads 8 of a line image's 64 pixels as latents."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x.flatten(1)[:, :8].view(-1, 2, 2, 2)


def of_samples(trained: Trained, monkeypatch: pytest.MonkeyPatch, test: int = 512, train: int = 4000) -> Trained:
    """Give a model latents that are samples of N(0, I) in 8 dimensions."""
    draw = torch.Generator().manual_seed(0)
    splits = [Split(torch.randn(count, 1, 8, 8, generator=draw)) for count in (test, train)]
    monkeypatch.setattr(trained.dataset, "test", lambda: splits[0])
    monkeypatch.setattr(trained.dataset, "training", lambda limit: splits[1])
    trained.model.encoder = Flat()
    return trained


@settings(deadline=None)
@given(size=st.integers(1, 300), scale=st.floats(0.01, 10), seed=st.integers(0, 2**32 - 1))
def test_prior_index_in_scipy(size: int, scale: float, seed: int) -> None:
    z = np.random.default_rng(seed).normal(size=(4, size)) * scale
    expected = scipy.stats.chi2(size).sf((z**2).sum(1))
    np.testing.assert_allclose(prior_index(torch.from_numpy(z)), expected, rtol=1e-9)


def test_prior_index_is_the_share_of_samples_that_are_less_likely() -> None:
    draw = np.random.default_rng(0)
    samples, z = draw.normal(size=(100_000, 5)), draw.normal(size=(6, 5))
    density = scipy.stats.multivariate_normal(np.zeros(5))
    expected = [(density.pdf(samples) <= density.pdf(point)).mean() for point in z]
    np.testing.assert_allclose(prior_index(torch.from_numpy(z)), expected, atol=0.01)


@settings(deadline=None)
@given(
    scores=st.lists(st.integers(-5, 5), min_size=1, max_size=20),
    reference=st.lists(st.integers(-5, 5), min_size=1, max_size=30),
)
def test_empirical_index_by_counting(scores: list[int], reference: list[int]) -> None:
    expected = [(sum(r < s for r in reference) + sum(r == s for r in reference) / 2) / len(reference) for s in scores]
    found = empirical_index(np.array(scores, dtype=float), np.array(reference, dtype=float))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_scores_in_brute_force(tiny: Callable[..., Trained]) -> None:
    trained = tiny(test_size=21, regularizers=[ACAI(), AdversarialPrior()])
    model = trained.model
    x = trained.dataset.test().data
    a, b = model.encode(x[[0, 4, 8]]), model.encode(x[[12, 16, 20]])
    z = torch.stack([a + (b - a) * t for t in np.linspace(0, 1, 5)], 1).view(15, 2, 2, 2)
    latents = trained.latents
    known, reference = latents[::2].flatten(1), latents[1::2]

    def rank(score: Callable[[Tensor], Tensor]) -> np.ndarray:
        usual = score(reference).numpy()
        return np.array([(usual < s).mean() + (usual == s).mean() / 2 for s in score(z).numpy()]).reshape(3, 5)

    found = RealismIndex(pairs=3, steps=5).evaluate(trained)
    expected = {
        "prior": scipy.stats.chi2(8).sf(z.flatten(1).double().square().sum(1).numpy()).reshape(3, 5),
        "gaussian": rank(lambda p: Gaussian.fit(known).log_density(p.flatten(1))),
        "kernel": rank(lambda p: KernelDensity.fit(known).log_density(p.flatten(1))),
        "critic_ACAI": rank(lambda p: -model.regularizers["ACAI"].critic(model.decode(p))),
        "critic_AdversarialPrior": rank(lambda p: model.regularizers["AdversarialPrior"].critic(p)),
    }
    assert set(found.arrays) == {f"index/{column}" for column in expected}
    assert set(found.scores) == {f"{row}/{column}" for column in expected for row in ("ends", "middle", "lowest")}
    for column, index in expected.items():
        assert found.arrays[f"index/{column}"].dtype == np.float64
        np.testing.assert_allclose(found.arrays[f"index/{column}"], index, atol=2e-3)
        index = found.arrays[f"index/{column}"]
        assert found.scores[f"ends/{column}"] == pytest.approx(index[:, [0, 4]].mean())
        assert found.scores[f"middle/{column}"] == pytest.approx(index[:, 2].mean())
        assert found.scores[f"lowest/{column}"] == pytest.approx(index.min(1).mean())


def test_of_an_even_number_of_points_two_are_in_the_middle(tiny: Callable[..., Trained]) -> None:
    found = RealismIndex(pairs=4, steps=6, scores=["prior"]).evaluate(tiny())
    assert found.scores["middle/prior"] == pytest.approx(found.arrays["index/prior"][:, 2:4].mean())
    found = RealismIndex(pairs=4, steps=2, scores=["prior"]).evaluate(tiny())
    assert found.scores["middle/prior"] == pytest.approx(found.scores["ends/prior"])


def test_samples_of_the_prior(tiny: Callable[..., Trained], monkeypatch: pytest.MonkeyPatch) -> None:
    """Real latents are at 0.5 and uniform; halfway along a straight line they are too likely, and off the shell."""
    trained = of_samples(tiny(), monkeypatch)
    found = RealismIndex(scores=["prior", "gaussian", "kernel", "shell"]).evaluate(trained)
    for column in ("prior", "gaussian", "kernel", "shell"):
        ends = found.arrays[f"index/{column}"][:, [0, -1]].ravel()
        assert found.scores[f"ends/{column}"] == pytest.approx(0.5, abs=0.05)
        assert scipy.stats.kstest(ends, "uniform").pvalue > 1e-3
    draw = np.random.default_rng(0)
    halfway = scipy.stats.chi2(8).sf(draw.chisquare(8, 100_000) * (49 + 64) / 225).mean()
    assert found.scores["middle/prior"] == pytest.approx(halfway, abs=0.03)
    assert found.scores["middle/prior"] == pytest.approx(found.scores["middle/gaussian"], abs=0.03)
    assert found.scores["middle/shell"] < 0.38
    round_ = RealismIndex(path="slerp", scores=["prior", "shell"]).evaluate(trained)
    assert round_.scores["middle/prior"] == pytest.approx(0.5, abs=0.05)
    assert round_.scores["middle/shell"] > 0.45


def test_densities_are_not_ranked_against_what_they_were_fitted_to(
    tiny: Callable[..., Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kernel's own centre is far likelier than any new sample: among the centres, ends would be near 0."""
    trained = of_samples(tiny(), monkeypatch, train=200)
    assert RealismIndex(scores=["kernel"]).evaluate(trained).scores["ends/kernel"] == pytest.approx(0.5, abs=0.1)
    centres = trained.latents[::2].flatten(1)
    density = KernelDensity.fit(centres)
    test = trained.dataset.test().data.flatten(1)[:, :8]
    assert empirical_index(density.log_density(test).numpy(), density.log_density(centres).numpy()).mean() < 0.2


def detour(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    return lerp(a, b, t) + 100 * (t * (1 - t)).view(1, -1, 1, 1, 1)


def test_latents_far_from_the_data_are_unreal(tiny: Callable[..., Trained], monkeypatch: pytest.MonkeyPatch) -> None:
    trained = of_samples(tiny(), monkeypatch)
    found = RealismIndex(path=detour, scores=["prior", "gaussian", "kernel", "shell"]).evaluate(trained)
    assert all(found.scores[f"middle/{column}"] < 1e-3 for column in ("prior", "gaussian", "kernel", "shell"))
    assert all(found.scores[f"ends/{column}"] > 0.4 for column in ("prior", "gaussian", "kernel", "shell"))


@pytest.mark.parametrize("regularizers", [[], [KL()]])
def test_a_model_without_critics(tiny: Callable[..., Trained], regularizers: list[object]) -> None:
    trained = tiny(regularizers=regularizers)
    found = RealismIndex(pairs=2).evaluate(trained)
    assert {name.partition("/")[2] for name in found.scores} == {"prior", "gaussian", "kernel"}
    with pytest.raises(EvaluationError, match="no critic"):
        RealismIndex(pairs=2, scores=["critic"]).evaluate(trained)


def test_latents_are_decoded_for_critics_only(tiny: Callable[..., Trained], monkeypatch: pytest.MonkeyPatch) -> None:
    trained = tiny(regularizers=[ACAI()])
    monkeypatch.setattr(trained.model, "decode", None)
    RealismIndex(pairs=2, scores=["prior", "gaussian", "kernel", "shell"]).evaluate(trained)
    with pytest.raises(TypeError):
        RealismIndex(pairs=2, scores=["critic"]).evaluate(trained)


def test_a_critic_that_says_the_same_of_all(tiny: Callable[..., Trained]) -> None:
    trained = tiny(regularizers=[ACAI()])
    for parameter in trained.model.regularizers["ACAI"].critic.parameters():
        parameter.zero_()
    assert (RealismIndex(scores=["critic"]).evaluate(trained).arrays["index/critic_ACAI"] == 0.5).all()


def test_two_test_examples(tiny: Callable[..., Trained]) -> None:
    trained = tiny(test_size=2)
    assert RealismIndex().fits(trained)
    found = RealismIndex().evaluate(trained)
    assert found.arrays["index/kernel"].shape == (1, 16)
    assert all(0 <= score <= 1 for score in found.scores.values())


def test_a_single_test_example_makes_no_path(tiny: Callable[..., Trained], monkeypatch: pytest.MonkeyPatch) -> None:
    trained = tiny()
    monkeypatch.setattr(trained.dataset, "test", lambda: Split(torch.zeros(1, 1, 8, 8)))
    assert not RealismIndex().fits(trained)


@pytest.mark.parametrize("train", [1, 2])
def test_too_few_training_examples(tiny: Callable[..., Trained], monkeypatch: pytest.MonkeyPatch, train: int) -> None:
    trained = of_samples(tiny(), monkeypatch, train=train)
    with pytest.raises(EvaluationError, match="fewer than two" if train == 1 else "all the same"):
        RealismIndex(scores=["gaussian"]).evaluate(trained)
    RealismIndex(scores=["prior"]).evaluate(trained)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_diverged_encoder(tiny: Callable[..., Trained], monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    trained = of_samples(tiny(), monkeypatch)
    trained.model.encoder.scale.fill_(value)
    with pytest.raises(EvaluationError, match=r"256 of 256 paths.*diverged.*--step"):
        RealismIndex(scores=["prior"]).evaluate(trained)


def test_diverged_training_latents(tiny: Callable[..., Trained], monkeypatch: pytest.MonkeyPatch) -> None:
    trained = of_samples(tiny(), monkeypatch, train=20)
    trained.dataset.training(None).data[4] = math.nan
    with pytest.raises(EvaluationError, match="1 of 10 training latents hold NaN"):
        RealismIndex(scores=["gaussian"]).evaluate(trained)


def test_a_diverged_critic(tiny: Callable[..., Trained]) -> None:
    trained = tiny(regularizers=[ACAI()])
    next(trained.model.regularizers["ACAI"].critic.parameters()).fill_(math.nan)
    with pytest.raises(EvaluationError, match="ACAI's critic answers with NaN"):
        RealismIndex(scores=["critic"]).evaluate(trained)


def test_constant_latents(tiny: Callable[..., Trained], monkeypatch: pytest.MonkeyPatch) -> None:
    trained = of_samples(tiny(), monkeypatch)
    trained.model.encoder.scale.zero_()
    with pytest.raises(EvaluationError, match="all the same"):
        RealismIndex().evaluate(trained)


def test_other_paths(tiny: Callable[..., Trained], monkeypatch: pytest.MonkeyPatch) -> None:
    trained = of_samples(tiny(), monkeypatch, train=200)
    straight = RealismIndex(pairs=3, steps=5).evaluate(trained)
    for path in (Geodesic(points=5, iterations=3), "LikelyPath"):
        found = RealismIndex(pairs=3, steps=5, path=path).evaluate(trained)
        assert found.scores["ends/kernel"] == pytest.approx(straight.scores["ends/kernel"])
        assert not np.allclose(found.arrays["index/prior"], straight.arrays["index/prior"], atol=1e-9)


def test_settings_and_protocol() -> None:
    assert RealismIndex.key == "realism"
    assert RealismIndex(path=Geodesic()).protocol == {
        "evaluator": "RealismIndex",
        "version": 1,
        "pairs": 256,
        "steps": 16,
        "path": {"path": "Geodesic", "version": 1, "points": 16, "iterations": 25},
        "scores": ("prior", "gaussian", "kernel", "critic"),
    }
    for values, message in (
        ({"pairs": 0}, "RealismIndex.pairs"),
        ({"steps": 1}, "RealismIndex.steps"),
        ({"path": "slurp"}, "did you mean slerp"),
        ({"scores": ["kernal"]}, r"RealismIndex.scores: no score is called 'kernal': did you mean kernel\?"),
        ({"scores": "kernel"}, "must be a list of names"),
        ({"scores": []}, "must be a list of names"),
    ):
        with pytest.raises(UserError, match=message):
            RealismIndex(**values)
