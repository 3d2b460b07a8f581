from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from acaikit import registry
from acaikit.errors import UserError
from acaikit.registry import KINDS, OURS, find, load, parts, unknown

Install = Callable[..., Path]


def test_our_own_parts_come_first_and_load(install: Install) -> None:
    install("aaa", "1", {"encoders": {"A": "a:A"}, "paths": {"a": "a:a"}})
    ours = [part for part in parts() if part.distribution == OURS]
    assert list(parts()[: len(ours)]) == ours
    assert {part.kind for part in ours} == {"experiments", *KINDS}
    for part in ours:
        assert part.load().__name__ == part.name


def test_scanning_imports_nothing(install: Install) -> None:
    site = install(
        "acai-loud", "1", {"regularizers": {"Loud": "loud:Loud"}}, {"loud.py": "raise SystemExit('imported')"}
    )
    script = """
import json, sys
from acaikit.registry import find, parts
parts(), find("Loud"), find("ACAI")
print(json.dumps(sorted(sys.modules)))
"""
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    modules = json.loads(ran.stdout)
    assert "acaikit.registry" in modules
    assert not {"loud", "torch", "numpy", "gin", "acaikit.regularizers"} & set(modules)


@pytest.mark.parametrize("name", ["ACAI", "regularizers.ACAI", "acaikit.regularizers.ACAI"])
def test_a_part_is_found_by_any_end_of_its_full_name(name: str) -> None:
    part = find(name)
    assert part.full_name == "acaikit.regularizers.ACAI"
    assert find(name, "regularizers") == part
    assert load("regularizers", name).__name__ == "ACAI"


@pytest.mark.parametrize("name", ["CAI", "", ".", "rs.ACAI", "acaikit.regularizers", "ACAI.", "acaikit.critics.ACAI"])
def test_half_a_name_is_no_name(name: str) -> None:
    with pytest.raises(UserError, match="no part is called"):
        find(name)


def test_a_bare_name_of_ours_keeps_its_meaning(install: Install) -> None:
    install("acai-shadow", "2.0", {"regularizers": {"ACAI": "shadow:ACAI", "Own": "shadow:Own"}})
    assert find("ACAI").distribution == OURS
    assert find("regularizers.ACAI").distribution == OURS
    assert find("acai_shadow.regularizers.ACAI").distribution == "acai-shadow"
    assert find("Own").full_name == "acai_shadow.regularizers.Own"
    assert find("Own").version == "2.0"


def test_two_plugins_with_one_name_are_both_named(install: Install) -> None:
    install("acai-one", "1.0", {"paths": {"arc": "one:arc"}})
    install("acai-two", "2.0", {"paths": {"arc": "two:arc"}})
    with pytest.raises(UserError, match=r"'arc' is ambiguous") as caught:
        find("arc")
    for said in ("acai_one.paths.arc (from acai-one 1.0)", "acai_two.paths.arc (from acai-two 2.0)"):
        assert said in str(caught.value)
    assert find("acai_two.paths.arc").distribution == "acai-two"


@pytest.mark.parametrize(
    ("only", "counting"), [("", []), ("acai_one", ["one"]), (" Acai.One , x,acai-two", ["one", "two"])]
)
def test_acaikit_plugins_says_which_distributions_count(
    install: Install, monkeypatch: pytest.MonkeyPatch, only: str, counting: list[str]
) -> None:
    for name in ("one", "two"):
        install(f"acai-{name}", "1.0", {"paths": {name: f"{name}:path"}, "recipes": {name: name}})
    assert {part.name for part in parts() if part.distribution != OURS} == {"one", "two"}
    ours = [part for part in parts() if part.distribution == OURS]
    monkeypatch.setenv("ACAIKIT_PLUGINS", only)
    assert list(parts()) == [
        *ours,
        *(part for part in registry.installed() if part.name in counting if part.kind == "paths"),
    ]
    assert [part.name for part in registry.recipe_packages()] == counting
    assert find("lerp").distribution == OURS


def test_what_acaikit_plugins_leaves_out_is_told(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("acai-one", "1.0", {"paths": {"arc": "one:arc"}})
    monkeypatch.setenv("ACAIKIT_PLUGINS", "acai-two")
    with pytest.raises(UserError) as caught:
        find("arc")
    assert str(caught.value) == (
        "no part is called 'arc': acai-one 1.0 has one, but ACAIKIT_PLUGINS='acai-two' leaves it out"
    )
    with pytest.raises(UserError, match="no part is called 'acr'; known: "):
        find("acr")


def test_a_recipe_package_is_no_part(install: Install) -> None:
    install("acai-one", "1.0", {"recipes": {"arc": "one"}})
    with pytest.raises(UserError, match="no part is called 'arc'"):
        find("arc")


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("METADATA", None, ""),
        ("METADATA", b"Name: \xff\xfe\n", "UnicodeDecodeError"),
        ("METADATA", b"Metadata-Version: 2.1\nName: acai-odd\n", ""),
        ("entry_points.txt", b"[acaikit.paths]\narc = \xff\n", "UnicodeDecodeError"),
        ("entry_points.txt", b"[acaikit.paths]\nno equals sign\n", ""),
    ],
)
def test_a_distribution_that_cannot_be_read_is_told_and_costs_no_other_anything(
    install: Install, file: str, content: bytes | None, reason: str
) -> None:
    site = install("acai-odd", "1.0", {"paths": {"arc": "odd:arc"}, "recipes": {"odd": "odd"}})
    install("acai-well", "1.0", {"paths": {"well": "well:well"}})
    folder = site / "acai_odd-1.0.dist-info"
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    registry.installed.cache_clear()
    assert {part.name for part in parts() if part.distribution != OURS} == {"well"}
    assert find("ACAI").distribution == OURS
    (said,) = registry.faults()
    assert said.startswith(f"{folder} can't be read, and what it lists is left out: {reason}")


def test_two_dist_infos_of_one_distribution_are_told_and_the_newer_counts(install: Install) -> None:
    site = install("acai-twice", "0.9", {"paths": {"arc": "first:arc", "gone": "first:gone"}})
    install("Acai_Twice", "0.10", {"paths": {"arc": "second:arc"}})
    assert [(part.name, part.version) for part in parts() if part.distribution != OURS] == [("arc", "0.10")]
    said = f"acai-twice is there twice in {site}, as 0.9 and 0.10: uninstall it and install it again"
    assert registry.faults() == [said]


def test_what_acaikit_plugins_names_and_leaves_out(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("acai-one", "1.0", {"paths": {"arc": "one:arc"}})
    install("acai-two", "2.0", {"recipes": {"two": "two"}})
    assert (registry.left_out(), registry.absent()) == ([], [])
    monkeypatch.setenv("ACAIKIT_PLUGINS", "acai_one, acai-three,,acaikit")
    assert (registry.left_out(), registry.absent()) == (["acai-two 2.0"], ["acai-three"])
    monkeypatch.setenv("ACAIKIT_PLUGINS", "")
    assert (registry.left_out(), registry.absent()) == (["acai-one 1.0", "acai-two 2.0"], [])


def test_the_version_of_a_distribution(install: Install) -> None:
    install("acai-one", "1.0", {"recipes": {"one": "one"}})
    assert registry.version("Acai.One") == "1.0"
    assert registry.version(OURS) == find("ACAI").version
    assert registry.version("acai-two") is None


def test_the_shortest_name_is_one_that_finds_the_part(install: Install) -> None:
    install("acai-one", "1", {"regularizers": {"ACAI": "x:A", "Own": "x:O"}, "critics": {"Own": "x:O", "C": "x:C"}})
    install("acai-two", "1", {"critics": {"C": "x:C"}})
    theirs = {registry.shortest_name(part): part.full_name for part in parts() if part.distribution != OURS}
    assert theirs == {
        "acai_one.regularizers.ACAI": "acai_one.regularizers.ACAI",
        "regularizers.Own": "acai_one.regularizers.Own",
        "critics.Own": "acai_one.critics.Own",
        "acai_one.critics.C": "acai_one.critics.C",
        "acai_two.critics.C": "acai_two.critics.C",
    }
    assert all(registry.shortest_name(part) == part.name for part in parts() if part.distribution == OURS)


def test_names_that_differ_in_case_are_both_suggested() -> None:
    assert registry.nearest("LERP", ["lerp", "Lerp", "spin"]) == ["lerp", "Lerp"]


def test_one_name_in_two_kinds(install: Install) -> None:
    install("acai-both", "1.0", {"critics": {"Both": "both:Critic"}, "regularizers": {"Both": "both:Regularizer"}})
    with pytest.raises(UserError, match="ambiguous"):
        find("Both")
    assert find("Both", "critics").entry_point.value == "both:Critic"
    assert find("regularizers.Both").entry_point.value == "both:Regularizer"


def test_other_groups_and_kinds_are_left_alone(install: Install) -> None:
    before = parts()
    install("acai-other", "1.0", {"spaceships": {"ACAI": "no:no"}, "regularizers.more": {"ACAI": "no:no"}})
    assert parts() == before


def test_an_install_that_is_seen_twice_counts_once(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acai-twice", "2.0", {"paths": {"arc": "first:arc"}})
    info = tmp_path / "other" / "acai_twice-3.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acai-twice\nVersion: 3.0\n")
    (info / "entry_points.txt").write_text("[acaikit.paths]\narc = second:arc\nmore = second:more\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(info.parent)])
    assert [(part.name, part.version) for part in parts() if part.distribution != OURS] == [("arc", "2.0")]
    assert registry.faults() == []


@pytest.mark.parametrize(
    ("files", "value", "reason"),
    [
        ({}, "not_there:Part", "ModuleNotFoundError: No module named 'not_there'"),
        (
            {"needs.py": "import not_there\nclass Part: ..."},
            "needs:Part",
            "ModuleNotFoundError: No module named 'not_there'",
        ),
        ({"raises.py": "1 / 0"}, "raises:Part", "ZeroDivisionError: division by zero"),
        ({"empty.py": ""}, "empty:Part", "AttributeError: module 'empty' has no attribute 'Part'"),
        ({"exits.py": "raise SystemExit('bye')"}, "exits:Part", "SystemExit: bye"),
        ({"wrong.py": "class Part(:"}, "wrong:Part", "SyntaxError"),
        ({}, "no entry point at all", "AttributeError"),
    ],
)
def test_a_broken_part_names_its_distribution_and_the_cause(
    install: Install, files: dict[str, str], value: str, reason: str
) -> None:
    install("acai-broken", "0.3", {"regularizers": {"Broken": value}}, files)
    with pytest.raises(UserError) as caught:
        load("regularizers", "Broken")
    said = f"Broken ({value}, from acai-broken 0.3) can't be imported: {reason}"
    assert str(caught.value).startswith(said)
    assert caught.value.__cause__ is not None


def test_a_broken_part_does_not_touch_the_others(install: Install) -> None:
    install(
        "acai-broken",
        "0.3",
        {"regularizers": {"Broken": "not_there:Part", "Fine": "fine:Fine"}},
        {"fine.py": "def Fine():\n    return 5"},
    )
    assert load("regularizers", "Fine")() == 5
    assert load("paths", "lerp").__name__ == "lerp"


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("ACIA", None, "no part is called 'ACIA': did you mean ACAI?"),
        ("acai", "regularizers", "no regularizer is called 'acai': did you mean ACAI?"),
        ("slrep", "paths", "no path is called 'slrep': did you mean slerp or lerp or nlerp?"),
        ("xyzzy", "paths", "no path is called 'xyzzy'; known: Geodesic, LikelyPath, lerp, nlerp, slerp"),
        ("MSE", "paths", "no path is called 'MSE'; known: Geodesic, LikelyPath, lerp, nlerp, slerp"),
    ],
)
def test_an_unknown_name_gets_the_nearest_or_all(name: str, kind: str | None, said: str) -> None:
    with pytest.raises(UserError) as caught:
        find(name, kind)
    assert str(caught.value) == said


def test_unknown_where_nothing_is_known() -> None:
    assert unknown("no scope is called", "a", []) == "no scope is called 'a'; known: none"


def test_a_message_lists_no_more_names_than_can_be_read() -> None:
    names = [f"part{i:03d}" for i in range(50)]
    said = registry.unknown("no part is called", "x", names)
    assert said == f"no part is called 'x'; known: {', '.join(names[:12])} and 38 more"
    assert registry.unknown("no part is called", "x", names[:12]).endswith("part011")
    said = registry.unknown("no part is called", "x", names, "acaikit list")
    assert said.endswith("part011 and 38 more (acaikit list lists all)")


def test_a_group_that_there_is_none_of_is_told(install: Install) -> None:
    groups = {"regularisers": {"Own": "own:Own"}, "xyzzy": {"Own": "own:Own"}, "paths": {"own": "own:own"}}
    install("acai-slips", "1.0", groups)
    assert [part.kind for part in parts() if part.distribution == "acai-slips"] == ["paths"]
    first, second = registry.faults()
    assert first == (
        "acai-slips lists parts under acaikit.regularisers, which is no group: did you mean acaikit.regularizers?"
    )
    assert second.startswith(
        "acai-slips lists parts under acaikit.xyzzy, which is no group: the groups are acaikit.exp"
    )


@pytest.fixture
def shared(install: Install) -> None:
    """Two distributions with a part of one name, which one of acaikit's has too."""
    for name in ("acai-one", "acai-two"):
        install(name, "1.0", {"regularizers": {"Squeeze": "part:Part", "ACAI": "part:Part"}})


def test_a_bare_name_means_what_its_home_has_unless_acaikit_has_it(shared: None) -> None:
    for home in ("acai-one", "acai-two"):
        assert find("Squeeze", home=home).distribution == home
        assert find("ACAI", home=home).distribution == "acaikit"
    for home in (None, "acai-three"):
        with pytest.raises(UserError, match="'Squeeze' is ambiguous"):
            find("Squeeze", home=home)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Squeze", "acai_one.regularizers.Squeeze or acai_two.regularizers.Squeeze"),
        ("acai_tow.Squeeze", "acai_one.regularizers.Squeeze or acai_two.regularizers.Squeeze"),
        ("acaikti.Denoising", "acaikit.regularizers.Denoising"),
    ],
)
def test_what_is_offered_is_a_name_that_will_do(shared: None, name: str, meant: str) -> None:
    with pytest.raises(UserError) as caught:
        find(name)
    assert str(caught.value) == f"no part is called {name!r}: did you mean {meant}?"
    for offered in meant.split(" or "):
        assert find(offered).full_name == offered
