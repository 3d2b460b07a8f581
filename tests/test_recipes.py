from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from acaikit.config import build, read_recipe, read_resolved
from acaikit.config.resolve import differences
from acaikit.errors import UserError
from acaikit.experiment import Experiment
from acaikit.nets import count_parameters
from acaikit.recipes import locate, recipe_root, shipped

NAMES = sorted(file.stem for file in (Path(__file__).parents[1] / "gin").glob("*.gin"))

# Method, section 2: the regularizers, and whether the likelihood is the Bernoulli.
MODELS: Mapping[str, list[str]] = {
    "baseline": [],
    "dropout": ["LatentDropout"],
    "denoising": ["Denoising"],
    "vae": ["KL"],
    "aae": ["AdversarialPrior"],
    "vqvae": ["VQEMA"],
    "acai": ["ACAI"],
}

# Method, section 1: latent shape, parameters of encoder and decoder. On lines the VQ-VAE has three scales.
SIZES = {
    ("lines", "64"): ((16, 2, 2), 627_472, 313_985),
    ("lines", "256"): ((16, 4, 4), 166_288, 83_329),
    ("mnist", "32"): ((2, 4, 4), 150_146, 75_265),
    ("mnist", "256"): ((16, 4, 4), 166_288, 83_329),
}


def parse(name: str) -> tuple[str, list[str], str]:
    """Return dataset, models and size of a recipe's name: ``lines_vae_acai_64`` is VAE with ACAI on lines."""
    if name.startswith("quickstart"):
        return "quickstart", [name.removeprefix("quickstart").strip("_") or "acai"], "64"
    dataset, *models, size = name.split("_")
    return dataset, models, size


def experiment(name: str) -> Experiment:
    made = build(read_recipe(name))
    assert isinstance(made, Experiment)
    return made


def test_every_recipe_of_the_paper_is_shipped() -> None:
    assert shipped() == NAMES
    paper = {f"lines_{model}_64" for model in MODELS} | {f"mnist_{m}_{size}" for m in MODELS for size in (32, 256)}
    assert paper | {"quickstart", "quickstart_baseline"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_what_its_name_says(name: str) -> None:
    dataset, models, size = parse(name)
    made = experiment(name)
    model, probe = made.build()
    assert [type(r).__name__ for r in made.regularizers] == [r for m in models for r in MODELS[m]]
    assert type(made.likelihood).__name__ == ("Bernoulli" if "vae" in models else "MSE")
    assert type(made.dataset).__name__ == ("MNIST" if dataset == "mnist" else "Lines")
    assert (model.data_shape, made.dataset.classes, made.batch_size) == (made.dataset.shape, 10, 64)
    assert probe is not None
    critics = {key: count_parameters(r.critic) for key, r in model.regularizers.items() if r.critic is not None}
    if dataset == "quickstart":
        assert made.samples < 2**24
        return
    assert (made.samples, made.learning_rate, made.evaluate_every) == (2**24, 1e-4, 2**16)
    shape, encoder, decoder = SIZES[dataset, "256" if (dataset, models[0]) == ("lines", "vqvae") else size]
    assert model.data_shape == (1, 32, 32)
    assert model.latent_shape == shape
    assert count_parameters(model.encoder) == encoder
    assert count_parameters(model.decoder) == decoder
    d = shape[0] * shape[1] * shape[2]
    expected = {"ACAI": encoder, "AdversarialPrior": (d * 100 + 100) + (100 * 100 + 100) + (100 + 1)}
    assert critics == {key: expected[key] for key in model.regularizers if key in expected}


@pytest.mark.parametrize("name", NAMES)
def test_resolved_says_the_same_without_any_other_file(name: str) -> None:
    config = read_recipe(name)
    again = read_resolved(config.resolved)
    assert again.resolved == config.resolved
    assert list(differences(config, again)) == []
    assert "include" not in config.resolved


@pytest.mark.parametrize("name", ["quickstart", "quickstart.gin", "gin/quickstart", "gin/quickstart.gin"])
def test_shipped_recipes_are_found_from_any_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate(name).samefile(recipe_root() / "quickstart.gin")


def test_a_file_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quickstart.gin").write_text("")
    assert locate("quickstart.gin") == Path("quickstart.gin")
    assert locate("quickstart").samefile(recipe_root() / "quickstart.gin")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("quikstart", "did you mean quickstart"),
        ("QUICKSTART", "did you mean quickstart"),
        ("lines_acai", "did you mean lines_acai_64"),
        ("elsewhere/quickstart", "there is no file and no shipped recipe 'elsewhere/quickstart'"),
        ("../gin/quickstart.gin", "there is no file"),
        ("data/lines", "there is no file"),
        ("", "known: "),
        (".", "known: "),
        ("x" * 5000, "known: "),
        ("a\0b", "known: "),
    ],
)
def test_a_recipe_that_is_not_there(name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        locate(name)
    assert said in str(caught.value)
