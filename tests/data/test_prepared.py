from __future__ import annotations

import errno
import hashlib
import os
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

from acaikit.data import prepared as prepared_module
from acaikit.data.prepared import Writer, changed_splits, open_prepared, write_prepared
from acaikit.errors import DataError

X = np.arange(240, dtype=np.uint8).reshape(20, 3, 2, 2)
Y = np.arange(20) % 7


def fill(writer: Writer) -> None:
    writer.notes.classes, writer.notes.class_names = 7, tuple("abcdefg")
    for name, rows in (("train", slice(0, 15)), ("test", slice(15, 20))):
        writer.split(name, len(X[rows]), (3, 2, 2), labels=True)
        writer.append(name, X[rows], Y[rows])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "set.h5"
    write_prepared(path, "made of this", fill)
    return path


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
    monkeypatch.setattr(prepared_module, "room", lambda _folder, size, _what: asked.append(size))
    write_prepared(tmp_path / "a.h5", "", fill)

    def together(writer: Writer) -> None:
        writer.split("train", 20, (3, 2, 2), labels=True)
        writer.split("test", 10, (3, 2, 2), labels=False, dtype=np.float32)
        writer.append("train", X, Y)
        writer.append("test", X[:10])

    write_prepared(tmp_path / "b.h5", "", together)
    assert asked == [15 * 20, 5 * 20, 20 * 20, 20 * 20 + 10 * 48]


def damaged(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        open_prepared(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_file_that_is_cut_short(file: Path) -> None:
    content = file.read_bytes()
    for size in [*range(0, len(content), 37), len(content) - 1]:
        file.write_bytes(content[:size])
        assert "is damaged" in damaged(file)


def test_a_byte_that_changed_is_noticed_wherever_it_is(file: Path) -> None:
    content, before = file.read_bytes(), open_prepared(file)
    spans = {}
    with h5py.File(file) as opened:
        for name in ("train", "test"):
            for column in ("x", "y"):
                dataset = opened[name][column]
                begin = dataset.id.get_offset()
                spans[name, column] = range(begin, begin + dataset.nbytes)
    offsets = np.random.default_rng(0).permutation(len(content))[:400]
    for offset in map(int, offsets):
        changed = bytearray(content)
        changed[offset] ^= 0xFF
        # Another file each time: the old one is mapped.
        file.unlink()
        file.write_bytes(changed)
        inside = next((key for key, span in spans.items() if offset in span), None)
        if inside is not None and inside[1] == "x":
            open_prepared(file)
            assert changed_splits(file) == [inside[0]]
        elif inside is not None:
            assert f"/{inside[0]}/y is not what was written" in damaged(file)
        else:
            try:
                found = open_prepared(file)
            except DataError:
                continue
            # A gap between two arrays.
            assert found.notes == before.notes
            for name, split in before.splits.items():
                assert torch.equal(found.splits[name].data, split.data)
                assert torch.equal(found.splits[name].labels, split.labels)


def test_other_files_are_no_prepared_sets(tmp_path: Path) -> None:
    path = tmp_path / "set.h5"
    assert "can't be read: No such file" in damaged(path)
    path.mkdir()
    assert "can't be read: Is a directory" in damaged(path)
    path.rmdir()
    path.write_bytes(b"PK\3\4")
    assert "is damaged" in damaged(path)
    with h5py.File(path, "w") as file:
        file["train"] = np.zeros(3)
    assert "is no prepared set of this version" in damaged(path)
    with h5py.File(path, "w") as file:
        file.attrs["format"] = np.bytes_(b"acaikit.prepared.99")
    assert "is no prepared set of this version" in damaged(path)


def outside(path: Path) -> Path:
    """Write what someone would like to be read in place of an example: another file of the user's."""
    secret = path.with_name("secret.h5")
    with h5py.File(secret, "w") as file:
        file.create_group("train")
        file["train/x"] = X
        file["train/y"] = Y
    path.with_name("secret.bin").write_bytes(bytes(240))
    return secret


def external_group(file: h5py.File, secret: Path) -> None:
    file["train"] = h5py.ExternalLink(secret, "/train")


def soft_group(file: h5py.File, secret: Path) -> None:
    file["test"] = h5py.SoftLink("/train")


def external_x(file: h5py.File, secret: Path) -> None:
    file.create_group("train")["x"] = h5py.ExternalLink(secret, "/train/x")


def external_y(file: h5py.File, secret: Path) -> None:
    file.create_group("train")["x"] = X
    file["train"]["y"] = h5py.ExternalLink(secret, "/train/y")


def external_storage(file: h5py.File, secret: Path) -> None:
    file.create_group("train").create_dataset(
        "x", X.shape, X.dtype, external=[(secret.with_suffix(".bin"), 0, X.nbytes)]
    )


def virtual(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout(X.shape, X.dtype)
    layout[:] = h5py.VirtualSource(secret, "train/x", X.shape)
    file.create_group("train").create_virtual_dataset("x", layout)


def packed(file: h5py.File, secret: Path) -> None:
    file.create_group("train").create_dataset("x", data=X, chunks=(5, 3, 2, 2), compression="gzip")


def compact(file: h5py.File, secret: Path) -> None:
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.COMPACT)
    file.create_group("train").create_dataset("x", data=X, dcpl=layout)


def pickles(file: h5py.File, secret: Path) -> None:
    file.create_group("train").create_dataset("x", data=["object"] * 3, dtype=h5py.string_dtype())


def swapped(file: h5py.File, secret: Path) -> None:
    file.create_group("train").create_dataset("x", data=X.astype(">f4"))


def group_for_x(file: h5py.File, secret: Path) -> None:
    file.create_group("train").create_group("x")


def no_x(file: h5py.File, secret: Path) -> None:
    file.create_group("train")["y"] = Y


def array_for_group(file: h5py.File, secret: Path) -> None:
    file["train"] = X


def scalar(file: h5py.File, secret: Path) -> None:
    file.create_group("train")["x"] = np.uint8(3)


def empty(file: h5py.File, secret: Path) -> None:
    file.create_group("train")["x"] = np.zeros((0, 3), np.uint8)


def other_count(file: h5py.File, secret: Path) -> None:
    file.create_group("train")["x"] = X
    file["train"]["y"] = Y[:5]


@pytest.mark.parametrize(
    "write",
    [
        external_group,
        soft_group,
        external_x,
        external_y,
        external_storage,
        virtual,
        packed,
        compact,
        pickles,
        swapped,
        group_for_x,
        no_x,
        array_for_group,
        scalar,
        empty,
        other_count,
    ],
)
def test_only_arrays_inside_the_file_are_mapped(
    tmp_path: Path, write: Callable[[h5py.File, Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The offsets of such a file are whatever its writer's library chose.
    monkeypatch.setattr(prepared_module, "ALIGNMENT", 1)
    path, good = tmp_path / "set.h5", tmp_path / "good.h5"
    secret = outside(path)
    for target, filling in ((good, None), (path, write)):
        with h5py.File(target, "w") as file:
            file.attrs["format"] = np.bytes_(b"acaikit.prepared.1")
            file.attrs["notes"] = np.bytes_(b'{"fingerprint":"","classes":null,"class_names":[],"remarks":[]}')
            if filling is None:
                file.create_group("train")["x"] = X
                file["train"]["y"] = Y
                file["train"]["y"].attrs["sha256"] = np.bytes_(hashlib.sha256(Y.tobytes()).hexdigest().encode())
            else:
                filling(file, secret)
    assert torch.equal(open_prepared(good).splits["train"].data, torch.from_numpy(X))
    assert "is damaged" in damaged(path)


def test_a_lock_on_the_file_is_no_hindrance(file: Path) -> None:
    with h5py.File(file, "r+", locking=True):
        assert len(open_prepared(file).splits["train"]) == 15


def test_what_is_written_to_the_examples_stays_in_memory(file: Path) -> None:
    before, split = file.read_bytes(), open_prepared(file).splits["train"]
    split.data.fill_(7)
    split.labels.fill_(7)
    assert file.read_bytes() == before
    again = open_prepared(file).splits["train"]
    assert torch.equal(again.data, torch.from_numpy(X[:15]))
    assert torch.equal(again.labels, torch.from_numpy(Y[:15]))


def test_who_has_mapped_a_file_that_is_replaced_keeps_its_examples(file: Path) -> None:
    old = open_prepared(file).splits["train"]

    def negative(writer: Writer) -> None:
        writer.split("train", 15, (3, 2, 2), labels=False)
        writer.append("train", 255 - X[:15])

    write_prepared(file, "new", negative)
    assert torch.equal(old.data, torch.from_numpy(X[:15]))
    assert torch.equal(open_prepared(file).splits["train"].data, torch.from_numpy(255 - X[:15]))


def test_a_file_that_is_replaced_while_it_is_opened_is_mapped_from_one_of_the_two(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped = prepared_module._mapped

    def replace_first(*what: Any) -> torch.Tensor:
        with monkeypatch.context() as patch:
            patch.setattr(prepared_module, "_mapped", mapped)
            write_prepared(
                file, "f" * 9999, lambda w: (fill(w), w.split("a", 1, (), labels=False), w.append("a", Y[:1]))
            )
        return mapped(*what)

    monkeypatch.setattr(prepared_module, "_mapped", replace_first)
    found = open_prepared(file)
    assert found.notes.fingerprint == "made of this"
    assert torch.equal(found.splits["train"].data, torch.from_numpy(X[:15]))


def resident() -> int:
    """Return how many bytes of memory this process uses."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_opening_reads_none_of_the_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, count, piece = tmp_path / "set.h5", 256, np.ones((1, 1024, 1024), np.uint8)
    # The test's 256 MiB needn't lie on the disk.
    append = prepared_module._Column.append

    def sparse(self: Any, rows: np.ndarray, file: Any) -> None:
        if self.filled in (0, count - 1):
            append(self, rows, file)
        else:
            self.filled += len(rows)

    def fill(writer: Writer) -> None:
        writer.split("train", count, (1024, 1024), labels=False)
        for _ in range(count):
            writer.append("train", piece)

    with monkeypatch.context() as patch:
        patch.setattr(prepared_module._Column, "append", sparse)
        write_prepared(path, "", fill)
    before = resident()
    split = open_prepared(path).splits["train"]
    assert resident() - before < 32 * 2**20
    assert split.data.nbytes == 256 * 2**20
    assert split.examples(slice(255, 256)).mean() == pytest.approx(2 / 255 - 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_writing_keeps_no_more_than_a_piece_in_memory(tmp_path: Path, dtype: type) -> None:
    piece = np.ones((4, 2**18), np.float32)

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
