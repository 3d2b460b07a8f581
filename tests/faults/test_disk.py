from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

import pytest

from acaikit.artifacts import publish

from . import disk
from .disk import Known, Op, State, contents, crashes, faults_of, record, state, unsure
from .layer import layer


def test_every_state_that_a_crash_leaves_can_be_gone_on_from() -> None:
    report = disk.run(120)
    assert report.faults == []
    assert {"killed", "killed within a write", "power lost, zeros"} < set(report.found)
    found = {name.partition(":")[0]: number for name, number in report.found.items()}
    for step in ("fsync", "folder fsync", "rename", *disk.SPOTS):
        assert found[f"on purpose without the {step}"] > 0


def test_each_state_comes_once() -> None:
    found = list(islice(crashes(record(), random.Random(0)), 500))
    assert len({crash[1:] for crash in found}) == 500
    for crash in found:
        assert len(crash.before.rows) == len(crash.before.evaluations) == 0 or crash.before.run


SAVE = [
    Op("mkdir", "f"),
    Op("sync folder", "."),
    Op("create", "f/temp", inode=0),
    Op("write", inode=0, offset=0, data=b"ab"),
    Op("write", inode=0, offset=2, data=b"cd"),
    Op("sync", inode=0),
    Op("replace", "f/temp", "f/a"),
    Op("sync folder", "f"),
    Op("unlink", "f/a"),
]


def held(*files: tuple[str, bytes]) -> State:
    return State(frozenset({"f"}), files)


def test_the_model_of_a_disk() -> None:
    assert [unsure(SAVE[:at]) for at in range(len(SAVE) + 1)] == [
        *([], [0], [], [2], [2], [2], [2], [2, 6], [], [8]),
    ]
    assert contents(SAVE[:5]) == {0: (b"", b"abcd")}
    assert contents(SAVE[:6]) == {0: (b"abcd", b"abcd")}
    assert state(SAVE[:5]) == held(("f/temp", b"abcd"))
    assert state(SAVE[:5], content=lambda sure, seen: sure) == held(("f/temp", b""))
    assert state(SAVE[:5], {2}) == held()
    assert state(SAVE[:7]) == state(SAVE[:7], {2}) == held(("f/a", b"abcd"))
    assert state(SAVE[:7], {6}) == held(("f/temp", b"abcd"))
    assert state(SAVE[:7], {0}) == State(frozenset(), ())
    assert state(SAVE) == held()
    assert state(SAVE, {8}) == held(("f/a", b"abcd"))


@pytest.mark.parametrize("way", disk.Tear.WAYS)
def test_only_what_was_not_synchronised_is_torn(way: str) -> None:
    tear, seen = disk.Tear(way, random.Random(0)), random.Random(1).randbytes(5000)
    assert tear(seen, seen) == seen
    torn = {tear(b"old", seen) for _ in range(20)}
    assert all(len(found) <= len(seen) for found in torn)
    assert (torn == {seen}) == (way == "whole")


def test_what_a_killed_process_left_unsure_is_made_sure_by_the_next(tmp_path: Path) -> None:
    recorder = disk.Recorder(tmp_path)
    with layer(tmp_path, recorder):
        (tmp_path / "folder").mkdir()  # and killed
        assert unsure(recorder.ops) == [0]
        publish.remove_stale(tmp_path)
        publish.publish(tmp_path / "folder" / "file", b"content")
    assert unsure(recorder.ops) == []
    assert state(recorder.ops, content=lambda sure, seen: sure).files == (("folder/file", b"content"),)


def test_what_is_missing_or_wrong_is_noticed() -> None:
    ops = record()
    whole = next(crash for crash in crashes(ops, random.Random(0)) if crash.before.evaluations and crash.before.rows)
    assert faults_of(whole) == []
    files = dict(whole.state.files)
    for path in files:
        if path.endswith(".h5"):
            damaged = {**files, path: files[path][:-1]}
            assert path.startswith("run/checkpoints") or faults_of(
                whole._replace(state=whole.state._replace(files=tuple(damaged.items())))
            )
    empty = whole._replace(state=State(frozenset({"run"}), ()))
    assert len(faults_of(empty)) >= 3
    assert faults_of(empty._replace(before=Known(), after=Known())) == []
