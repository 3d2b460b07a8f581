from __future__ import annotations

import errno
import resource
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_set import X, Y, fill, write_small

from acaikit.data import writer as writer_module
from acaikit.data.prepared import changed_splits, open_prepared
from acaikit.data.writer import Writer, write_prepared
from acaikit.errors import DataError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_small(tmp_path / "set.h5")


@st.composite
def splits(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray | None, list[int]]:
    count = draw(st.integers(1, 12))
    shape = draw(st.lists(st.integers(1, 5), max_size=3))
    noise = np.random.default_rng(draw(st.integers(0, 99)))
    if draw(st.booleans()):
        x: np.ndarray = noise.integers(0, 256, (count, *shape)).astype(np.uint8)
    else:
        x = noise.uniform(-1, 1, (count, *shape)).astype(np.float32)
    y = noise.integers(0, 2**40, count) if draw(st.booleans()) else None
    ends = draw(st.lists(st.integers(0, count)))
    return x, y, [0, *sorted(ends), count]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["train", "test", "extra"]), splits(), min_size=1))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, sets: dict[str, tuple[np.ndarray, np.ndarray | None, list[int]]]
) -> None:
    def fill(writer: Writer) -> None:
        for name, (x, y, _) in sets.items():
            writer.split(name, len(x), x.shape[1:], labels=y is not None, dtype=x.dtype)
        for name, (x, y, ends) in sets.items():
            for start, end in pairwise(ends):
                writer.append(name, x[start:end], None if y is None else y[start:end])

    path = tmp_path_factory.mktemp("set") / "set.h5"
    write_prepared(path, "", fill)
    found = open_prepared(path).splits
    assert found.keys() == sets.keys()
    with h5py.File(path) as file:
        for name, (x, y, _) in sets.items():
            assert torch.equal(found[name].data, torch.from_numpy(x))
            assert found[name].data.data_ptr() % 16 == 0
            assert np.array_equal(file[name]["x"][:], x)
            assert (found[name].labels is None) == (y is None) == ("y" not in file[name])
            if y is not None:
                assert torch.equal(found[name].labels, torch.from_numpy(y))
                assert np.array_equal(file[name]["y"][:], y)
    assert changed_splits(path) == []


def test_notes_of_any_length_come_back(tmp_path: Path) -> None:
    path, names = tmp_path / "set.h5", tuple(f"class {i} ('ä\0')" for i in range(20_000))

    def more(writer: Writer) -> None:
        fill(writer)
        writer.notes.classes, writer.notes.class_names, writer.notes.remarks = len(names), names, ("one", "two")

    write_prepared(path, "f" * 100_000, more)
    notes = open_prepared(path).notes
    assert (notes.fingerprint, notes.classes) == ("f" * 100_000, 20_000)
    assert (notes.class_names, notes.remarks) == (names, ("one", "two"))


def test_the_same_set_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        write_prepared(tmp_path / name, "", fill)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_split_can_be_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "set.h5"

    def again(writer: Writer) -> None:
        fill(writer)
        writer.split("train", 4, (3, 2, 2), labels=False)
        writer.append("train", X[:4])

    write_prepared(path, "", again)
    found = open_prepared(path).splits
    assert torch.equal(found["train"].data, torch.from_numpy(X[:4]))
    assert found["train"].labels is None
    assert torch.equal(found["test"].data, torch.from_numpy(X[15:]))
    assert changed_splits(path) == []


@pytest.mark.parametrize(
    "wrong",
    [
        lambda w: w.append("train", X[:3], Y[:3]),
        lambda w: (w.append("train", X, Y), w.append("train", X[:1], Y[:1])),
        lambda w: w.append("train", X.reshape(20, 12), Y),
        lambda w: w.append("train", X),
        lambda w: w.append("train", X, Y[:3]),
        lambda w: w.append("train", X, Y[:, None]),
        lambda w: (w.split("bare", 20, (3, 2, 2), labels=False), w.append("bare", X, Y)),
        lambda w: w.split("empty", 0, (3, 2, 2), labels=False),
        lambda w: w.append("train", X.astype(np.int64), Y),
        lambda w: w.append("train", X, Y.astype(np.float64)),
        lambda w: w.split("doubles", 20, (3, 2, 2), labels=False, dtype=np.float64),
    ],
)
def test_a_loader_that_writes_nonsense(tmp_path: Path, wrong: Callable[[Writer], Any]) -> None:
    def fill(writer: Writer) -> None:
        writer.split("train", 20, (3, 2, 2), labels=True)
        wrong(writer)

    with pytest.raises(ValueError, match=r"train|bare|empty|doubles"):
        write_prepared(tmp_path / "set.h5", "", fill)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [DataError("bad source"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_a_failure_in_the_middle_leaves_the_old_file_and_nothing_else(file: Path, error: BaseException) -> None:
    before = file.read_bytes()

    def fails(writer: Writer) -> None:
        writer.split("train", 20, (3, 2, 2), labels=True)
        writer.append("train", X[:3], Y[:3])
        raise error

    with pytest.raises(type(error)):
        write_prepared(file, "other", fails)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes, as if the disk were full then."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("share", [0, 0.1, 0.3, 0.6, 0.95])
def test_a_disk_that_is_full_at_any_point(file: Path, share: float) -> None:
    before = file.read_bytes()
    with pytest.raises(OSError, match="too large"), files_end_at(int(share * len(before))):
        write_prepared(file, "other", fill)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]
    write_prepared(file, "other", fill)
    assert open_prepared(file).notes.fingerprint == "other"


def test_room_is_looked_for_before_anything_is_written(tmp_path: Path) -> None:
    def huge(writer: Writer) -> None:
        writer.split("train", 2**40, (3, 64, 64), labels=False)

    with pytest.raises(DataError, match=r"set\.h5 needs 13511 TB in .*: make room, or name .* --data-dir"):
        write_prepared(tmp_path / "set.h5", "", huge)
    assert list(tmp_path.iterdir()) == []


def test_room_is_looked_for_for_all_splits_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(writer_module, "room", lambda _folder, size, _what: asked.append(size))
    write_prepared(tmp_path / "a.h5", "", fill)

    def together(writer: Writer) -> None:
        writer.split("train", 20, (3, 2, 2), labels=True)
        writer.split("test", 10, (3, 2, 2), labels=False, dtype=np.float32)
        writer.append("train", X, Y)
        writer.append("test", X[:10])

    write_prepared(tmp_path / "b.h5", "", together)
    assert asked == [15 * 20, 5 * 20, 20 * 20, 20 * 20 + 10 * 48]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_writing_keeps_no_more_than_a_piece_in_memory(tmp_path: Path, dtype: type) -> None:
    piece = np.ones((4, 2**18), dtype)

    def fill(writer: Writer) -> None:
        writer.split("train", 64, (2**18,), labels=True, dtype=dtype)
        for _ in range(16):
            writer.append("train", piece, np.zeros(4, np.int64))

    tracemalloc.start()
    try:
        write_prepared(tmp_path / "set.h5", "", fill)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * piece.nbytes
