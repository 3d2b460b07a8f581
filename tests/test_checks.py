from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from acaikit import checks
from acaikit.errors import UserError
from acaikit.nets import ConvEncoder, Encoder


@pytest.mark.parametrize("value", [0, True, 1.0, "1", None])
def test_whole_refuses(value: object) -> None:
    with pytest.raises(UserError, match=f"A.n must be a whole number of at least 1, not {value!r}"):
        checks.whole("A.n", value, at_least=1)


def test_whole_refuses_what_no_size_can_be() -> None:
    checks.whole("A.n", checks.SIZE, 1, checks.SIZE)
    with pytest.raises(UserError, match=r"A.n must be a whole number of at most 2,147,483,647, not 2147483648$"):
        checks.whole("A.n", 2**31, 1, checks.SIZE)


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
        with pytest.raises(UserError, match=f"A.encoder must be an Encoder, not {met}"):
            checks.instance("A.encoder", value, Encoder)


@pytest.mark.parametrize(
    ("check", "hint"),
    [
        (lambda: checks.whole("A.n", "12", at_least=1), "not '12': a number is written without quotes, 12"),
        (lambda: checks.whole("A.n", 1e3, at_least=1), "not 1000.0: write 1000"),
        (lambda: checks.whole("A.n", -2.0, at_least=1), "not -2.0"),
        (lambda: checks.whole("A.n", math.inf, at_least=1), "not inf"),
        (lambda: checks.number("A.x", " 0.5", at_least=0), "not ' 0.5': a number is written without quotes, 0.5"),
        (lambda: checks.number("A.x", "half", at_least=0), "not 'half'"),
        (lambda: checks.share("A.p", "1e-3", one=True), "not '1e-3': a number is written without quotes, 1e-3"),
        (lambda: checks.instance("A.flat", "yes", bool), "a bool, not 'yes': write True or False"),
        (lambda: checks.instance("A.part", "ACAI", Encoder), "an Encoder, not 'ACAI': a part is written @ACAI()"),
        (lambda: checks.instance("A.part", "two words", Encoder), "an Encoder, not 'two words'"),
        (lambda: checks.instance("A.part", {}, Encoder), "an Encoder, not a dict"),
    ],
)
def test_a_refusal_says_how_to_write_what_was_meant(check: Callable[[], None], hint: str) -> None:
    with pytest.raises(UserError) as caught:
        check()
    assert str(caught.value).endswith(hint)
