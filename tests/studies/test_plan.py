from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest

from acaikit.config import build, read_recipe
from acaikit.config.resolve import differences
from acaikit.errors import ConfigError, UserError
from acaikit.experiment import Experiment
from acaikit.recipes import STUDY, shipped
from acaikit.studies import plan
from acaikit.studies.layout import StudyDir
from acaikit.studies.plan import Draft, draft


@cache
def drafted(name: str) -> Draft:
    """A shipped study's draft, which takes a while to make."""
    return draft(name)


def study(folder: Path, text: str) -> str:
    file = folder / "own.gin"
    file.write_text(text)
    return str(file)


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


def faults(file: str, *settings: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        draft(file, settings)
    return caught.value.faults


def test_a_fault_is_told_once_with_its_line_in_the_study(tmp_path: Path) -> None:
    text = (
        "Study.recipes = ['quickstart', 'lines_vae_64']\nStudy.overrides = [\n  'Experiment.batch_size = -2',\n"
        "  'Experiment.sampels = 1']\nStudy.grid = {'Experiment.depht': [3, 4, 5], 'ACIA.weight': [1, 2],\n"
        "  'Experiment.seed': [1, 2]}\n"
    )
    file = study(tmp_path, text)
    found = faults(file)
    assert sorted(found) == sorted(set(found)) and "(with " not in "".join(found)
    # A part that is misspelled is found in reading, and then nothing is built.
    assert [fault.partition(": ")[0] for fault in found] == [f"{file}:5"]
    found = faults(study(tmp_path, text.replace("'ACIA.weight': [1, 2],", "")))
    assert [fault.partition(": ")[::2] for fault in found] == [(f"{file}:5", "the seeds are what Study.seeds says")]
    text = text.replace("'ACIA.weight': [1, 2],", "").replace("'Experiment.seed': [1, 2]", "")
    found = faults(study(tmp_path, text))
    assert [fault.partition(": ")[0] for fault in found] == [f"{file}:2", f"{file}:2", f"{file}:5"]
    assert "depht" in found[2]


def test_a_parameter_that_is_set_twice(tmp_path: Path) -> None:
    grid = "Study.grid = {'ACAI.weight': [0.0, 0.1, 0.5]}\n"
    file = study(tmp_path, f"Study.recipes = ['quickstart']\nStudy.overrides = ['ACAI.weight = 0.1']\n{grid}")
    again = "ACAI.weight is bound a second time; the first is"
    assert faults(file) == [f"{file}:3: {again} {file}:2: keep one of them"]
    given = "Study.overrides = ['ACAI.weight = 1']"
    (said,) = faults(file, given)
    assert said == f"{file}:3: {again} --set {given!r}: keep one of them"


def test_what_does_not_fit_all_recipes(tmp_path: Path) -> None:
    text = "Study.recipes = ['quickstart', 'quickstart_baseline']\nStudy.grid = {'ACAI.weight': [0.1, 0.5]}\n"
    (said,) = faults(study(tmp_path, text))
    assert said.startswith(f"{tmp_path / 'own.gin'}:2: nothing reads ACAI.weight")
    assert "(with quickstart_baseline; what is meant for some recipes alone goes into a study of theirs" in said


def test_a_recipes_own_fault(tmp_path: Path) -> None:
    (tmp_path / "mine.gin").write_text("include 'quickstart.gin'\nExperiment.batch_size = -3\n")
    (said,) = faults(study(tmp_path, "Study.recipes = ['quickstart', 'mine.gin']\nStudy.overrides = ['scales = 2']\n"))
    assert re.match(r"mine, resolved:\d+: .*-3 \(with mine\)$", said)


def test_a_study_with_the_name_of_its_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "Study.recipes = ['acaikit.quickstart']\nStudy.overrides = ['ACAI.weight = 0.25']\n"
    Path("quickstart.gin").write_text(text)
    found = draft("quickstart.gin", seeds=[1])
    assert build(found.config(found.plan.runs[0])).regularizers[0].weight == 0.25


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
