from __future__ import annotations

import json
from pathlib import Path

import pytest

from acaikit.artifacts.rundir import RunDir
from acaikit.config import read_recipe


@pytest.mark.parametrize(
    ("recipe", "parameters"),
    [  # method, section 1; AAE: dense 100, dense 100, dense 1 on 64 numbers; VAE: two linear maps 64 -> 64
        ("lines_acai_64", {"encoder": 627_472, "decoder": 313_985, "critics": {"ACAI": 627_472}}),
        ("lines_baseline_64", {"encoder": 627_472, "decoder": 313_985, "critics": {}}),
        ("lines_aae_64", {"encoder": 627_472, "decoder": 313_985, "critics": {"AdversarialPrior": 16_701}}),
        ("mnist_acai_32", {"encoder": 150_146, "decoder": 75_265, "critics": {"ACAI": 150_146}}),
    ],
)
def test_parameter_counts_of_a_recipe(acaikit, recipe: str, parameters: dict[str, object]) -> None:
    told = json.loads(acaikit("show", recipe, "--sizes", "--json").out)
    assert {key: told["parameters"][key] for key in parameters} == parameters
    assert told["resolved"] == read_recipe(recipe).resolved


def test_layers_of_regularizers_are_counted_apart(acaikit) -> None:
    told = json.loads(acaikit("show", "lines_vae_acai_64", "--sizes", "--json").out)["parameters"]
    assert told["critics"] == {"ACAI": 627_472}
    assert told["regularizers"] == {"KL": 2 * (64 * 64 + 64)}
    assert told["probe"] == 64 * 10 + 10


def test_a_recipe_as_text(acaikit) -> None:
    out, sizes = acaikit("show", "lines_acai_64").out, acaikit("show", "lines_acai_64", "--sizes").out
    said = [read_recipe("lines_acai_64").resolved.strip(), "ConvDecoder", "budget 16,777,216", "not begun"]
    assert all(text in shown for text in said for shown in (out, sizes))
    built = ["627,472", "313,985", "ACAI's critic", "data 1 x 32 x 32, latent 16 x 2 x 2"]
    assert all(text in sizes and text not in out for text in built)


def test_sizes_are_all_that_is_added_to_a_recipe(acaikit) -> None:
    quick = json.loads(acaikit("show", "quickstart", "--json").out)
    thorough = json.loads(acaikit("show", "quickstart", "--sizes", "--json").out)
    assert thorough == quick | {key: thorough[key] for key in ("parameters", "data_shape", "latent_shape")}
    assert quick["budget"] == 131_072
    assert {"name": "ACAI", "kind": "regularizers"}.items() <= quick["parts"][-1].items()


def test_a_recipe_of_ones_own_may_hold_what_looks_like_markup(acaikit) -> None:
    Path("r.gin").write_text("include 'lines_acai_64.gin'\nFactorBenchmark.path = '[red]:x:'\n")
    assert "FactorBenchmark.path = '[red]:x:'" in acaikit("show", "r.gin").out
    said = "r.gin:2: FactorBenchmark.path: no path is called '[red]:x:'"
    assert said in acaikit("show", "r.gin", "--sizes", code=2).err


def test_a_run(acaikit, finished) -> None:
    told = json.loads(acaikit("show", finished, "--json").out)
    assert {key: told[key] for key in ("budget", "samples", "step", "finished", "seed", "checkpoints")} == {
        "budget": 256,
        "samples": 256,
        "step": 4,
        "finished": True,
        "seed": 0,
        "checkpoints": [2, 4],
    }
    assert "Experiment.samples=256" in told["overrides"]
    assert told["plugins"] == {"acaikit": told["libraries"]["acaikit"]}
    assert told["parts"][0].keys() == {"name", "kind", "distribution", "version"}
    out = acaikit("show", finished).out
    assert "budget 256 samples, finished, step 4" in out
    assert "Experiment.samples = 256" in out


def test_what_is_neither_recipe_nor_run(acaikit) -> None:
    assert "did you mean quickstart" in acaikit("show", "quikstart", code=2).err
    assert "holds no run" in acaikit("show", ".", code=2).err
    assert "no recipe ''" in acaikit("show", "", code=2).err
    assert "no recipe" in acaikit("show", "x" * 5000, code=2).err


def test_bindings_stand_above_a_recipe_but_not_above_a_run(acaikit, finished) -> None:
    told = json.loads(acaikit("show", "quickstart", "--set", "Experiment.samples=64", "--json").out)
    assert told["budget"] == 64
    assert "finished is a run, whose bindings stand" in acaikit("show", finished, "--set", "depth=2", code=2).err


def test_a_recipe_larger_than_memory_is_shown_without_building_it(acaikit) -> None:
    told = json.loads(acaikit("show", "quickstart", "--set", "depth=1000000", "--sizes", "--json").out)
    assert told["parameters"]["encoder"] > 10**14


def test_a_run_whose_config_is_of_another_model_is_refused(acaikit, finished) -> None:
    directory = RunDir(finished)
    said = directory.read_run()
    directory.run_file.unlink()
    directory.write_run(said | {"resolved": said["resolved"].replace("depth = 2", "depth = 800")})
    assert "no checkpoint of the model that its config describes" in acaikit("show", finished, code=2).err
