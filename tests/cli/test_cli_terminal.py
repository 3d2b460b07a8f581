from __future__ import annotations

import json
import math

import pytest

from acaikit.cli.terminal import fail, print_json, say


def test_json_has_no_word_for_nan_and_infinity(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": math.nan, "b": [1.5, math.inf, {"c": (-math.inf, None, True)}], 3: "é"})
    out = capsys.readouterr().out
    assert json.loads(out, parse_constant=pytest.fail) == {
        "a": None,
        "b": [1.5, None, {"c": [None, None, True]}],
        "3": "é",
    }
    assert out.count("\n") == 1


def test_text_is_shown_as_it_is_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    text = "a [red]b[/] :x: @C() 1e-4 'd' " * 30
    say(text)
    fail(text)
    assert capsys.readouterr() == ("", f"{text}\nerror: {text}\n")
