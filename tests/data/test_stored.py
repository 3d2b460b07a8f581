from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from acaikit.data import alone as alone_module
from acaikit.data.alone import alone
from acaikit.data.location import prepared_files
from acaikit.data.stored import Stored
from acaikit.data.writer import Writer, write_prepared
from acaikit.errors import DataError, DataWarning
from acaikit.rng import generator


class Tiny(Stored):
    """Reads one array file; `read` notes each reading in the file ``log`` beside it."""

    shape = (3,)
    name = "tiny"

    def __init__(self, source: Path) -> None:
        self.source = source

    def fingerprint(self) -> str | None:
        if not self.source.exists():
            return None
        stat = self.source.stat()
        return json.dumps([stat.st_size, stat.st_mtime_ns])

    def fill(self, writer: Writer) -> None:
        with self.source.with_name("log").open("a") as log:
            log.write("read\n")
        x = np.load(self.source)
        for name, rows in (("train", x[:-2]), ("test", x[-2:])):
            writer.split(name, len(rows), self.shape, labels=False)
            writer.append(name, rows)

    @property
    def readings(self) -> int:
        log = self.source.with_name("log")
        return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.fixture
def tiny(data_folder: Path, tmp_path: Path) -> Tiny:
    return Tiny(save(tmp_path / "source.npy"))


def save(path: Path, value: int = 0) -> Path:
    """Save an array file that is newer than the one it replaces, however coarse the file system's clock is."""
    later = path.stat().st_mtime_ns + 10**9 if path.exists() else None
    np.save(path, np.arange(30, dtype=np.uint8).reshape(10, 3) + np.uint8(value))
    if later is not None:
        os.utime(path, ns=(later, later))
    return path


def content(dataset: Stored) -> np.ndarray:
    splits = dataset.prepared.splits
    return np.concatenate([splits[name].data.numpy() for name in ("train", "test")])


def check(dataset: Stored, value: int = 0) -> None:
    assert np.array_equal(content(dataset), np.arange(30).reshape(10, 3) + value)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def failure(call: Callable[[], object]) -> str:
    with pytest.raises(DataError) as caught:
        call()
    return str(caught.value)


def test_sources_are_read_once(tiny: Tiny, data_folder: Path) -> None:
    assert (tiny.state, tiny.prepared_file) == ("files there", None)
    tiny.prepare()
    check(tiny)
    for dataset in (tiny, Tiny(tiny.source)):
        stream = dataset.train(8, generator(0, "data"))
        assert sorted(stream.next()[0][:, 0].tolist()) == pytest.approx([2 * v / 255 - 1 for v in range(0, 24, 3)])
        assert torch.equal(dataset.test().data, torch.arange(24, 30, dtype=torch.uint8).view(2, 3))
        assert (dataset.state, dataset.prepared_file) == ("prepared", data_folder / "prepared" / "tiny.h5")
    assert tiny.readings == 1
    assert names(data_folder / "prepared") == {"tiny.h5"}


def test_changed_sources_are_read_anew(tiny: Tiny) -> None:
    check(tiny)
    save(tiny.source, 5)
    again = Tiny(tiny.source)
    assert again.state == "files there"
    check(again, 5)
    check(tiny)
    assert tiny.readings == 2


def test_what_another_version_prepared_is_made_anew(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    check(tiny)
    monkeypatch.setattr(Tiny, "version", 2)
    check(Tiny(tiny.source))
    assert tiny.readings == 2
    check(Tiny(tiny.source))
    assert tiny.readings == 2
    tiny.source.unlink()
    monkeypatch.setattr(Tiny, "version", 3)
    assert "tiny.h5 was prepared by another version of acaikit" in failure(Tiny(tiny.source).prepare)


def test_prepared_data_outlive_their_sources(tiny: Tiny) -> None:
    check(tiny)
    tiny.source.unlink()
    again = Tiny(tiny.source)
    assert again.state == "prepared"
    check(again)


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def cut_to_nothing(file: Path) -> None:
    file.write_bytes(b"")


def of_another_version(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"acaikit.prepared.1", b"acaikit.prepared.0"))


def with_a_flipped_byte(file: Path) -> None:
    raw = file.read_bytes()
    inside = raw.index(b"OHDR") + 12  # an object's header
    file.write_bytes(raw[:inside] + bytes([raw[inside] ^ 1]) + raw[inside + 1 :])


def unreadable(file: Path) -> None:
    file.unlink()
    file.symlink_to(file)


DAMAGES = [cut_short, cut_to_nothing, of_another_version, with_a_flipped_byte]


@pytest.mark.parametrize("damage", [*DAMAGES, unreadable])
def test_a_damaged_file_is_made_anew(tiny: Tiny, damage: Callable[[Path], None]) -> None:
    tiny.prepare()
    damage(tiny.prepared.file)
    check(Tiny(tiny.source))
    check(Tiny(tiny.source))
    assert tiny.readings == 2
    assert names(tiny.prepared.file.parent) == {"tiny.h5"}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_without_its_sources(tiny: Tiny, damage: Callable[[Path], None]) -> None:
    tiny.prepare()
    damage(tiny.prepared.file)
    tiny.source.unlink()
    again = Tiny(tiny.source)
    message = failure(again.prepare)
    assert message.startswith(f"{tiny.prepared.file} is damaged: ")
    assert message.endswith("\nthe source files of tiny are missing")
    assert again.state == "missing"


def test_no_sources_at_all(tiny: Tiny) -> None:
    tiny.source.unlink()
    assert failure(tiny.prepare) == "the source files of tiny are missing"


def close(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o555)


def test_a_read_only_data_folder_is_left_alone(tiny: Tiny, data_folder: Path) -> None:
    close(data_folder)
    check(tiny)
    check(Tiny(tiny.source))
    assert tiny.readings == 1
    assert tiny.prepared.file == prepared_files("tiny")[1]
    assert list(data_folder.iterdir()) == []


def test_prepared_data_in_a_read_only_folder_are_used(tiny: Tiny, data_folder: Path, tmp_path: Path) -> None:
    tiny.prepare()
    close(data_folder / "prepared")
    close(data_folder)
    check(Tiny(tiny.source))
    assert tiny.readings == 1
    assert not (tmp_path / "cache").exists()
    # What is out of date there is made anew where it can be.
    save(tiny.source, 5)
    again = Tiny(tiny.source)
    check(again, 5)
    assert again.prepared.file == prepared_files("tiny")[1]


def test_nowhere_to_write(tiny: Tiny, data_folder: Path, tmp_path: Path) -> None:
    close(data_folder)
    close(tmp_path / "cache")
    message = failure(tiny.prepare)
    beside, away = (file.parent for file in prepared_files("tiny"))
    assert f"nothing can be written to {beside} or {away}: name a data folder" in message
    assert tiny.readings == 0


def fails(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    fill = Tiny.fill

    def fail(self: Tiny, writer: Writer) -> None:
        fill(self, writer)
        raise error

    monkeypatch.setattr(Tiny, "fill", fail)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (DataError("the source is bad"), "^the source is bad$"),
        (OSError(errno.ENOSPC, "full"), r"the disk became full while .*tiny\.h5 was written: make room"),
        (PermissionError(errno.EACCES, "denied", "/d/source"), r"tiny\.h5 can't be made: .*denied: '/d/source'"),
        (KeyboardInterrupt(), None),
    ],
)
def test_a_failure_in_the_middle(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, data_folder: Path, error: BaseException, message: str | None
) -> None:
    with monkeypatch.context() as patch:
        fails(patch, error)
        with pytest.raises(DataError if message else KeyboardInterrupt, match=message):
            tiny.prepare()
    assert names(data_folder / "prepared") == set()
    check(tiny)


def test_a_source_that_cannot_be_looked_at(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Tiny) -> str:
        raise PermissionError(errno.EACCES, "denied", "/d/source")

    monkeypatch.setattr(Tiny, "fingerprint", denied)
    assert "files of tiny can't be looked at: [Errno 13] denied: '/d/source'" in failure(tiny.prepare)


def test_remarks_are_shown_once_where_the_data_are_asked_for(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    fill = Tiny.fill

    def remark(self: Tiny, writer: Writer) -> None:
        fill(self, writer)
        writer.notes.remarks = ("one", "two")

    monkeypatch.setattr(Tiny, "fill", remark)
    for dataset in (tiny, Tiny(tiny.source)):
        with pytest.warns(DataWarning) as caught:
            dataset.prepare()
        # Further warnings would be errors.
        dataset.train(1, generator(0, "data"))
        dataset.test()
        assert [str(warning.message) for warning in caught] == ["one", "two"]
        assert {warning.filename for warning in caught} == {__file__}


def test_who_waits_for_another_process_says_so(tiny: Tiny, data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, said, waiting = data_folder / "prepared" / "tiny.h5", [], threading.Event()

    class Console:
        def print(self, what: str, **_: object) -> None:
            said.append(what)
            waiting.set()

    monkeypatch.setattr(alone_module, "console", Console())
    target.parent.mkdir(parents=True)
    with alone(target):
        thread = threading.Thread(target=tiny.prepare)
        thread.start()
        assert waiting.wait(60)
        # What the other process makes is taken.
        write_prepared(target, tiny.fingerprint() or "", tiny.fill)
    thread.join()
    assert said == [f"another process is making {target}: waiting for it"]
    check(tiny)
    assert tiny.readings == 1


def test_everyone_may_lock_what_everyone_may_make(tiny: Tiny, data_folder: Path) -> None:
    tiny.prepare()
    (lock,) = (data_folder / "prepared").glob(".*.lock")
    assert lock.stat().st_mode & 0o777 == 0o666


class Together(Tiny):
    """Begins to make the prepared file only when all others that share the barrier begin too."""

    barrier: Barrier

    def _make(self) -> Any:
        self.barrier.wait(60)
        return super()._make()


def prepare_together(source: Path, barrier: Barrier, result: Path) -> None:
    dataset = Together(source)
    dataset.barrier = barrier
    np.save(result, content(dataset))


class Killed(Tiny):
    def fill(self, writer: Writer) -> None:
        writer.split("train", 10, self.shape, labels=False)
        os.kill(os.getpid(), signal.SIGKILL)


def prepare_and_die(source: Path) -> None:
    Killed(source).prepare()


def test_two_processes_read_the_sources_once(tiny: Tiny, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(2), [tmp_path / f"{n}.npy" for n in range(2)]
    processes = [spawn.Process(target=prepare_together, args=(tiny.source, barrier, result)) for result in results]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
        process.close()
    assert tiny.readings == 1
    for result in results:
        assert np.array_equal(np.load(result), np.arange(30).reshape(10, 3))


def test_what_a_killed_process_left_is_removed(tiny: Tiny, data_folder: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=prepare_and_die, args=(tiny.source,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    process.close()
    folder = data_folder / "prepared"
    (left,) = names(folder)
    assert left.startswith(".tiny.h5.")
    # Another set's, which may be being written at this moment.
    other = folder / left.replace("tiny", "other")
    other.touch()
    check(tiny)
    assert names(folder) == {"tiny.h5", other.name}
