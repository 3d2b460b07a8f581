from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from acaikit.artifacts import publish

from . import errors, limits
from .errors import JOBS, Fault, every_fault, fold
from .layer import Call, layer


def test_no_error_while_saving_loses_anything() -> None:
    report = errors.run(64)
    assert report.faults == []
    assert report.did == 64


def test_a_temporary_file_that_stays_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: None)
    job = JOBS[1]
    before, after, calls = fold(job)
    at = next(number for number, call in enumerate(calls) if call.name == "write")
    assert any("is left" in line for line in errors.faults_of(job, Fault(at, "ENOSPC"), before, after))


def test_an_error_that_is_swallowed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    job = JOBS[1]
    before, after, calls = fold(job)
    monkeypatch.setattr(publish, "_write_all", lambda descriptor, data: os.write(descriptor, data))
    at = next(number for number, call in enumerate(calls) if call.name == "write")
    said = errors.faults_of(job, Fault(at, "short"), before, after)
    assert "it seemed to be saved and isn't" in said


def test_there_are_faults_enough() -> None:
    assert sum(len(every_fault(fold(job)[2])) for job in JOBS) >= 500


def test_a_crash_of_a_child_is_noticed() -> None:
    assert limits.in_child(lambda: os.kill(os.getpid(), signal.SIGKILL)) == ["the process ends with -9"]
    assert limits.in_child(lambda: [{}["a"]]) == ["KeyError('a') comes of it"]
    assert limits.in_child(lambda: ["said"]) == ["said"]


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[list[Call]]:
    calls: list[Call] = []

    def around(call: Call) -> object:
        calls.append(call)
        if call.name == "unlink":
            raise OSError(errno.EIO, "no")
        return call.do()

    with layer(tmp_path / "watched", around):
        yield calls


def test_the_layer_sees_what_happens_below_its_folder_only(tmp_path: Path, seen: list[Call]) -> None:
    for folder in ("watched", "other"):
        (tmp_path / folder).mkdir()
        publish.publish(tmp_path / folder / "file", b"content")
    with pytest.raises(OSError, match="no"):
        (tmp_path / "watched" / "file").unlink()
    (tmp_path / "other" / "file").unlink()
    names = [call.name for call in seen]
    assert names == ["mkdir", "open", "write", "fsync", "close", "replace", "open", "fsync", "close", "unlink"]
    assert seen[5].args == ("file",)
    assert {call.path for call in seen[6:9]} == {"."}
