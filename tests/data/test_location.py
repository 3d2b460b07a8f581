from __future__ import annotations

from pathlib import Path

import pytest
from platformdirs import user_cache_path

from acaikit.data.location import data_dir, prepared_files, writable
from acaikit.errors import UserError


def test_the_variable_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACAIKIT_DATA", str(tmp_path))
    assert data_dir() == tmp_path


def test_without_it_the_cache_folder_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = user_cache_path("acaikit") / "data"
    monkeypatch.delenv("ACAIKIT_DATA", raising=False)
    assert data_dir() == expected
    monkeypatch.setenv("ACAIKIT_DATA", "")
    assert data_dir() == expected


def test_prepared_files_lie_with_the_data_and_else_in_the_cache(data_folder: Path) -> None:
    beside, away = prepared_files("set")
    assert beside == data_folder / "prepared" / "set.h5"
    assert away.parent == user_cache_path("acaikit") / "data" / "prepared"
    assert away.parent.is_relative_to(data_folder.parent / "cache")


def test_the_cache_is_no_second_place_for_itself(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACAIKIT_DATA")
    assert prepared_files("set") == [user_cache_path("acaikit") / "data" / "prepared" / "set.h5"]


def test_different_sets_have_different_files(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [("set", ""), ("set", "a"), ("set", "b"), ("other", "")]
    files = {file for name, key in names for file in prepared_files(name, key)}
    assert prepared_files("set", "a") == prepared_files("set", "a")
    monkeypatch.setenv("ACAIKIT_DATA", str(tmp_path / "elsewhere"))
    files |= {file for name, key in names for file in prepared_files(name, key)}
    assert len(files) == 2 * 2 * len(names)
    assert all(file.name.startswith(("set", "other")) for file in files)


def test_one_data_folder_by_two_names_has_one_file_in_the_cache(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_folder.mkdir()
    (tmp_path / "link").symlink_to(data_folder)
    away = prepared_files("set")[1]
    monkeypatch.setenv("ACAIKIT_DATA", str(tmp_path / "link"))
    assert prepared_files("set")[1] == away


def test_writable_folders(tmp_path: Path) -> None:
    open_, closed = tmp_path / "open", tmp_path / "closed"
    for folder, mode in ((open_, 0o755), (closed, 0o555)):
        folder.mkdir()
        folder.chmod(mode)
    (tmp_path / "file").touch()
    assert writable(open_)
    assert writable(open_ / "a" / "b")
    assert not writable(closed)
    assert not writable(closed / "a" / "b")
    assert not writable(tmp_path / "file")
    assert not writable(tmp_path / "file" / "a")


def test_the_home_folder_can_be_written_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ACAIKIT_DATA", "~/sets")
    assert data_dir() == tmp_path / "sets"


def test_the_home_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACAIKIT_DATA", "~nobody-of-that-name/sets")
    with pytest.raises(UserError, match="ACAIKIT_DATA = '~nobody-of-that-name/sets'"):
        data_dir()
