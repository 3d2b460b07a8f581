from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from acaikit.config import build, read_recipe
from acaikit.errors import ConfigError, UserError
from acaikit.studies.plan import draft
from acaikit.studies.read import read_study


def study(folder: Path, text: str) -> str:
    file = folder / "own.gin"
    file.write_text(text)
    return str(file)


def faults(file: str, *settings: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_study(Path(file), settings)
    return caught.value.faults


def test_what_belongs_to_the_experiments(tmp_path: Path) -> None:
    file = study(tmp_path, "Study.recipes = ['quickstart']\nExperiment.samples = 3\nscales = 2\nStudy.seed = [1]\n")
    given = "ACAI.weight=1"
    found = faults(file, given)
    not_of = "is not of the study but of its experiments: write it into Study.overrides, beside what is there:"
    assert found[:3] == [
        f"{file}:2: Experiment.samples {not_of} 'Experiment.samples = 3'",
        f"{file}:3: scales {not_of} 'scales = 2'",
        f"--set '{given}': ACAI.weight {not_of} 'ACAI.weight = 1'",
    ]
    assert len(found) == 4 and found[3].startswith(f"{file}:4: Study has no parameter 'seed'")


def test_a_recipe_that_is_included(tmp_path: Path) -> None:
    (tmp_path / "mine.gin").write_text("include 'quickstart.gin'\n")
    for included in ("quickstart.gin", "mine.gin", "model/acai.gin"):
        file = study(tmp_path, f"Study.recipes = ['quickstart']\ninclude '{included}'\n")
        (said,) = faults(file)
        assert said.startswith(f"{file}:2: what is included has settings of an experiment, such as ")
        assert said.endswith("names them in Study.recipes")


def test_a_study_may_include_another_and_have_macros(tmp_path: Path) -> None:
    (tmp_path / "base.gin").write_text("Study.recipes = ['quickstart']\nmany = [1, 2, 3]\nStudy.seeds = %many\n")
    _, found = read_study(Path(study(tmp_path, "include 'base.gin'\nmany = [4]\n")))
    assert (found.recipes, found.seeds) == (["quickstart"], [4])


def test_evaluators_with_their_settings(tmp_path: Path) -> None:
    text = "Study.recipes = ['quickstart']\nStudy.evaluators = [@KMeans(), @Reconstruction()]\nKMeans.restarts = 5\n"
    words = draft(study(tmp_path, text)).plan.evaluation
    assert words[:4] == ("--with", "KMeans", "--with", "Reconstruction")
    assert words[4] == "--set" and re.fullmatch(r".*KMeans\.restarts = 5", words[5])
    given = [word for option, word in pairwise(words) if option == "--set"]
    (made,) = build(read_recipe("quickstart", [*given, "Experiment.evaluators = [@KMeans()]"])).evaluators
    assert made.restarts == 5


@pytest.mark.parametrize("named", ["@a/KMeans()", "%mine"])
def test_an_evaluator_has_one_setting(tmp_path: Path, named: str) -> None:
    text = f"Study.recipes = ['quickstart']\nStudy.evaluators = [{named}]\nmine = @KMeans()\n"
    text = text if "%" in named else text.partition("mine")[0]
    with pytest.raises(UserError, match=r"own\.gin:2: name each evaluator itself, .* one setting$"):
        draft(study(tmp_path, text))
