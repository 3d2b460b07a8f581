from __future__ import annotations

import json
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit.config import build, read_recipe
from acaikit.config.resolve import differences
from acaikit.errors import ConfigError, UserError
from acaikit.experiment import Experiment
from acaikit.recipes import STUDY, shipped
from acaikit.studies import plan
from acaikit.studies.layout import NAME, StudyDir
from acaikit.studies.plan import Draft, draft

VALUES = st.one_of(
    st.integers(-3, 3), st.floats(0, 1), st.text(max_size=8), st.sampled_from(["a b", "a_b", "'a b'", "ä", "x" * 300])
)
GRIDS = st.dictionaries(
    st.sampled_from(["ACAI.weight", "depth", "Experiment.batch_size", "s/KL.weight"]),
    st.lists(VALUES, min_size=1, max_size=4, unique_by=(plan._written, lambda value: value)),
    max_size=3,
)


@cache
def drafted(name: str) -> Draft:
    """A shipped study's draft, which takes a while to make."""
    return draft(name)


def study(folder: Path, text: str) -> str:
    file = folder / "own.gin"
    file.write_text(text)
    return str(file)


@settings(deadline=None, max_examples=60)
@given(GRIDS)
def test_whatever_the_grid_names_are_distinct_and_lead_nowhere_else(grid: dict) -> None:
    cells = list(plan._cells(plan.Study(["r"], grid=grid)))
    tails = plan._tails(cells)
    assert len(set(tails)) == len(cells) == len(tails)
    assert all(NAME.fullmatch(f"mnist_denoising_acai_256{tail}-s4") for tail in tails)
    assert plan._tails(cells) == tails
    # A value more changes the name of no other: its run would begin anew.
    for drop in range(len(cells)):
        rest = cells[:drop] + cells[drop + 1 :]
        assert plan._tails(rest) == tails[:drop] + tails[drop + 1 :]


def test_names_are_what_a_reader_expects(tmp_path: Path) -> None:
    grid = "Study.grid = {'ACAI.weight': [0.1, 1], 'Experiment.batch_size': [16]}"
    found = draft(study(tmp_path, f"Study.recipes = ['quickstart']\nStudy.seeds = [3, 0]\n{grid}\n"))
    assert [run.name for run in found.plan.runs] == [
        f"quickstart,ACAI.weight={weight},batch_size=16-s{seed}" for seed in (3, 0) for weight in ("0.1", "1")
    ]
    assert found.plan.runs[0].overrides == ("ACAI.weight = 0.1", "Experiment.batch_size = 16")
    assert build(found.config(found.plan.runs[0])).seed == 3


def test_a_value_written_in_two_ways_is_one(tmp_path: Path) -> None:
    text = "Study.recipes = ['quickstart']\nStudy.grid = {'ACAI.weight': [0.5, '0.5']}\n"
    with pytest.raises(UserError, match="twice"):
        draft(study(tmp_path, text))


def test_the_longest_names_can_be_read_again(tmp_path: Path) -> None:
    recipe = "r" * 190
    (tmp_path / f"{recipe}.gin").write_text("include 'quickstart.gin'\n")
    grid = f"Study.grid = {{'Experiment.batch_size': [16, 32], 'ACAI.weight': [0.{'1' * 90}]}}"
    text = f"Study.recipes = ['{recipe}.gin']\nStudy.seeds = [1000000000]\n{grid}\n"
    try:
        found = draft(study(tmp_path, text))
    except UserError:
        return  # said so before anything began
    folder = StudyDir(tmp_path / "study")
    folder.write(found.plan, found.recipes)
    assert folder.read() == found.plan


@pytest.mark.parametrize("name", shipped())
def test_a_worker_reads_what_the_recipe_says(tmp_path: Path, name: str) -> None:
    overrides = ["Experiment.samples = 131072", "Experiment.learning_rate = 1e-3", "Experiment.seed = 3"]
    overrides += ["scales = 2"] * ("scales" in read_recipe(name).resolved)
    folder = StudyDir(tmp_path)
    folder.recipe(name).parent.mkdir()
    folder.recipe(name).write_text(read_recipe(name).resolved)
    there = read_recipe(str(folder.recipe(name)), overrides)
    assert list(differences(read_recipe(name, overrides), there)) == []


@pytest.mark.parametrize("name", shipped(STUDY))
def test_what_is_planned_is_what_the_study_says(name: str) -> None:
    found = drafted(name)
    names = [run.name for run in found.plan.runs]
    assert len(set(names)) == len(names)
    assert found.plan.study == name
    for run in found.plan.runs:
        assert isinstance(found.experiments[run.recipe, run.overrides], Experiment)
        assert run.name == f"{run.recipe}-s{run.seed}"
    # Seed by seed: a table is whole as early as can be.
    seeds, recipes = ({getattr(run, part): None for run in found.plan.runs} for part in ("seed", "recipe"))
    assert names == [f"{recipe}-s{seed}" for seed in seeds for recipe in recipes]


def test_seeds_and_bindings_stand_above_the_studys() -> None:
    found = draft("table1", ["Study.recipes = ['lines_vae_64']"], seeds=range(7, 9))
    assert [run.name for run in found.plan.runs] == ["lines_vae_64-s7", "lines_vae_64-s8"]


def test_evaluators_with_their_settings(tmp_path: Path) -> None:
    text = "Study.recipes = ['quickstart']\nStudy.evaluators = [@KMeans(), @Reconstruction()]\nKMeans.restarts = 5\n"
    words = draft(study(tmp_path, text)).plan.evaluation
    assert words[:4] == ("--with", "KMeans", "--with", "Reconstruction")
    assert words[4] == "--set" and re.fullmatch(r".*KMeans\.restarts = 5", words[5])
    given = [word for option, word in pairwise(words) if option == "--set"]
    (made,) = build(read_recipe("quickstart", [*given, "Experiment.evaluators = [@KMeans()]"])).evaluators
    assert made.restarts == 5


def test_a_recipe_beside_the_study_comes_first(tmp_path: Path) -> None:
    (tmp_path / "mine.gin").write_text("include 'quickstart.gin'\nACAI.weight = 0.25\n")
    found = draft(study(tmp_path, "Study.recipes = ['mine.gin', 'quickstart']\nStudy.seeds = [0]\n"))
    assert [run.name for run in found.plan.runs] == ["mine-s0", "quickstart-s0"]
    assert "include" not in found.recipes["mine"]
    (tmp_path / "mine.gin").write_text("")
    assert build(found.config(found.plan.runs[0])).regularizers[0].weight == 0.25


def test_all_faults_come_in_one_report(tmp_path: Path) -> None:
    text = (
        "Study.recipes = ['quickstart', 'quikstart', 'lines_vae_64']\nStudy.seeds = [0]\n"
        "Study.overrides = ['Experiment.sampels = 1']\nStudy.grid = {'Experiment.batch_size': [1, -1]}\n"
    )
    with pytest.raises(ConfigError) as caught:
        draft(study(tmp_path, text))
    said = str(caught.value)
    assert "did you mean quickstart" in said and "did you mean samples" in said and "own.gin" in said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("quickstart", "quickstart is a recipe, not a study: acaikit run quickstart"),
        ("tabel1", "no study 'tabel1': did you mean table1"),
        ("no.gin", "no study 'no.gin'"),
    ],
)
def test_what_is_no_study(name: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        draft(name)
    assert said in str(caught.value)


def test_the_papers_tables_and_the_studies_hold_the_same_cells() -> None:
    tables = json.loads((Path(plan.__file__).parents[1] / "report" / "paper_tables.json").read_text())
    models = list(tables["lines"]["smoothness"])
    printed = {
        "table1": {("lines_64", model) for row in tables["lines"].values() for model in row},
        "table2": {(r, m) for r, row in tables["probe_accuracy"].items() if r != "raw_pixels" for m in row},
        "table3": {(r, m) for r, row in tables["clustering_accuracy"].items() if r != "others" for m in row},
    }
    for name, cells in printed.items():
        found = drafted(name)
        split = [run.recipe.split("_") for run in found.plan.runs]
        assert sorted((f"{d}_{size}", m) for d, m, size in split) == sorted(5 * list(cells))
        assert sorted({run.seed for run in found.plan.runs}) == [0, 1, 2, 3, 4]
        assert not any(run.overrides for run in found.plan.runs)
        order = list(dict.fromkeys(model for _, model, _ in split))
        assert order == models
        sizes = list(dict.fromkeys(f"{dataset}_{size}" for dataset, _, size in split))
        assert sizes == sorted(sizes, key=list(dict.fromkeys(r for r, _ in _ordered(tables, name))).index)
    assert drafted("table3").plan.evaluation == ("--with", "KMeans")


def _ordered(tables: dict, name: str) -> list[tuple[str, str]]:
    of = {"table1": {"lines_64": {}}, "table2": tables["probe_accuracy"], "table3": tables["clustering_accuracy"]}[name]
    return [(row, "") for row in of]
