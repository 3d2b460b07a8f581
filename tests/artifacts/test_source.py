from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from acaikit.artifacts import source
from acaikit.artifacts.faults import BrokenFile, MissingFile
from acaikit.artifacts.header import HEADER_SIZE, make_header
from acaikit.artifacts.source import open_source, read_bytes
from acaikit.errors import RunError

PAYLOAD = bytes(range(256)) * 5


def write(path: Path) -> Path:
    path.write_bytes(make_header(PAYLOAD) + PAYLOAD)
    return path


def test_the_bytes_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path / "a")
    assert read_bytes(path) == path.read_bytes()
    with open_source(path) as opened:
        assert opened.header.length == len(PAYLOAD)
        assert opened.fetch(0, 3) == PAYLOAD[:3]
        assert opened.fetch(1000, 280) == PAYLOAD[1000:]
        assert opened.fetch(7, 0) == b""


def test_short_reads_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, pread = write(tmp_path / "a"), os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, size, at: pread(descriptor, min(size, 512), at))
    assert read_bytes(path) == path.read_bytes()


def test_a_file_that_shrinks_meanwhile(tmp_path: Path) -> None:
    path = write(tmp_path / "a")
    with open_source(path) as opened:
        os.truncate(path, HEADER_SIZE + 10)
        with pytest.raises(BrokenFile, match="became shorter"):
            opened.fetch(0, 20)


def test_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a")
    monkeypatch.setattr(source, "MOST_BYTES", path.stat().st_size - 1)
    with pytest.raises(RunError, match="aren't read") as caught:
        read_bytes(path)
    assert not isinstance(caught.value, BrokenFile)


def test_the_length_is_checked_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, sizes, pread = write(tmp_path / "a"), [], os.pread
    os.truncate(path, 2**32)
    monkeypatch.setattr(os, "pread", lambda fd, size, at: sizes.append(size) or pread(fd, size, at))
    with pytest.raises(BrokenFile, match=r"4,294,966,784 bytes .* another length: 1,280$"):
        read_bytes(path)
    assert sizes == [HEADER_SIZE]


@pytest.mark.parametrize(
    "change", [(b"length 1280", b"length 01280"), (b"length 1280", b"length -1280"), (b" \n", b"x\n")]
)
def test_a_header_of_another_form(tmp_path: Path, change: tuple[bytes, bytes]) -> None:
    path = write(tmp_path / "a")
    head = path.read_bytes()[:HEADER_SIZE].replace(*change)[:HEADER_SIZE]
    path.write_bytes(head + PAYLOAD)
    with pytest.raises(BrokenFile, match="altered"):
        read_bytes(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(write(tmp_path / "a"))
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "link", Path("/dev/null")):
        with pytest.raises(BrokenFile, match="regular file"):
            read_bytes(path)
    with pytest.raises(MissingFile):
        read_bytes(tmp_path / "nothing")


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    path = write(tmp_path / "a")
    before = len([*Path("/proc/self/fd").iterdir()])
    for name in ("a", "nothing", "."):
        with suppress(RunError):
            read_bytes(path.parent / name)
    assert len([*Path("/proc/self/fd").iterdir()]) == before
