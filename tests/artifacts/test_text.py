from __future__ import annotations

from io import BytesIO

import h5py
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from acaikit.artifacts.text import read_text, to_name, to_title, write_text

texts = st.text(st.characters(exclude_categories=["Cs"]))


@settings(max_examples=50, deadline=None)
@example("ends with NUL\0")
@example("")
@given(texts)
def test_text_round_trip(text: str) -> None:
    with h5py.File(BytesIO(), "w") as file:
        write_text(file, "t", text)
        assert read_text(file, "t") == text
        assert bytes(file["t"][:]).decode() == text


@example(".")
@example("..")
@example("../../x")
@example("/")
@example("loss/train")
@example("100%2F")
@settings(max_examples=100, deadline=None)
@given(texts.filter(bool))
def test_any_title_becomes_one_flat_name(title: str) -> None:
    with h5py.File(BytesIO(), "w") as file:
        name = to_name(title)
        file[name] = 1
        assert list(file) == [name]
        assert isinstance(file[name], h5py.Dataset)
        assert to_title(name) == title


def test_unusable_names() -> None:
    with pytest.raises(ValueError, match="empty"):
        to_name("")
    for name in ("..", "a/b", "%2f", "%41", "%FF"):
        with pytest.raises(ValueError, match=r"safe name|decode"):
            to_title(name)
