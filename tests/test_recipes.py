from __future__ import annotations

import dataclasses
import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Generator, Tensor

from acaikit.config import build, read_recipe, read_resolved
from acaikit.config.explain import explain
from acaikit.config.resolve import differences
from acaikit.data.base import Dataset, Shuffled, Split, Stream
from acaikit.engine import Trainer
from acaikit.errors import ConfigError, UserError
from acaikit.experiment import Experiment
from acaikit.nets import count_parameters
from acaikit.recipes import STUDY, Recipe, broken, locate, locate_study, named, recipe_root, recipes, shipped
from acaikit.study import Study
from acaikit.types import Shape

GIN = Path(__file__).parents[1] / "gin"
NAMES = sorted(file.stem for file in GIN.glob("*.gin"))
OF_ONES_OWN = [name for name in NAMES if name.startswith(("images_", "arrays_"))]
STUDIES = sorted(file.stem for file in (GIN / "studies").glob("*.gin"))
COMPLETE = [name for name in NAMES if name not in OF_ONES_OWN]


class Size(NamedTuple):
    """A row of the method's table (section 1), and what the set's file says."""

    dataset: str
    data: Shape
    classes: int | None
    latent: Shape
    encoder: int
    decoder: int
    tables: str


LINES = ("Lines", (1, 32, 32), 10)
MNIST = ("MNIST", (1, 32, 32), 10)
SVHN = ("SVHN", (3, 32, 32), 10)
CELEBA = ("CelebA", (3, 32, 32), None)
CIFAR10 = ("CIFAR10", (3, 32, 32), 10)
SIZES = {
    "lines_64": Size(*LINES, (16, 2, 2), 627_472, 313_985, "(paper, Table 1)"),
    "mnist_32": Size(*MNIST, (2, 4, 4), 150_146, 75_265, "(paper, Tables 2 and 3)"),
    "mnist_256": Size(*MNIST, (16, 4, 4), 166_288, 83_329, "(paper, Tables 2 and 3)"),
    "svhn_32": Size(*SVHN, (2, 4, 4), 2_370_178, 1_186_947, "(paper, Tables 2 and 3)"),
    "svhn_256": Size(*SVHN, (16, 4, 4), 2_434_704, 1_219_203, "(paper, Tables 2 and 3)"),
    "celeba_32": Size(*CELEBA, (2, 4, 4), 2_370_178, 1_186_947, "(paper: pictures, no table)"),
    "celeba_256": Size(*CELEBA, (16, 4, 4), 2_434_704, 1_219_203, "(paper: pictures, no table)"),
    "cifar10_256": Size(*CIFAR10, (16, 4, 4), 2_434_704, 1_219_203, "(paper, Table 2)"),
    "cifar10_1024": Size(*CIFAR10, (64, 4, 4), 2_655_936, 1_329_795, "(paper, Table 2)"),
}
# With three scales instead of four, lines have the networks of the other set with one colour and depth 16.
LINES_VQVAE = SIZES["lines_64"]._replace(latent=(16, 4, 4), encoder=166_288, decoder=83_329)

# Method, section 2: the regularizers and every setting of theirs; section 5 for the dropout on CIFAR-10.
MODELS: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "baseline": {},
    "dropout": {"LatentDropout": {"p": 0.5}},
    "denoising": {"Denoising": {"std": 1.0}},
    "vae": {"KL": {"weight": 1}},
    "aae": {"AdversarialPrior": {"weight": 1}},
    "vqvae": {"VQEMA": {"weight": 10, "entries": 2**14, "vectors": 10, "hidden": 512, "decay": 0.999}},
    "acai": {"ACAI": {"weight": 0.5, "gamma": 0.2}},
}
PAPER = [f"{name}_{model}_{size}" for name, size in (key.split("_") for key in SIZES) for model in MODELS]
COMPOSITIONS = [
    f"{name}_{model}_acai_{size}"
    for name, size in (("lines", "64"), ("mnist", "256"))
    for model in MODELS
    if model not in ("baseline", "acai")
]


@pytest.fixture(autouse=True)
def _no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every recipe be checked where there are no data, and see that none are made."""
    monkeypatch.setenv("ACAIKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    assert not list(tmp_path.glob("data")) + list(tmp_path.glob("cache"))


def experiment(name: str) -> Experiment:
    made = build(read_recipe(name))
    assert isinstance(made, Experiment)
    return made


def settings(part: object) -> dict[str, Any]:
    """Return what a part was made with, apart from the parts it was made of."""
    return {name: getattr(part, name) for name in inspect.signature(type(part)).parameters if name != "critic"}


def dense(*widths: int) -> int:
    """Return the number of parameters of dense layers from each width to the next."""
    return sum(a * b + b for a, b in pairwise(widths))


def test_every_recipe_of_the_paper_is_shipped() -> None:
    assert len(set(PAPER)) == 63
    assert shipped() == NAMES
    assert {*PAPER, *COMPOSITIONS, "quickstart", "quickstart_baseline"} <= set(NAMES)


@pytest.mark.parametrize("name", [*PAPER, *COMPOSITIONS])
def test_a_recipe_of_the_paper_is_the_methods(name: str) -> None:
    dataset, *models, latent = name.split("_")
    size = LINES_VQVAE if (dataset, models[0]) == ("lines", "vqvae") else SIZES[f"{dataset}_{latent}"]
    made = experiment(name)

    assert (type(made.dataset).__name__, made.dataset.shape, made.dataset.classes) == size[:3]
    assert (made.batch_size, made.learning_rate) == (64, 1e-4)
    assert (made.samples, made.evaluate_every, made.probe) == (2**24, 2**16, True)
    assert type(made.likelihood).__name__ == ("Bernoulli" if "vae" in models else "MSE")
    expected = {key: dict(said) for model in models for key, said in MODELS[model].items()}
    if {"vae", "acai"} <= set(models):
        # Not the paper's: the Bernoulli likelihood is a sum over 32 x 32 pixels, where MSE is a mean.
        expected["ACAI"]["weight"] = 0.5 * 32 * 32
    assert [(type(r).__name__, settings(r)) for r in made.regularizers] == list(expected.items())

    model, probe = made.build()
    assert (model.data_shape, model.latent_shape) == (size.data, size.latent)
    assert count_parameters(model.encoder) == size.encoder
    assert count_parameters(model.decoder) == size.decoder
    d = math.prod(size.latent)
    assert d == (256 if size is LINES_VQVAE else int(latent))
    critics = {key: count_parameters(r.critic) for key, r in model.regularizers.items() if r.critic is not None}
    counts = {"ACAI": size.encoder, "AdversarialPrior": dense(d, 100, 100, 1)}
    assert critics == {key: counts[key] for key in expected if key in counts}
    layers = {key: count_parameters(r) - critics.get(key, 0) for key, r in model.regularizers.items()}
    counts = {"KL": 2 * dense(d, d), "VQEMA": dense(d, 10 * d) + dense(10 * d, 512, d)}
    assert layers == {key: counts.get(key, 0) for key in expected}
    if "vqvae" in models:
        assert model.regularizers["VQEMA"].codebook.shape == (2**14, d)
    assert (0 if probe is None else count_parameters(probe)) == (dense(d, size.classes) if size.classes else 0)


@pytest.mark.parametrize("name", [*PAPER, *COMPOSITIONS])
def test_a_recipe_of_the_paper_says_where_its_scores_belong(name: str) -> None:
    dataset, *models, latent = name.split("_")
    size = SIZES[f"{dataset}_{latent}"]
    said = (GIN / f"{name}.gin").read_text().splitlines()[0]
    assert said.endswith(f"{size.tables}." if len(models) == 1 else "which the paper doesn't have.")
    evaluators = {type(evaluator).__name__: evaluator for evaluator in experiment(name).evaluators}
    assert ("FactorBenchmark" in evaluators) == (dataset == "lines")
    assert ("ProbeAccuracy" in evaluators) == (size.classes is not None)
    assert settings(evaluators["Reconstruction"])["limit"] == (10_000 if dataset == "celeba" else 1_000)


@pytest.mark.parametrize("name", [f"{dataset}_{model}_16" for dataset in ("sinusoid", "disc") for model in MODELS])
def test_a_recipe_of_another_known_factor_is_what_its_name_says(name: str) -> None:
    dataset, model, latent = name.split("_")
    made = experiment(name)
    assert type(made.dataset).__name__.lower() == dataset
    assert [type(r).__name__ for r in made.regularizers] == list(MODELS[model])
    assert math.prod(made.build()[0].latent_shape) == int(latent)
    assert "FactorBenchmark" in {type(evaluator).__name__ for evaluator in made.evaluators}


class Pixels(Dataset):
    """A few random examples in place of a real set."""

    def __init__(self, like: Dataset) -> None:
        self.shape, self.classes = like.shape, like.classes
        noise = torch.Generator().manual_seed(0)
        data = torch.randint(0, 256, (2, *self.shape), generator=noise, dtype=torch.uint8)
        self.split = Split(data, None if self.classes is None else torch.arange(2) % self.classes)

    def train(self, batch_size: int, generator: Generator, device: torch.device | str = "cpu") -> Stream:
        return Shuffled(self.split, batch_size, generator, device)

    def test(self) -> Split:
        return self.split


@pytest.mark.parametrize("name", COMPLETE)
def test_a_step_of_every_recipe(name: str) -> None:
    made = experiment(name)
    trainer = Trainer(dataclasses.replace(made, dataset=Pixels(made.dataset), batch_size=2))
    modules = [trainer.model] if trainer.probe is None else [trainer.model, trainer.probe]
    before = [{key: value.clone() for key, value in module.state_dict().items()} for module in modules]
    losses = trainer.step()
    assert all(loss.isfinite() for loss in losses.values())
    # Weights of every player, and what moves without a gradient: a codebook.
    for module, old in zip(modules, before, strict=True):
        now: dict[str, Tensor] = module.state_dict()
        assert [key for key, value in now.items() if torch.equal(value, old[key]) or not value.isfinite().all()] == []
    critics = {key for key, r in trainer.model.regularizers.items() if r.critic is not None}
    assert set(trainer.optimizers) == {"model", *critics, *(["probe"] if made.dataset.classes else [])}
    for optimizer in trainer.optimizers.values():
        assert isinstance(optimizer, torch.optim.Adam)
        (group,) = optimizer.param_groups
        assert (group["lr"], group["betas"], group["eps"]) == (made.learning_rate, (0.9, 0.999), 1e-8)
        assert (group["weight_decay"], group["amsgrad"]) == (0, False)


@pytest.mark.parametrize("name", OF_ONES_OWN)
def test_a_recipe_for_data_of_ones_own_says_how_to_name_them(name: str) -> None:
    (path,) = [b for b in read_recipe(name).bindings.values() if b.parameter == "path"]
    with pytest.raises(ConfigError, match="--set") as caught:
        build(read_recipe(name))
    assert [fault.startswith(f"{path.where}: ") for fault in caught.value.faults] == [True]
    assert isinstance(build(read_recipe(name, [f"{path.label} = 'elsewhere.npz'"])), Experiment)


@pytest.mark.parametrize("name", NAMES)
def test_resolved_says_the_same_without_any_other_file(name: str) -> None:
    config = read_recipe(name)
    again = read_resolved(config.resolved)
    assert again.resolved == config.resolved
    assert list(differences(config, again)) == []
    assert "include" not in config.resolved


def test_the_table_of_recipes_is_whole() -> None:
    """Every recipe has one row in gin/README.md, and every row has recipes."""
    recipes_alone = (GIN / "README.md").read_text().partition("## Studies")[0]
    rows = [line for line in recipes_alone.splitlines() if line.startswith("| `")]
    told = [pattern for row in rows for pattern in re.findall(r"`(\w+)`", row.split("|")[1])]
    patterns = {row: re.compile(row.replace("MODEL", f"({'|'.join(MODELS)})")) for row in told}
    meant = {name: [row for row, pattern in patterns.items() if pattern.fullmatch(name)] for name in NAMES}
    assert {name: rows for name, rows in meant.items() if len(rows) != 1} == {}
    assert {row for rows in meant.values() for row in rows} == set(told)


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
        ("elsewhere/quickstart", "there is no file and no recipe 'elsewhere/quickstart'"),
        ("../gin/quickstart.gin", "there is no file"),
        ("data/lines", "there is no file"),
        ("", "known: "),
        (".", "'.' is a folder, not a recipe: a run directory goes on with acaikit resume ."),
        ("x" * 5000, "known: "),
        ("a\0b", "known: "),
    ],
)
def test_a_recipe_that_is_not_there(name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        locate(name)
    assert said in str(caught.value)


@pytest.fixture
def plugins(install: Callable[..., Path]) -> Path:
    """Two distributions with recipes: a package without an ``__init__.py``, and one that can't be imported."""
    baseline = "include 'model/baseline.gin'\ninclude 'data/small_lines.gin'\n"
    texts = {"one/recipes/own.gin": baseline, "one/recipes/same.gin": baseline, "one/recipes/quickstart.gin": baseline}
    install("acai-one", "1.0", {"recipes": {"one": "one.recipes"}}, texts)
    return install(
        "acai-two",
        "1.0",
        {"recipes": {"two": "two", "gone": "nowhere.at.all"}},
        {"two/__init__.py": "1 / 0", "two/same.gin": baseline, "two/parts/inner.gin": "x = 1\n"},
    )


def test_plugins_recipes_have_names_too(plugins: Path) -> None:
    assert [recipe for recipe in recipes() if recipe.distribution == "acaikit"] == [
        Recipe(name, "acaikit", recipe_root() / f"{name}.gin") for name in NAMES
    ]
    others = {recipe.full_name: recipe.file for recipe in recipes() if recipe.distribution != "acaikit"}
    assert others == {
        "acai_one.own": plugins / "one" / "recipes" / "own.gin",
        "acai_one.quickstart": plugins / "one" / "recipes" / "quickstart.gin",
        "acai_one.same": plugins / "one" / "recipes" / "same.gin",
        "acai_two.same": plugins / "two" / "same.gin",
    }
    assert shipped() == NAMES
    for name in ("own", "own.gin", "acai_one.own", "acai_one.own.gin"):
        assert locate(name) == others["acai_one.own"]
    assert isinstance(build(read_recipe("own")), Experiment)


def test_a_package_that_brings_no_recipe_is_broken_and_breaks_nothing(install: Callable[..., Path]) -> None:
    packages = {
        "gone": "nowhere.at.all",
        "odd": "no package",
        "attribute": "full:recipes",
        "root": "full./",
        "empty": "empty",
        "none": "",
    }
    site = install("acai-odd", "1.0", {"recipes": packages}, {"empty/x.txt": "", "full/found.gin": "x = 1\n"})
    reasons = {package.name: reason for package, reason in broken().items()}
    assert reasons == {
        "gone": "there is no package 'nowhere.at.all'",
        "odd": "there is no package 'no package'",
        "attribute": "there is no package 'full:recipes'",
        "root": "there is no package 'full./'",
        "none": "there is no package ''",
        "empty": f"there is no .gin file in {site / 'empty'}",
    }
    assert {recipe.distribution for recipe in recipes()} == {"acaikit"}
    with pytest.raises(UserError, match="no recipe 'found'"):
        locate("found")


def test_every_name_that_is_listed_finds_its_recipe(plugins: Path) -> None:
    listed = named()
    assert {name: locate(name) for name in listed} == {name: recipe.file for name, recipe in listed.items()}
    assert set(listed) - set(NAMES) == {"own", "acai_one.quickstart", "acai_one.same", "acai_two.same"}


def test_a_recipes_first_comment_is_its_description(tmp_path: Path) -> None:
    texts = {"\n# A few words.\n# More.\nx = 1\n": "A few words.", "x = 1\n# No.\n": "", "": "", "\ufeff#Bom\n": "Bom"}
    file = tmp_path / "r.gin"
    for text, description in texts.items():
        file.write_text(text, encoding="utf-8")
        assert Recipe("r", "acaikit", file).description == description
    assert Recipe("gone", "acaikit", tmp_path / "gone.gin").description == ""
    assert all(recipe.description for recipe in recipes())


def test_a_recipe_that_acaikit_plugins_leaves_out(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACAIKIT_PLUGINS", "")
    with pytest.raises(UserError) as caught:
        locate("own")
    assert str(caught.value) == (
        "there is no file and no recipe 'own': acai-one has one, but ACAIKIT_PLUGINS='' leaves it out"
    )
    assert locate("quickstart") == recipe_root() / "quickstart.gin"
    assert set(named()) == set(NAMES)


def test_a_shipped_recipes_name_keeps_its_meaning(plugins: Path) -> None:
    assert locate("quickstart") == locate("acaikit.quickstart") == recipe_root() / "quickstart.gin"
    assert locate("acai_one.quickstart") == plugins / "one" / "recipes" / "quickstart.gin"


def test_two_plugins_with_one_recipe_are_both_named(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError) as caught:
        locate("same")
    assert str(caught.value) == (
        "the recipe 'same' is ambiguous: say acai_one.same (from acai-one) or acai_two.same (from acai-two)"
    )
    assert locate("acai_two.same") == plugins / "two" / "same.gin"
    monkeypatch.setenv("ACAIKIT_PLUGINS", "acai-two")
    assert locate("same") == plugins / "two" / "same.gin"


def test_a_distribution_may_be_written_as_it_is_installed(plugins: Path) -> None:
    assert locate("acai-two.same") == locate("Acai_Two.same") == plugins / "two" / "same.gin"


@pytest.mark.parametrize("name", ["sam", "acai_three.same"])
def test_of_recipes_that_share_a_name_each_is_offered_in_full(plugins: Path, name: str) -> None:
    with pytest.raises(UserError) as caught:
        locate(name)
    assert str(caught.value).endswith(f"no recipe {name!r}: did you mean acai_one.same or acai_two.same?")


def test_a_plugins_recipe_means_its_own_parts(install: Callable[..., Path]) -> None:
    for name in ("one", "two"):
        text = "include 'data/small_lines.gin'\ninclude 'model/baseline.gin'\nExperiment.regularizers = [@Shared()]\n"
        module = f"from acaikit.regularizer import Regularizer\n\n\nclass Shared(Regularizer):\n    by = {name!r}\n"
        install(
            f"acai-{name}",
            "1.0",
            {"regularizers": {"Shared": f"{name}_parts:Shared"}, "recipes": {"r": f"{name}_recipes"}},
            {f"{name}_recipes/r.gin": text, f"{name}_parts.py": module},
        )
    for name in ("one", "two"):
        config = read_recipe(f"acai_{name}.r")
        (made,) = build(config).regularizers
        assert made.by == name
        assert f"@acai_{name}.regularizers.Shared()" in config.resolved
        (explained,) = explain(config, "Experiment.regularizers")
        assert explained.value == f"[@acai_{name}.regularizers.Shared()]"


@pytest.mark.parametrize("name", STUDIES)
def test_a_shipped_study_is_found_and_says_what_it_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = GIN / "studies" / f"{name}.gin"
    for said in (name, f"{name}.gin", f"gin/studies/{name}", f"acaikit.{name}"):
        assert locate_study(said).samefile(file)
    assert isinstance(build(read_recipe(name, root="Study"), "Study"), Study)
    assert named(STUDY)[name].description


def test_studies_are_no_recipes() -> None:
    assert shipped(STUDY) == STUDIES == ["quick", "table1", "table2", "table3"]
    assert not {*STUDIES} & {*NAMES}


def test_the_table_of_studies_is_whole() -> None:
    """Every study has one row in gin/README.md, with the number of its runs."""
    text = (GIN / "README.md").read_text().partition("## Studies")[2]
    rows = [line.split("|")[1:4] for line in text.splitlines() if line.startswith("| `")]
    told = {row[0].strip(" `"): int(row[2]) for row in rows}
    studies = {name: build(read_recipe(name, root="Study"), "Study") for name in STUDIES}
    assert told == {name: len(study.recipes) * len(study.seeds) for name, study in studies.items()}


@pytest.mark.parametrize(
    "name", ["table1", "table1.gin", "gin/studies/table1", "acaikit.table1", str(GIN / "studies/table1.gin")]
)
def test_a_study_for_a_recipe(name: str) -> None:
    with pytest.raises(UserError) as caught:
        read_recipe(name, ["ACAI.weight = 1.0"])
    assert str(caught.value) == f"{name} is a study, not a recipe: acaikit sweep {name}"


@pytest.mark.parametrize("name", ["quickstart", "gin/quickstart.gin", str(GIN / "quickstart.gin")])
def test_a_recipe_for_a_study(name: str) -> None:
    with pytest.raises(UserError) as caught:
        read_recipe(name, ["Study.seeds = [1]"], root="Study")
    assert str(caught.value) == f"{name} is a recipe, not a study: acaikit run {name}"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tabel1", "there is no file and no study 'tabel1': did you mean table1"),
        ("", "known: quick, table1, table2, table3"),
        (".", "'.' is a folder, not a study, and no study was swept there"),
        ("elsewhere/table1", "a study by name has no folder in it"),
        ("studies/table1", "a study by name has no folder in it"),
        ("x" * 5000, "known: "),
        ("a\0b", "known: "),
    ],
)
def test_a_study_that_is_not_there(name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        locate_study(name)
    assert said in str(caught.value)


def test_plugins_may_bring_studies(install: Callable[..., Path]) -> None:
    text = "# Mine.\nStudy.recipes = ['quickstart']\n"
    site = install(
        "acai-one", "1.0", {"recipes": {"one": "one"}}, {"one/studies/mine.gin": text, "one/studies/quick.gin": text}
    )
    assert locate_study("mine") == locate_study("acai_one.mine") == site / "one/studies/mine.gin"
    assert locate_study("quick") == recipe_root() / "studies" / "quick.gin"
    assert set(named(STUDY)) == {*STUDIES, "mine", "acai_one.quick"}
    assert set(named()) == set(NAMES)
    assert broken() == {}  # studies alone will do
