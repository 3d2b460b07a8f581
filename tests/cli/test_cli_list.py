from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from acaikit.cli import listing
from acaikit.recipes import shipped
from acaikit.registry import KINDS, OURS, parts

Install = Callable[..., Path]


def test_json_holds_every_part(acaikit) -> None:
    told = json.loads(acaikit("list", "--json").out)["parts"]
    assert [(p["kind"], p["name"]) for p in told] == [(p.kind, p.name) for p in parts() if p.kind in KINDS]
    (acai,) = (part for part in told if part["name"] == "ACAI" and part["distribution"] == OURS)
    assert acai["parameters"] == {"weight": "0.5", "gamma": "0.2", "critic": "None"}
    assert acai["description"].startswith("A critic guesses the mixing coefficient")
    assert acai["broken"] is None


@pytest.mark.parametrize("kind", [*KINDS, *(kind[:-1] for kind in KINDS)])
def test_one_kind(acaikit, kind: str) -> None:
    told = json.loads(acaikit("list", kind, "--json").out)["parts"]
    assert {part["kind"] for part in told} == {kind if kind.endswith("s") else f"{kind}s"}


def test_every_part_has_a_file_and_every_evaluator_a_key(acaikit) -> None:
    found = {part.name: part for part in parts()}
    for part in json.loads(acaikit("list", "--json").out)["parts"]:
        assert part["file"] == sys.modules[found[part["name"]].load().__module__].__file__
        if part["kind"] == "evaluators":
            assert part["key"] == found[part["name"]].load().key
    out = acaikit("list", "evaluators").out
    assert "key kmeans_strict" in out
    assert " acaikit/evaluators/kmeans.py " in out


def test_recipes(acaikit, install: Install) -> None:
    files = {"good/own.gin": "# Of [red] one's own.\n", "good/quickstart.gin": ""}
    site = install("acai-good", "1.0", {"recipes": {"good": "good", "gone": "nowhere"}}, files)
    told = json.loads(acaikit("list", "recipes", "--json").out)
    found = {recipe["name"]: recipe for recipe in told["recipes"]}
    assert set(found) - set(shipped()) == {"own", "acai_good.quickstart"}
    assert found["own"] == {
        "name": "own",
        "distribution": "acai-good",
        "file": str(site / "good" / "own.gin"),
        "description": "Of [red] one's own.",
    }
    assert found["quickstart"]["description"] == "ACAI on small lines: the first thing to run."
    reason = "there is no package 'nowhere'"
    assert told["broken"] == [{"package": "nowhere", "distribution": "acai-good", "version": "1.0", "broken": reason}]
    out = acaikit("list", "recipe").out
    for said in ("acai_good.quickstart", "Of [red] one's own.", "good/own.gin", f"BROKEN: {reason}", "acai-good 1.0"):
        assert said in out


def test_a_part_that_others_shadow_is_listed_under_the_name_that_reaches_it(acaikit, install: Install) -> None:
    install(
        "acai-shadow", "1", {"regularizers": {"ACAI": "shadow:ACAI", "Own": "shadow:ACAI"}}, {"shadow.py": "ACAI = 1"}
    )
    told = json.loads(acaikit("list", "regularizers", "--json").out)["parts"]
    names = {part["shortest_name"]: part["name"] for part in told}
    assert (names["ACAI"], names["acai_shadow.regularizers.ACAI"], names["Own"]) == ("ACAI", "ACAI", "Own")
    assert "acai_shadow.regularizers.ACAI" in acaikit("list", "regularizers").out


def test_the_traceback_of_a_broken_part(acaikit, install: Install) -> None:
    site = install(
        "acai-broken", "1", {"paths": {"arc": "broken_arc:arc"}}, {"broken_arc.py": "x = 1\n\n[][1]  # [red]\n"}
    )
    shown = f'File "{site}/broken_arc.py", line 3, in <module>'
    assert shown not in acaikit("list", "paths").out
    out = acaikit("list", "paths", "--verbose").out
    for said in ("BROKEN: IndexError: list index out of range", "acai_broken.paths.arc:", shown, "[][1]  # [red]"):
        assert said in out
    told = json.loads(acaikit("list", "paths", "--json", "-v").out)["parts"]
    assert shown in told[-1]["traceback"]
    assert {part["traceback"] for part in told[:-1]} == {None}
    assert "traceback" not in json.loads(acaikit("list", "paths", "--json").out)["parts"][-1]


def test_what_is_left_out_not_there_or_unreadable_is_noted(
    acaikit, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert acaikit("list", "paths").err == ""
    site = install("acai-one", "1.0", {"paths": {"one": "one:one"}})
    install("acai-odd", "1.0", {"paths": {"odd": "odd:odd"}})
    (site / "acai_odd-1.0.dist-info" / "METADATA").unlink()
    monkeypatch.setenv("ACAIKIT_PLUGINS", "acai-oen,xyz")
    notes = [
        "ACAIKIT_PLUGINS leaves out acai-one 1.0",
        "ACAIKIT_PLUGINS names what brings no parts here: acai-oen (did you mean acai-one?), xyz",
    ]
    for kind in ("paths", "recipes", "studies"):
        unread, *others = acaikit("list", kind).err.splitlines()
        assert unread.startswith(f"note: {site}/acai_odd-1.0.dist-info can't be read")
        assert others == [f"note: {note}" for note in notes]
    assert json.loads(acaikit("list", "--json").out)["notes"][1:] == notes


def test_the_table(acaikit) -> None:
    out = acaikit("list").out
    for kind in KINDS:
        assert f"\n{kind} " in f"\n{out}"
    for said in ("LatentDropout", "p=0.5", "entries=2 ** 14", "acaikit 0", "Spherical interpolation"):
        assert said in out


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("reguralizers", "did you mean regularizers?"),
        ("", "known: encoders"),
        ("experiments", "known"),
        ("Paths", "did you mean paths?"),
    ],
)
def test_an_unknown_kind(acaikit, kind: str, said: str) -> None:
    assert said in acaikit("list", kind, code=2).err


def test_a_terminal_that_is_narrow_cuts_no_name(acaikit, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    site = install("acai-shadow", "1", {"regularizers": {"AdversarialPrior": "a:A"}, "recipes": {"r": "recipes"}})
    (site / "recipes").mkdir()
    (site / "recipes" / "r.gin").write_text("# Words of which a line of a narrow terminal doesn't have the room.\n")
    narrow = Console(width=80, force_terminal=True, color_system=None)
    for console in (narrow, listing.out):
        monkeypatch.setattr(listing, "out", console)
        for kind, name in (("regularizers", "acai_shadow.regularizers.AdversarialPrior"), ("recipes", "r")):
            lines = acaikit("list", kind).out.splitlines()
            assert any(line.startswith(f"│ {name} ") for line in lines)
            assert all(len(line) <= 80 for line in lines) == (console is narrow)


def test_a_pipe_has_each_recipe_on_one_line(acaikit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    told = json.loads(acaikit("list", "recipes", "--json").out)["recipes"]
    lines = acaikit("list", "recipes").out.splitlines()
    for recipe in told:
        assert any(f" {recipe['name']} " in line and recipe["description"] in line for line in lines)


def test_studies(acaikit) -> None:
    told = json.loads(acaikit("list", "studies", "--json").out)
    assert [study["name"] for study in told["studies"]] == ["quick", "table1", "table2", "table3"]
    assert told["broken"] == told["notes"] == []
    out = acaikit("list", "study").out
    assert all(study["name"] in out and study["description"] in out for study in told["studies"])
    assert "Study" not in {part["name"] for part in json.loads(acaikit("list", "--json").out)["parts"]}
