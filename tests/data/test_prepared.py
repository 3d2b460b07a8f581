from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from small_set import X, Y, fill, write_small

from acaikit.data import prepared as prepared_module
from acaikit.data import writer as writer_module
from acaikit.data.prepared import changed_splits, open_prepared
from acaikit.data.writer import Writer, write_prepared
from acaikit.errors import DataError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_small(tmp_path / "set.h5")


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
                file, "f" * 9999, lambda w: (fill(w), w.split("a", 1, (), labels=False), w.append("a", X[:1, 0, 0, 0]))
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
    append = writer_module._Column.append

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
        patch.setattr(writer_module._Column, "append", sparse)
        write_prepared(path, "", fill)
    before = resident()
    split = open_prepared(path).splits["train"]
    assert resident() - before < 32 * 2**20
    assert split.data.nbytes == 256 * 2**20
    assert split.examples(slice(255, 256)).mean() == pytest.approx(2 / 255 - 1)
