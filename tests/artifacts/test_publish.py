from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from acaikit.artifacts import publish as publish_module
from acaikit.artifacts.publish import make_folder, publish, publishing, put_in_place, remove_stale


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
        with pytest.raises(OSError, match=r"No space left on device: 100 bytes are needed, [\d,]+ are free"):
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


def _publish_by_block(path: Path, data: bytes) -> None:
    with publishing(path) as temp:
        temp.write_bytes(data)


@pytest.mark.parametrize("write", [publish, _publish_by_block])
def test_order_of_the_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, bytes], None]
) -> None:
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
    write(tmp_path / "a.h5", b"x")
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
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _full_disk)
        with pytest.raises(OSError, match="No space left"):
            remove_stale(tmp_path)


def test_remove_stale_of_one_file(tmp_path: Path) -> None:
    stale = [tmp_path / f".a.h5.{pid}.0123456789abcdef.tmp" for pid in (7, 12)]
    others = {".aa.h5.12.0123456789abcdef.tmp", ".a.h5.b.h5.12.0123456789abcdef.tmp", "a.h5"}
    for name in [*others, *(path.name for path in stale)]:
        (tmp_path / name).touch()
    assert sorted(remove_stale(tmp_path, "a.h5")) == sorted(stale)
    assert {p.name for p in tmp_path.iterdir()} == others


def test_publishing_replaces_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    for content in (b"old content", b"new"):
        with publishing(path) as temp:
            assert (temp.parent, temp.exists()) == (tmp_path, False)
            temp.write_bytes(content)
            assert not path.exists() or path.read_bytes() == b"old content"
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
@pytest.mark.parametrize("written", [True, False])
def test_publishing_nothing_where_the_block_fails(tmp_path: Path, error: BaseException, written: bool) -> None:
    path = tmp_path / "a.h5"
    publish(path, b"old")

    def fail() -> None:
        with publishing(path) as temp:
            if written:
                temp.write_bytes(b"half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_publishing_nothing_where_nothing_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    publish(path, b"old")
    with pytest.raises(FileNotFoundError), publishing(path):
        pass
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_publishing_nothing_where_a_step_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "a.h5"
    publish(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(*((Path, "replace") if call == "replace" else (os, call)), _full_disk)
        with pytest.raises(OSError, match="No space left"), publishing(path) as temp:
            temp.write_bytes(b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_publishing_where_the_last_step_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish_module, "sync_folder", _full_disk)
    with pytest.raises(OSError, match="No space left"), publishing(tmp_path / "a.h5") as temp:
        temp.write_bytes(b"new")
    assert (tmp_path / "a.h5").read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_what_cannot_be_put_in_place_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    source, path = tmp_path / "a.part", tmp_path / "a"
    source.write_bytes(b"new")
    path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(*((Path, "replace") if call == "replace" else (os, call)), _full_disk)
        with pytest.raises(OSError, match="No space left"):
            put_in_place(source, path)
    assert (source.read_bytes(), path.read_bytes()) == (b"new", b"old")
    put_in_place(source, path)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_may_not_survive_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a" / "b"
    sync = publish_module.sync_folder
    with monkeypatch.context() as patch:
        patch.setattr(publish_module, "sync_folder", lambda path: _full_disk() if path == folder.parent else sync(path))
        with pytest.raises(OSError, match="No space left"):
            make_folder(folder)
    assert list(tmp_path.iterdir()) == [folder.parent]
    assert list(folder.parent.iterdir()) == []
    make_folder(folder)
    assert folder.is_dir()


def test_a_folder_that_another_process_fills_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def filled(_: Path) -> None:
        (tmp_path / "a" / "file").touch()
        _full_disk()

    monkeypatch.setattr(publish_module, "sync_folder", filled)
    with pytest.raises(OSError, match="No space left"):
        make_folder(tmp_path / "a")
    assert (tmp_path / "a" / "file").exists()


def test_make_folder_makes_parents(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
