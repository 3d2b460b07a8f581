from __future__ import annotations

import math

import pytest

from acaikit import checks
from acaikit.errors import UserError
from acaikit.nets import ConvEncoder, Encoder


@pytest.mark.parametrize("value", [0, True, 1.0, "1", None])
def test_whole_refuses(value: object) -> None:
    with pytest.raises(UserError, match=f"A.n must be a whole number of at least 1, not {value!r}"):
        checks.whole("A.n", value, at_least=1)


@pytest.mark.parametrize("value", [-0.1, True, "1", None, math.nan, math.inf])
def test_number_refuses(value: object) -> None:
    with pytest.raises(UserError, match=f"A.x must be a number of at least 0, not {value!r}"):
        checks.number("A.x", value, at_least=0)


@pytest.mark.parametrize("value", [-0.1, 1.1, True, "1", math.nan])
def test_share_refuses(value: object) -> None:
    with pytest.raises(UserError, match=rf"A.p must be a number in \[0, 1\], not {value!r}"):
        checks.share("A.p", value, one=True)


def test_bounds_belong_to_the_range_unless_said_otherwise() -> None:
    checks.whole("A.n", 1, at_least=1)
    checks.number("A.x", 0, at_least=0)
    checks.share("A.p", 0, one=False)
    checks.share("A.p", 1, one=True)
    with pytest.raises(UserError, match="above 0, not 0"):
        checks.number("A.x", 0, at_least=0, strictly=True)
    with pytest.raises(UserError, match=r"in \[0, 1\), not 1"):
        checks.share("A.p", 1, one=False)


def test_instance_names_what_it_met() -> None:
    checks.instance("A.encoder", ConvEncoder(), Encoder)
    for value, met in (
        (5, "5"),
        ("x", "'x'"),
        ([], "a list"),
        (ConvEncoder, r"a part .*: write @Name\(\)"),
    ):
        with pytest.raises(UserError, match=f"A.encoder must be a Encoder, not {met}"):
            checks.instance("A.encoder", value, Encoder)
