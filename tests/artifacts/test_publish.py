from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from acaikit.artifacts import publish as publish_module
from acaikit.artifacts.publish import make_folder, publish, remove_stale


def _full_disk(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_publish_replaces_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    publish(path, b"old content")
    publish(path, memoryview(b"new"))
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_publish_goes_on_after_short_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:7])))
    data = bytes(range(256))
    publish(tmp_path / "a.h5", data)
    assert (tmp_path / "a.h5").read_bytes() == data


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_failure_keeps_the_old_file_and_leaves_no_temp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "a.h5"
    publish(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(*((Path, "replace") if call == "replace" else (os, call)), _full_disk)
        with pytest.raises(OSError, match="No space left") as caught:
            publish(path, b"new")
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_disk_full_after_some_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.h5"
    publish(path, b"old")
    write, calls = os.write, iter(range(3))

    def fills_up(fd: int, data: memoryview) -> int:
        return write(fd, bytes(data[:10])) if next(calls) < 2 else _full_disk()

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fills_up)
        with pytest.raises(OSError, match="No space left"):
            publish(path, bytes(100))
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_interrupt_leaves_no_temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            publish(tmp_path / "a.h5", b"new")
    assert list(tmp_path.iterdir()) == []


def test_order_of_the_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(fd: int) -> None:
        calls.append("fsync folder" if os.path.isdir(f"/proc/self/fd/{fd}") else "fsync file")  # noqa: PTH112
        fsync(fd)

    def note_replace(self: Path, target: Path) -> Path:
        calls.append("replace")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    publish(tmp_path / "a.h5", b"x")
    assert calls == ["fsync file", "replace", "fsync folder"]


def test_failed_folder_fsync_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish_module, "sync_folder", _full_disk)
    with pytest.raises(OSError, match="No space left"):
        publish(tmp_path / "a.h5", b"new")
    assert (tmp_path / "a.h5").read_bytes() == b"new"


def test_temp_is_created_exclusively(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish_module.secrets, "token_hex", lambda _: "0" * 16)
    planted = tmp_path / f".a.h5.{os.getpid()}.{'0' * 16}.tmp"
    planted.symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError):
        publish(tmp_path / "a.h5", b"new")
    assert not (tmp_path / "victim").exists()


def test_remove_stale_removes_what_a_kill_leaves_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _full_disk)
        patch.setattr(Path, "unlink", _full_disk)
        with pytest.raises(OSError, match="No space left"):
            publish(tmp_path / "a.h5", b"new")
    (stale,) = tmp_path.iterdir()
    others = {".lock", "a.h5", ".a.h5.tmp", "a.h5.12.0123456789abcdef.tmp"}
    for name in others:
        (tmp_path / name).touch()
    assert remove_stale(tmp_path) == [stale]
    assert {p.name for p in tmp_path.iterdir()} == others
    assert remove_stale(tmp_path / "missing") == []


def test_make_folder_makes_parents(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
