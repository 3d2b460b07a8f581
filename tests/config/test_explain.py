from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from acaikit.config import read_recipe, read_resolved
from acaikit.config.explain import Explained, Place, explain
from acaikit.errors import UserError

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write recipes into the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(**texts: str) -> None:
        for name, text in texts.items():
            Path(f"{name}.gin").write_text(text)

    return write


def told(name: str, *overrides: str) -> list[Explained]:
    return explain(read_recipe("r.gin", overrides), name)


def places(explained: Explained) -> list[tuple[str, str, bool, str]]:
    """Every place, the working directory left out of its names."""
    here = f"{Path.cwd()}/"
    return [(p.where.replace(here, ""), p.binding, p.counts, p.why.replace(here, "")) for p in explained.places]


def test_every_place_that_sets_a_parameter_the_highest_first(write: Write) -> None:
    """Of two files that include a third, both stand above it, though one of them is read after it."""
    write(
        r="include 'a.gin'\ninclude 'b.gin'\n",
        a="include 'c.gin'\nACAI.gamma = 0.1\n",
        b="include 'c.gin'\nACAI.weight = 3\n",
        c="ACAI.weight = 5\nACAI.gamma = 0.1\n",
    )
    (found,) = told("ACAI.weight", "ACAI.weight = 1")
    assert (found.name, found.value, found.default) == ("ACAI.weight", "1", "0.5")
    assert places(found) == [
        ("--set 'ACAI.weight = 1'", "ACAI.weight = 1", True, "--set stands above every file"),
        ("b.gin:2", "ACAI.weight = 3", False, "--set 'ACAI.weight = 1' stands above it"),
        ("c.gin:1", "ACAI.weight = 5", False, "--set 'ACAI.weight = 1' stands above it"),
    ]
    (found,) = told("ACAI.weight")
    assert places(found) == [
        ("b.gin:2", "ACAI.weight = 3", True, "a file stands above those that it includes"),
        ("c.gin:1", "ACAI.weight = 5", False, "b.gin:2 stands above it"),
    ]


def test_files_that_say_the_same(write: Write) -> None:
    write(r="include 'a.gin'\ninclude 'b.gin'\n", a="KL.weight = 2\n", b="KL.weight = 2\n")
    (found,) = told("KL.weight")
    assert places(found) == [
        ("a.gin:1", "KL.weight = 2", True, "another file says the same"),
        ("b.gin:1", "KL.weight = 2", False, "says the same"),
    ]


def test_the_chain_through_macros(write: Write) -> None:
    write(r="include 'a.gin'\nConvEncoder.depth = %depth\ndepth = %wide\n", a="wide = 32\ndepth = 4\n")
    (found,) = told("ConvEncoder.depth")
    assert (found.value, found.default) == ("32", "16")
    assert places(found) == [("r.gin:2", "ConvEncoder.depth = %depth", True, "nothing else sets it")]
    (depth,) = found.macros
    assert (depth.name, depth.value) == ("depth", "32")
    assert places(depth) == [
        ("r.gin:3", "depth = %wide", True, "a file stands above those that it includes"),
        ("a.gin:2", "depth = 4", False, "r.gin:3 stands above it"),
    ]
    (wide,) = depth.macros
    assert (wide.name, wide.value, wide.macros) == ("wide", "32", [])
    assert told("depth") == [depth]
    assert depth.used


def test_scopes(write: Write) -> None:
    write(
        r="Experiment.regularizers = [@a/b/ACAI(), @ACAI(), %own]\nown = @KL()\n"
        "ACAI.weight = 1\na/ACAI.weight = 2\na/ACAI.gamma = 0\n"
    )
    plain, inner = told("ACAI.weight")
    assert (plain.name, plain.value, places(plain)) == (
        "ACAI.weight",
        "1",
        [("r.gin:3", "ACAI.weight = 1", True, "nothing else sets it")],
    )
    assert (inner.name, inner.value) == ("a/ACAI.weight", "2")
    both = [
        ("r.gin:4", "a/ACAI.weight = 2", True, "the deepest scope counts"),
        ("r.gin:3", "ACAI.weight = 1", False, "a/ACAI.weight has the deeper scope"),
    ]
    assert places(inner) == both
    (deep,) = told("a/b/ACAI.weight")
    assert (deep.name, deep.value, places(deep)) == ("a/b/ACAI.weight", "2", both)
    assert [one.name for one in told("a/ACAI")] == ["a/ACAI.weight", "a/ACAI.gamma", "a/ACAI.critic"]
    assert told("own/KL.weight")[0].value == "1.0"
    with pytest.raises(UserError) as caught:
        told("A/ACAI.weight")
    assert str(caught.value) == "no reference or binding has the scope 'A': did you mean a?"


def test_a_part_stands_for_all_its_parameters(write: Write) -> None:
    write(r="Experiment.regularizers = [@ACAI(), @s/ACAI()]\nACAI.gamma = 0.1\ns/ACAI.gamma = 0.2\n")
    for name in ("ACAI", "regularizers.ACAI", "acaikit.regularizers.ACAI"):
        assert [(one.name, one.value, one.default, one.used) for one in told(name)] == [
            ("ACAI.weight", "0.5", "0.5", True),
            ("ACAI.gamma", "0.1", "0.2", True),
            ("s/ACAI.gamma", "0.2", "0.2", True),
            ("ACAI.critic", "None", "None", True),
        ]


def test_defaults_that_are_no_plain_values(write: Write) -> None:
    write(r="Experiment.encoder = @ConvEncoder()\n")
    found = {one.name: one.default for one in told("Experiment")}
    assert found["Experiment.samples"] == "16777216"
    assert found["Experiment.likelihood"] == "field(default_factory=MSE)"
    assert found["Experiment.dataset"] is None


def test_what_goes_with_a_binding_that_is_overridden(write: Write) -> None:
    write(r="include 'a.gin'\n", a="Experiment.regularizers = [@ACAI()]\nACAI.weight = %w\nw = 4\n")
    (found,) = told("ACAI.weight", "Experiment.regularizers = []")
    assert (found.value, found.used, found.macros) == ("0.5", False, [])
    why = (
        "nothing mentions ACAI any more: Experiment.regularizers is overridden at --set 'Experiment.regularizers = []'"
    )
    assert places(found) == [("a.gin:2", "ACAI.weight = %w", False, why)]
    (found,) = told("w", "ACAI.weight = 1")
    why = "nothing mentions %w any more: ACAI.weight is overridden at --set 'ACAI.weight = 1'"
    assert places(found) == [("a.gin:3", "w = 4", False, why)]
    assert (found.value, found.used) == (None, False)


def test_a_recipe_read_from_a_run(write: Write) -> None:
    write(r="Experiment.regularizers = [@ACAI()]\nACAI.weight = %w\nw = 4\n")
    config = read_resolved(read_recipe("r.gin").resolved, "runs/r/run.h5")
    (found,) = explain(config, "ACAI.weight")
    assert found.value == "4"
    assert [place.counts for place in found.places] == [True]
    assert found.places[0] == Place("runs/r/run.h5:5", "ACAI.weight = %w", True, "nothing else sets it")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ACIA.weight", "no part is called 'ACIA': did you mean ACAI?"),
        ("ACAI.wieght", "ACAI has no parameter 'wieght': did you mean weight?"),
        ("acai", "no part, parameter or macro is called 'acai': did you mean ACAI?"),
        ("depht", "no part, parameter or macro is called 'depht': did you mean depth?"),
        ("weight", "no part, parameter or macro is called 'weight': did you mean ACAI.weight?"),
        ("", "no part is called ''; known: "),
        (".", "no part is called '.'; known: "),
        ("x/ACAI", "no reference or binding has the scope 'x'; known: none"),
    ],
)
def test_what_cannot_be_explained(write: Write, name: str, said: str) -> None:
    write(r="Experiment.regularizers = [@ACAI()]\nACAI.weight = 2\nConvEncoder.depth = %depth\ndepth = 4\n")
    with pytest.raises(UserError) as caught:
        told(name)
    assert str(caught.value).startswith(said)
