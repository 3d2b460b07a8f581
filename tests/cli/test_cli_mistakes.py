"""What a user can get wrong: each is exit code 2 and one message that says where; never a traceback."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

BASE = """Experiment.dataset = @Lines()
Experiment.encoder = @ConvEncoder()
Experiment.decoder = @ConvDecoder()
Lines.height = 8
Lines.width = 8
ConvEncoder.scales = 2
ConvDecoder.scales = 2
"""
ACAI = f"{BASE}Experiment.regularizers = [@ACAI()]\n"
DEEP = 3000


@pytest.mark.parametrize(
    ("recipe", "line", "said"),
    [
        ("", 1, "nothing sets Experiment.dataset, Experiment.encoder, Experiment.decoder, which have no default"),
        ("{'a': 1}\n", 1, "can't be read"),
        (f"{BASE}x = [1,\n", 8, r"the bracket \[ in `x = \[1,` is never closed"),
        (f"Experiment.regularizers = [@ACAI()\n{BASE}", 1, r"the bracket \[ .* is not closed"),
        (f"{BASE}x = '''abc\n\n\n", 8, "the text in `x = '''abc` is never closed"),
        (f"{BASE}FactorBenchmark.path = slerp\n", 8, r"a text needs quotes \('slerp'\)"),
        (f"{BASE}Experiment.probe = true\n", 8, "write True"),
        (f"{BASE}x = {'[' * DEEP}{']' * DEEP}\n", 8, "more than 100 brackets are open"),
        (f"{BASE}x = {{[1]: 2}}\n", 8, "can't be a dict's key"),
        (f"{BASE}\n😀 = 5\n", 9, "😀 = 5"),
        (f"{BASE}import os\n", 8, "`import os` is refused"),
        (f"{BASE}include '/etc/passwd'\n", 8, "lies outside"),
        (f"{BASE}include '{'x' * 5000}'\n", 8, "is found neither"),
        (f"{BASE}include 'r.gin'\n", 8, r"a circle of includes: r.gin includes r.gin"),
        (f"{BASE}Experiment.seed = 1\nExperiment.seed = 1\n", 9, "bound a second time; the first is r.gin:8"),
        (
            f"{BASE}Experiment.samples = %smaples\nsamples = 5\n",
            8,
            "no macro is called 'smaples': did you mean samples?",
        ),
        (f"{BASE}Experiment.regularizers = [@ACIA()]\n", 8, "no part is called 'ACIA': did you mean ACAI?"),
        (f"{ACAI}ACAI.wieght = 1\n", 9, "ACAI has no parameter 'wieght': did you mean weight?"),
        (f"{BASE}ACAI.weight = 1\n", 8, "nothing reads ACAI.weight: ACAI is not part of this experiment"),
        (f"{BASE}Experiment.regularizers = [@big/ACAI()]\nbug/ACAI.weight = 1\n", 9, "scope 'bug': did you mean big?"),
        (f"{BASE}foo = 1\n", 8, "nothing reads the macro 'foo'"),
        (f"{BASE}Experiment.likelihood = @Experiment()\n", 8, "a circle of references: Experiment needs Experiment"),
        (f"{BASE}Experiment.regularizers = [@ACAI]\n", 8, "not a part that is not made: write @Name"),
        (f"{BASE}Experiment.regularizers = @ACAI()\n", 8, "must be a list"),
        (
            f"{BASE}Experiment.regularizers = ['ACAI']\n",
            8,
            "Experiment.regularizers must be a Regularizer, not 'ACAI'",
        ),
        (f"{BASE}Experiment.regularizers = {{'a': @ACAI()}}\n", 8, "must be a list, not a dict"),
        (f"{BASE}Experiment.likelihood = @Lines()\n", 8, "must be a Likelihood, not a Lines"),
        (f"{BASE}Experiment.seed = -1\n", 8, "Experiment.seed must be a whole number of at least 0, not -1"),
        (f"{BASE}Experiment.samples = 1e3\n", 8, "Experiment.samples must be a whole number of at least 1, not 1000.0"),
        (f"{BASE}Experiment.samples = '5'\n", 8, "Experiment.samples must be a whole number of at least 1, not '5'"),
        (f"{BASE}Experiment.samples = 2**14\n", 8, "can't be read"),
        (f"{BASE}Experiment.samples = %gin.REQUIRED\n", 8, "Experiment.samples is yours to give"),
        (f"{ACAI}ACAI.weight = 'a'\n", 9, r"ACAI.weight \(lambda\) must be a number of at least 0, not 'a'"),
        (f"{ACAI}ACAI.gamma = 2\n", 9, r"ACAI.gamma must be a number in \[0, 1\], not 2"),
        (f"{ACAI}ACAI.critic = @EncoderCritic()\n", 9, "nothing sets EncoderCritic.encoder, which has no default"),
        (BASE.replace("height = 8", "height = 3"), 4, "Lines.height .* at least 4"),
    ],
)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_mistakes_in_a_recipe(acaikit, recipe: str, line: int, said: str, ends: str) -> None:
    Path("r.gin").write_bytes(recipe.replace("\n", ends).encode())
    ran = acaikit("run", "r.gin", "--dry-run", code=2)
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert re.search(rf"r\.gin:{line}: .*{said}", ran.err)
    assert ran.err == acaikit("show", "r.gin", "--sizes", code=2).err


def test_every_fault_is_in_one_report(acaikit) -> None:
    Path("r.gin").write_text(f"{ACAI}ACAI.wieght = 1\nExperiment.sample = 5\n")
    ran = acaikit("run", "r.gin", "--dry-run", "--set", "ACAI.gama=1", code=2)
    assert len(ran.err.splitlines()) == 3
    for said in ("did you mean weight?", "did you mean samples?", "did you mean gamma?"):
        assert said in ran.err


@pytest.mark.parametrize(
    ("binding", "said"),
    [
        ("", "there is no binding in it"),
        ("ACAI.weight", "can't be read"),
        ("ACAI.weight=", "can't be read"),
        ("ACAI.wieght=1", "did you mean weight?"),
        ("ACIA.weight=1", "did you mean ACAI?"),
        ("dpeth=4", "nothing reads the macro 'dpeth': did you mean depth?"),
        ("depth=%foo", "no macro is called 'foo'"),
        ("FactorBenchmark.path=slerp", "a text needs quotes ('slerp')"),
        ("include 'model/vae.gin'", "a binding is expected, not an include"),
        ("import os", "`import os` is refused"),
        ("KL.weight=1", "nothing reads KL.weight"),
        ("x/ACAI.weight=1", "no reference has the scope 'x'"),
        ("ACAI.weight=-1", "ACAI.weight (lambda) must be a number of at least 0, not -1"),
        ("Experiment.regularizers=[@ACAI()", "the bracket [ in `Experiment.regularizers=[@ACAI()` is never closed"),
        ("ACAI.größe=1", "ACAI has no parameter 'größe'"),
        (f"ACAI.weight={'[' * DEEP}", "ACAI.weight"),
    ],
)
def test_mistakes_in_an_override(acaikit, binding: str, said: str) -> None:
    ran = acaikit("run", "quickstart", "--dry-run", "--set", binding, code=2)
    assert ran.out == ""
    assert ran.err.startswith("error: --set ")
    assert said in ran.err


def test_a_negative_seed(acaikit) -> None:
    assert "seed must be a whole number of at least 0" in acaikit("run", "quickstart", "--seed", -1, code=2).err


@pytest.mark.parametrize("recipe", ["quikstart", "", ".", "..", "data", "nowhere.gin", "x" * 5000, "a\0b", "[red]"])
def test_a_recipe_that_is_none(acaikit, recipe: str) -> None:
    Path("data").mkdir()
    said = (
        f"{recipe!r} is a folder, not a recipe" if recipe in (".", "..", "data") else "there is no file and no recipe"
    )
    assert f"error: {said}" in acaikit("run", recipe, "--dry-run", code=2).err


def test_a_recipe_that_is_no_text(acaikit) -> None:
    Path("r.gin").write_bytes(b"x = 1\n\xff\xfe\x00")
    assert "r.gin:1: the file can't be read: 'utf-8' codec" in acaikit("run", "r.gin", code=2).err


def test_messages_are_shown_as_they_are(acaikit) -> None:
    Path("r.gin").write_text(f"{BASE}x = root:x:0 [red]\n")
    assert "`x = root:x:0 [red]`" in acaikit("run", "r.gin", code=2).err
