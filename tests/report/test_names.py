from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit.report.names import short_names


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
