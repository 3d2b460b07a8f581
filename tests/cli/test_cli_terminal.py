from __future__ import annotations

import json
import math
import warnings

import pytest

from acaikit.cli.terminal import fail, print_json, say, showing_notes
from acaikit.errors import DataWarning
from acaikit.progress import console


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


def test_remarks_about_data_are_notes_each_shown_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "a/[red]b.png :x: can't be read " * 10
    monkeypatch.setattr(console, "quiet", False)
    with showing_notes():
        for _ in range(3):
            warnings.warn(text, DataWarning, stacklevel=1)
        warnings.warn("another", DataWarning, stacklevel=1)
        with pytest.raises(UserWarning, match="of another kind"):  # pytest makes errors of them
            warnings.warn("of another kind", UserWarning, stacklevel=1)
    assert capsys.readouterr() == ("", f"note: {text}\nnote: another\n")
    monkeypatch.setattr(console, "quiet", True)
    with showing_notes():
        warnings.warn(text, DataWarning, stacklevel=1)
    assert capsys.readouterr() == ("", "")


def test_other_warnings_are_left_to_python(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(RuntimeWarning, match="of another kind"), showing_notes():
        warnings.warn("of another kind", RuntimeWarning, stacklevel=1)
    assert capsys.readouterr() == ("", "")
