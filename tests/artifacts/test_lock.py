from __future__ import annotations

import errno
import json
import os
import re
import socket
import subprocess
import sys
import threading
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import filelock
import pytest

from acaikit.artifacts import lock as module
from acaikit.artifacts.lock import Held, Holder, RunLock, is_running
from acaikit.errors import RunError

HOLD = """
import sys
from pathlib import Path
from acaikit.artifacts.lock import RunLock
with RunLock(Path(sys.argv[1])):
    print(flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / ".lock"


def gone() -> int:
    with subprocess.Popen(["true"]) as process:
        return process.pid


def test_one_process_holds_it_and_who_that_is_is_said(file: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(Held) as caught, RunLock(file):
            pass
        assert caught.value.holder.pid == other.pid
        process = rf"process {other.pid} on {re.escape(socket.gethostname())} \(user .+\)"
        since = r"since \d{4}-\d\d-\d\d \d\d:\d\d UTC \(less than a minute\)"
        assert re.fullmatch(rf"{file.parent} is being trained by {process} {since}", str(caught.value))
        other.kill()  # the kernel frees the lock; the name of the holder stays behind
        other.communicate()
    assert RunLock(file).holder_file.exists()
    assert RunLock(file).holder() is None
    with RunLock(file):
        assert RunLock(file).holder().pid == os.getpid()
    assert [path.name for path in file.parent.iterdir()] == [".lock"]


def test_a_process_can_not_hold_it_twice_and_the_file_is_left_as_it_is(file: Path) -> None:
    file.write_bytes(b"")
    before = file.stat().st_ino
    for _ in range(3):
        with RunLock(file):
            with pytest.raises(Held), RunLock(file):
                pass
            with pytest.raises(Held), RunLock(file):  # the one that failed has freed nothing
                pass
    assert file.stat().st_ino == before


@pytest.mark.parametrize(
    ("ago", "said"),
    [
        (timedelta(seconds=59), "less than a minute"),
        (timedelta(minutes=1, seconds=5), "1 minute"),
        (timedelta(minutes=4, seconds=5), "4 minutes"),
        (timedelta(hours=23, minutes=59), "23 hours"),
        (timedelta(days=2), "2 days"),
    ],
)
def test_how_long_it_has_been_held(ago: timedelta, said: str) -> None:
    since = datetime.now(UTC) - ago
    told = str(Holder(1234, "HOST", "U", since.isoformat()))
    assert told == f"process 1234 on HOST (user U) since {since:%Y-%m-%d %H:%M} UTC ({said})"


@pytest.mark.parametrize(
    ("pid", "host", "shown"),
    [(os.getpid(), None, True), (gone(), None, False), (gone(), "another", True), (2**70, None, False)],
    ids=["this", "gone", "gone from another host", "none"],
)
def test_a_holder_that_is_no_more_is_not_shown(file: Path, pid: int, host: str | None, shown: bool) -> None:
    told = {"pid": pid, "host": host or socket.gethostname(), "user": "u", "since": "2026-11-21T13:02:00+00:00"}
    RunLock(file).holder_file.write_text(json.dumps(told))
    assert (RunLock(file).holder() is not None) is shown


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "7", '{"pid": "x", "host": 1}', '{"pid": 1, "host": "h", "user": "u", "since": "?"}', "\udcff"],
)
def test_a_holder_that_makes_no_sense_is_none(file: Path, text: str) -> None:
    RunLock(file).holder_file.write_bytes(text.encode(errors="surrogateescape"))
    with RunLock(file):
        pass
    RunLock(file).holder_file.write_bytes(text.encode(errors="surrogateescape"))
    assert RunLock(file).holder() is None


def test_a_holder_plays_no_tricks(file: Path, tmp_path: Path) -> None:
    told = {"pid": os.getpid(), "host": "h\x1b[31m", "user": "u\n", "since": "2026-11-21T13:02:00+00:00"}
    RunLock(file).holder_file.write_text(json.dumps(told))
    assert "\x1b" not in str(RunLock(file).holder()) and "\n" not in str(RunLock(file).holder())
    RunLock(file).holder_file.unlink()
    os.mkfifo(RunLock(file).holder_file)  # would wait for a writer
    assert RunLock(file).holder() is None


@pytest.mark.parametrize(
    "error", [NotImplementedError(), OSError(errno.ENOLCK, "No locks available"), OSError(errno.EOPNOTSUPP, "no")]
)
def test_a_file_system_without_locks(file: Path, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def acquire(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with pytest.raises(RunError, match="on a file system without file locks"), RunLock(file):
        pass


def test_a_lock_that_is_none_is_not_taken(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newer filelocks turn into one that only looks whether the file is there."""
    monkeypatch.setattr(module, "FileLock", filelock.SoftFileLock)
    with pytest.raises(RunError, match="on a file system without file locks"), RunLock(file):
        pass


def test_a_folder_that_can_not_be(file: Path) -> None:
    file.touch()
    with pytest.raises(RunError, match="can't be written"), RunLock(file / ".lock"):
        pass


def test_a_full_disk_does_not_matter(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with RunLock(file):
        with pytest.raises(Held, match="by another process"), RunLock(file):
            pass
        assert [path.name for path in file.parent.iterdir()] == [".lock"]


def test_which_processes_run() -> None:
    assert is_running(os.getpid()) and is_running(1)
    assert not is_running(gone())


@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "fifo"])
def test_what_is_no_file_is_not_locked(file: Path, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    match kind:
        case "link":
            file.symlink_to(target)
        case "dangling link":
            file.symlink_to(tmp_path / "nowhere")
        case "folder":
            file.mkdir()
        case "fifo":
            os.mkfifo(file)
    with pytest.raises(RunError, match="isn't a regular file"), RunLock(file):
        pass
    assert target.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


def test_a_forked_process_frees_nothing(file: Path) -> None:
    with RunLock(file) as lock:
        if (child := os.fork()) == 0:
            lock.__exit__(None, None, None)
            os._exit(0)
        os.waitpid(child, 0)
        assert RunLock(file).holder().pid == os.getpid()
        command = [sys.executable, "-c", HOLD, str(file)]
        other = subprocess.run(command, input=b"", capture_output=True, check=False)
        assert b"Held" in other.stderr and other.returncode == 1
    with RunLock(file):
        pass


def test_another_locks_holder_stays(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with RunLock(folder / ".lock"):
        folder.rename(tmp_path / "away")
        with RunLock(folder / ".lock") as other:
            pass
        told = {"pid": os.getpid(), "host": "another", "user": "u", "since": "2026-11-21T13:02:00+00:00"}
        other.holder_file.write_text(json.dumps(told))
    assert other.holder().host == "another"


@pytest.mark.parametrize("call", ["fsync", "open"], ids=["while it is taken", "while it is given back"])
def test_an_interrupt_leaves_nothing_locked(file: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    def hold() -> None:
        with lock:
            monkeypatch.setattr(os, "open", interrupted)

    lock = RunLock(file)
    if call == "fsync":
        monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        hold()
    monkeypatch.undo()
    with RunLock(file):
        pass


def test_a_lock_that_is_held_is_waited_for(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[object] = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    other = RunLock(file).__enter__()

    def wait(held: Held) -> None:
        waits.append(held.holder.pid)
        if len(waits) == 5:
            other.__exit__(None, None, None)

    with RunLock(file, wait):
        assert RunLock(file).holder().pid == os.getpid()
        with pytest.raises(Held), RunLock(file):
            pass
    assert waits == [os.getpid(), module.LOOK_AGAIN] * 3
    waits.clear()
    with RunLock(file, wait):
        assert waits == []


def test_who_waits_may_give_up(file: Path) -> None:
    def give_up(held: Held) -> None:
        raise InterruptedError(str(held))

    with RunLock(file) as lock:
        with (
            pytest.raises(InterruptedError, match=f"is being trained by process {os.getpid()}"),
            RunLock(file, give_up),
        ):
            pass
        assert lock.holder().pid == os.getpid()
    with RunLock(file):
        pass


def test_what_is_no_lock_is_not_waited_for(file: Path) -> None:
    file.mkdir()
    with pytest.raises(RunError, match="isn't a regular file"), RunLock(file, wait=pytest.fail):
        pass


def test_threads_that_take_locks_leave_the_filters_of_warnings_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire, before = filelock.FileLock.acquire, list(warnings.filters)
    begun, joined, left = threading.Event(), threading.Event(), threading.Event()

    def first(lock: filelock.FileLock, **how: object) -> object:
        monkeypatch.setattr(filelock.FileLock, "acquire", second)
        begun.set()
        joined.wait(0.1)  # nobody joins where one waits for the other
        return acquire(lock, **how)

    def second(lock: filelock.FileLock, **how: object) -> object:
        joined.set()
        left.wait(10)  # what was found changed would be put back last
        return acquire(lock, **how)

    def take(name: str, done: threading.Event) -> None:
        with RunLock(tmp_path / name / ".lock"):
            done.set()

    monkeypatch.setattr(filelock.FileLock, "acquire", first)
    one = threading.Thread(target=take, args=["one", left])
    other = threading.Thread(target=take, args=["other", threading.Event()])
    one.start()
    begun.wait(10)
    other.start()
    for thread in (one, other):
        thread.join()
    assert warnings.filters == before
