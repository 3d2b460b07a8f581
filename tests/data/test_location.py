from __future__ import annotations

from pathlib import Path

import pytest
from platformdirs import user_cache_path

from acaikit.data.location import data_dir


def test_the_variable_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACAIKIT_DATA", str(tmp_path))
    assert data_dir() == tmp_path


def test_without_it_the_cache_folder_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = user_cache_path("acaikit") / "data"
    monkeypatch.delenv("ACAIKIT_DATA", raising=False)
    assert data_dir() == expected
    monkeypatch.setenv("ACAIKIT_DATA", "")
    assert data_dir() == expected
