from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from acaikit.artifacts import h5file
from acaikit.artifacts.faults import BrokenFile, MissingFile, NewerFormat, TooMuch
from acaikit.artifacts.h5file import peek_text, read_h5, write_h5
from acaikit.artifacts.header import make_header
from acaikit.artifacts.text import write_text
from acaikit.errors import RunError

WRITE = """
import sys, time
from pathlib import Path
import numpy as np
from acaikit.artifacts.h5file import write_h5

def fill(file):
    for index in range(30):
        group = file.create_group(f"group {index}")
        group.attrs["name"] = np.bytes_(b"x" * index + b"y")
        group.create_dataset("data", data=np.arange(index))
        group.create_dataset("image", data=np.zeros((40, 40), np.uint8), compression="gzip", shuffle=True)

write_h5(Path(sys.argv[1]), fill, format="checkpoint", run_id="r", step=1)
"""


def fill(file: h5py.Group) -> None:
    file.create_dataset("x", data=np.arange(100, dtype=np.float32))


def write(path: Path) -> Path:
    write_h5(path, fill, format="checkpoint", run_id="abc", step=7)
    return path


def rewrite(path: Path, payload: bytes) -> None:
    path.write_bytes(make_header(payload) + payload)


def test_round_trip_and_root_attributes(tmp_path: Path) -> None:
    path = write(tmp_path / "new" / "a.h5")
    with read_h5(path, format="checkpoint") as file:
        assert np.array_equal(file["x"][...], np.arange(100, dtype=np.float32))
        assert dict(file.attrs) == {
            "format": b"checkpoint",
            "format_version": 1,
            "min_reader_version": b"0.1.0",
            "run_id": b"abc",
            "step": 7,
        }
    assert not file


def test_bare_h5py_opens_it(tmp_path: Path) -> None:
    with h5py.File(write(tmp_path / "a.h5"), "r") as file:
        assert file.userblock_size == 512
        assert file["x"].chunks is None
        assert file["x"][3] == 3


@pytest.mark.skipif(shutil.which("h5dump") is None, reason="h5dump isn't installed")
def test_h5dump_opens_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    dump = subprocess.run(["h5dump", "-H", path], capture_output=True, text=True, check=True)
    assert 'DATASET "x"' in dump.stdout


def test_header_is_readable(tmp_path: Path) -> None:
    data = write(tmp_path / "a.h5").read_bytes()
    lines = data[:512].decode("ascii").splitlines()
    assert lines[:2] == ["acaikit-h5 1", f"length {len(data) - 512}"]
    assert data[512:516] == b"\x89HDF"


def test_same_content_gives_same_bytes_in_other_processes(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        subprocess.run([sys.executable, "-c", WRITE, tmp_path / name], check=True)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_every_torn_prefix_is_refused(tmp_path: Path) -> None:
    data = write(tmp_path / "a.h5").read_bytes()
    torn = tmp_path / "torn.h5"
    for length in [*range(0, len(data), 97), 511, 512, 513, len(data) - 1]:
        torn.write_bytes(data[:length])
        with pytest.raises(BrokenFile, match=r"torn\.h5"), read_h5(torn):
            pass
    torn.write_bytes(data + b"\0")
    with pytest.raises(BrokenFile, match="another length"), read_h5(torn):
        pass


def test_every_flipped_byte_is_refused(tmp_path: Path) -> None:
    data = write(tmp_path / "a.h5").read_bytes()
    flipped = tmp_path / "flipped.h5"
    for position in [*range(0, 512, 13), *range(512, len(data), 41), len(data) - 1]:
        for bit in (0x01, 0x20, 0x80):
            changed = bytearray(data)
            changed[position] ^= bit
            flipped.write_bytes(changed)
            with pytest.raises(BrokenFile, match=r"flipped\.h5"), read_h5(flipped):
                pass


def test_plain_hdf5_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(BrokenFile, match="doesn't start"), read_h5(tmp_path / "a.h5"):
        pass


@pytest.mark.parametrize("payload", [b"", b"no HDF5 at all"])
def test_a_right_hash_over_no_hdf5_is_refused(tmp_path: Path, payload: bytes) -> None:
    rewrite(tmp_path / "a.h5", payload)
    with pytest.raises(BrokenFile, match="is broken"), read_h5(tmp_path / "a.h5"):
        pass


def test_missing_content_is_the_files_fault(tmp_path: Path) -> None:
    with pytest.raises(BrokenFile, match=r"a\.h5.*nothing"), read_h5(write(tmp_path / "a.h5")) as file:
        file["nothing"]


def test_another_format_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(BrokenFile, match="'checkpoint' where 'metrics'"),
        read_h5(write(tmp_path / "a.h5"), format="metrics"),
    ):
        pass


@pytest.mark.parametrize("needed", ["0.2.0", "0.10.0", "1.0"])
def test_newer_format_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needed: str) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(h5file, "MIN_READER_VERSION", needed)
        write(tmp_path / "a.h5")
    with pytest.raises(NewerFormat, match=rf"pip install 'acaikit>={needed}'"), read_h5(tmp_path / "a.h5"):
        pass


def test_a_later_compatible_format_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(h5file, "FORMAT_VERSION", 2)
        write(tmp_path / "a.h5")
    with read_h5(tmp_path / "a.h5") as file:
        assert file.attrs["format_version"] == 2


def test_releases_are_compared_as_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h5file, "MIN_READER_VERSION", "0.9.0")
    write(tmp_path / "a.h5")
    monkeypatch.setattr(h5file, "MIN_READER_VERSION", "0.10.0")
    with read_h5(tmp_path / "a.h5") as file:
        assert file.attrs["min_reader_version"] == b"0.9.0"


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    write(tmp_path / "a.h5")
    (tmp_path / "link.h5").symlink_to(tmp_path / "a.h5")
    (tmp_path / "folder.h5").mkdir()
    os.mkfifo(tmp_path / "fifo.h5")
    for name in ("link.h5", "folder.h5", "fifo.h5"):
        with pytest.raises(BrokenFile, match="regular file"), read_h5(tmp_path / name):
            pass


def test_missing_and_unreadable_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingFile, match=r"a\.h5 does not exist"), read_h5(tmp_path / "a.h5"):
        pass
    write(tmp_path / "a.h5")

    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(RunError, match="Permission denied") as caught, read_h5(tmp_path / "a.h5"):
            pass
    assert not isinstance(caught.value, BrokenFile)


def test_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write(tmp_path / "a.h5").read_bytes()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            write_h5(tmp_path / "a.h5", fill, format="checkpoint", run_id="abc", step=8)
    assert (tmp_path / "a.h5").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "unsafe",
    [
        lambda file: file.create_dataset("x", data=["text"], dtype=h5py.string_dtype()),
        lambda file: file.create_dataset("x", (10**9,), "u1"),
        lambda file: file.create_group("n\u00e4me"),
        lambda file: file.__setitem__("x", h5py.SoftLink("/")),
        lambda file: file.attrs.__setitem__("note", "text of any length"),
    ],
)
def test_what_the_reader_would_refuse_is_not_published(tmp_path: Path, unsafe: Callable[[h5py.Group], object]) -> None:
    before = write(tmp_path / "a.h5").read_bytes()
    with pytest.raises(TooMuch):
        write_h5(tmp_path / "a.h5", unsafe, format="checkpoint", run_id="abc", step=8)
    assert (tmp_path / "a.h5").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_too_long_to_be_read_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.h5")
    before = path.read_bytes()
    monkeypatch.setattr(h5file, "MOST_BYTES", len(before) - 1)
    with pytest.raises(TooMuch, match="can't be read back"):
        write(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("fault", [OverflowError, RecursionError, TypeError, IndexError, KeyError, OSError])
def test_however_reading_fails_it_is_the_files_fault(tmp_path: Path, fault: type[Exception]) -> None:
    def fail() -> None:
        raise fault

    path = write(tmp_path / "a.h5")
    with pytest.raises(BrokenFile, match=r"a\.h5 is broken: \w+"), read_h5(path):
        fail()


def test_want_of_memory_is_not_the_files_fault(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    with pytest.raises(RunError, match="out of memory") as caught, read_h5(path):
        raise MemoryError
    assert not isinstance(caught.value, BrokenFile)


@pytest.mark.parametrize("needed", ["9" * 5000, "-1.0", "a.b", "1.2.3.4", "", "1."])
def test_a_needed_version_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needed: str) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(h5file, "MIN_READER_VERSION", needed or "\0")
        write(tmp_path / "a.h5")
    with pytest.raises(BrokenFile, match="of no version"), read_h5(tmp_path / "a.h5"):
        pass


def test_peeking_at_a_text_leaves_the_rest_unread(tmp_path: Path) -> None:
    def fill(file: h5py.Group) -> None:
        write_text(file.create_group("state"), "skeleton", "h\u00e9")
        file["big"] = np.full(1000, 7.0)
        file["number"] = 1.5

    path = tmp_path / "a.h5"
    write_h5(path, fill, format="checkpoint", run_id="abc", step=7)
    path.write_bytes(path.read_bytes().replace(np.full(1000, 7.0).tobytes(), bytes(8000)))
    assert peek_text(path, "state/skeleton", format="checkpoint") == "h\u00e9"
    for name in ("state", "number", "nothing", "number/x"):
        with pytest.raises(BrokenFile, match=r"a\.h5 is broken"):
            peek_text(path, name, format="checkpoint")
    with pytest.raises(BrokenFile, match="of kind 'checkpoint'"):
        peek_text(path, "state/skeleton", format="run")


def test_filters_of_foreign_libraries_are_off() -> None:
    assert os.environ["HDF5_PLUGIN_PRELOAD"] == "::"
