from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit.errors import UserError
from acaikit.report.names import about, names, short_names


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["digits_acai_16-s0", "digits_vae_16-s0", "digits_aae_16-s0"], ["acai", "vae", "aae"]),
        (["a-s0", "a-s1"], ["s0", "s1"]),
        (["quickstart-s0", "quickstart_baseline-s0"], ["quickstart", "quickstart_baseline"]),
        (["only_one"], ["only_one"]),
        (["same", "same"], ["same", "same"]),
        (["x_acai", "x"], ["x_acai", "x"]),
        (["runs/a/r", "runs/b/r"], ["a", "b"]),
        ([f"{'x' * 20}{i}{'y' * 20}" for i in range(2)], [f"{'x' * 20}{i}{'y' * 20}" for i in range(2)]),
        ([f"{'x' * 40}", "z"], ["x" * 14 + "…" + "x" * 13, "z"]),
        ([], []),
    ],
)
def test_names_lose_what_all_share(names: list[str], short: list[str]) -> None:
    assert short_names(names) == short


@given(st.lists(st.text("ab_-", min_size=1, max_size=9), max_size=4, unique=True))
@settings(deadline=None)
def test_short_names_are_parts_that_still_differ(names: list[str]) -> None:
    short = short_names(names)
    assert len(set(short)) == len(names)
    assert all(part and part in name for part, name in zip(short, names, strict=True))


def test_runs_are_called_by_as_many_folders_as_tell_them_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("a/x/r", "a/y/r", "b/x/r", "b/s"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "x" / "r")
    here, up = Path(), tmp_path
    assert names([]) == []
    assert names([here]) == ["r"]
    assert names([here, up / "b/s"]) == ["r", "s"]
    assert names([here, Path("../../y/r")]) == ["x/r", "y/r"]
    assert names([here, up / "a/y/r", up / "b/x/r"]) == ["a/x/r", "a/y/r", "b/x/r"]
    for again in (here.absolute(), Path("../r")):
        with pytest.raises(UserError, match="given more than once"):
            names([here, up / "b/s", again])


def test_a_run_is_told_with_its_samples() -> None:
    assert about("r", 16777216) == "r · 16,777,216 samples"
