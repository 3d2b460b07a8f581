from __future__ import annotations

import gzip
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from published_files import cifar_batch, images, write, write_cifar_tar

from acaikit.data.cifar10 import CIFAR10
from acaikit.errors import DataError, DataWarning
from acaikit.rng import generator

FOLDER = "cifar-10-batches-bin"
# In the published archive the batches lie in no order, among other files.
NAMES = ["data_batch_4.bin", "data_batch_1.bin", "test_batch.bin", "data_batch_3.bin", "data_batch_5.bin"]
NAMES += ["data_batch_2.bin"]
ORDER = [f"data_batch_{i}.bin" for i in range(1, 6)]
PIXELS = {name: images(2, seed=seed) for seed, name in enumerate(NAMES)}
LABELS = {name: np.array([seed, 9 - seed], np.uint8) for seed, name in enumerate(NAMES)}
BATCHES = {name: cifar_batch(PIXELS[name], LABELS[name]) for name in NAMES}
MEMBERS = {f"{FOLDER}/batches.meta.txt": b"airplane\n"} | {f"{FOLDER}/{name}": raw for name, raw in BATCHES.items()}


@pytest.fixture
def folder(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the archive belongs; it is empty, and a batch has two images."""
    monkeypatch.setattr(CIFAR10, "counts", {"train": 10, "test": 2})
    return data_folder / "cifar10"


@pytest.fixture
def archive(folder: Path) -> Path:
    """The archive, in small."""
    return write_cifar_tar(folder / "cifar-10-binary.tar.gz", MEMBERS)


def prepare() -> CIFAR10:
    """Return the set, prepared; that this archive isn't the published one is said every time."""
    dataset = CIFAR10()
    with pytest.warns(DataWarning, match="byte for byte"):
        dataset.prepare()
    return dataset


def refused(file: Path, said: str) -> None:
    """The set can't be made, the message names the file, and nothing half made stays behind."""
    with pytest.raises(DataError, match=said) as caught:
        CIFAR10().prepare()
    assert str(file) in str(caught.value)
    assert CIFAR10().prepared_file is None


def check(dataset: CIFAR10) -> None:
    train, test = dataset.prepared.splits["train"], dataset.test()
    assert train.data.dtype == test.data.dtype == torch.uint8
    np.testing.assert_array_equal(train.data, np.concatenate([PIXELS[name] for name in ORDER]))
    np.testing.assert_array_equal(test.data, PIXELS["test_batch.bin"])
    assert train.labels.tolist() == [label for name in ORDER for label in LABELS[name]]
    assert test.labels.tolist() == LABELS["test_batch.bin"].tolist()
    assert train.labels.dtype == test.labels.dtype == torch.int64


def test_batches_in_their_order_pixel_for_pixel(archive: Path) -> None:
    dataset = prepare()
    check(dataset)
    x, y = dataset.train(4, generator(0, "data")).next()
    assert (x.shape, x.dtype, y.dtype) == ((4, *dataset.shape), torch.float32, torch.int64)
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]


def test_what_the_set_says_of_itself() -> None:
    assert (CIFAR10.shape, CIFAR10.classes, CIFAR10.counts) == ((3, 32, 32), 10, {"train": 50_000, "test": 10_000})
    assert (CIFAR10.class_names[0], CIFAR10.class_names[9], len(CIFAR10.class_names)) == ("airplane", "truck", 10)


def unpack(folder: Path) -> None:
    for name, raw in BATCHES.items():
        write(folder / FOLDER / name, raw)


def test_the_unpacked_folder(folder: Path) -> None:
    unpack(folder)
    check(prepare())


@pytest.mark.parametrize("name", ["cifar-10-binary.tar", "cifar-10-binary.tar.gz"])
def test_an_archive_that_was_unpacked_once(folder: Path, name: str) -> None:
    plain = write_cifar_tar(folder / "plain.tar", MEMBERS)
    plain.rename(folder / name)
    check(prepare())


def test_an_archive_packed_anew_with_dots_before_its_names(folder: Path) -> None:
    write_cifar_tar(folder / "cifar-10-binary.tar.gz", {f"./{name}": raw for name, raw in MEMBERS.items()})
    check(prepare())


def no_file(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(f"{FOLDER}/{name}")
    info.type, info.linkname = kind, "/etc/passwd"
    return info


def test_what_else_is_in_an_archive_is_left_alone(folder: Path) -> None:
    others = {
        "../../escaped": b"!",
        "/tmp/acaikit-escaped": b"!",
        f"../{FOLDER}/test_batch.bin": b"!",
        "test_batch.bin": b"!",
        "a link": no_file("link", tarfile.SYMTYPE),
    }
    write_cifar_tar(folder / "cifar-10-binary.tar.gz", MEMBERS | others)
    check(prepare())
    assert not (folder.parent.parent / "escaped").exists()
    assert not Path("/tmp/acaikit-escaped").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
def test_a_batch_that_is_no_file(folder: Path, kind: bytes) -> None:
    members = MEMBERS | {f"{FOLDER}/test_batch.bin": no_file("test_batch.bin", kind)}
    file = write_cifar_tar(folder / "cifar-10-binary.tar.gz", members)
    refused(file, f"holds no file {FOLDER}/test_batch.bin: it is not the binary version")


@pytest.mark.parametrize("packed", [True, False])
def test_a_missing_batch(folder: Path, packed: bool) -> None:
    file = folder / ("cifar-10-binary.tar.gz" if packed else FOLDER)
    if packed:
        write_cifar_tar(file, {name: raw for name, raw in MEMBERS.items() if "batch_3" not in name})
    else:
        unpack(folder)
        (file / "data_batch_3.bin").unlink()
    refused(file, r"holds no file .*data_batch_3\.bin")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (BATCHES["test_batch.bin"][:-1], "test_batch.bin in .* holds 6145 bytes, but 6146 are expected"),
        (BATCHES["test_batch.bin"] + b"!", "holds 6147 bytes"),
        (b"", "holds 0 bytes"),
        (cifar_batch(PIXELS["test_batch.bin"], np.array([3, 10], np.uint8)), "the label 10 at position 1"),
    ],
)
def test_a_wrong_batch(folder: Path, raw: bytes, said: str, packed: bool) -> None:
    file = folder / ("cifar-10-binary.tar.gz" if packed else FOLDER)
    if packed:
        write_cifar_tar(file, MEMBERS | {f"{FOLDER}/test_batch.bin": raw})
    else:
        unpack(folder)
        write(file / "test_batch.bin", raw)
    refused(file, said)


def pieces(content: bytes) -> Iterator[bytes]:
    for length in [0, 1, 5, 600, *range(700, len(content) - 1024, len(content) // 12)]:
        yield content[:length]


def test_an_archive_that_is_cut_short_never_passes(archive: Path) -> None:
    for content in (*pieces(archive.read_bytes()), archive.read_bytes()[:-1]):
        write(archive, content)
        refused(archive, "can't be read as a whole tar archive")


def test_a_plain_archive_that_is_cut_short_never_passes(folder: Path) -> None:
    file = write_cifar_tar(folder / "cifar-10-binary.tar", MEMBERS)
    end = file.read_bytes().rstrip(b"\0")
    for content in pieces(end):
        write(file, content)
        refused(file, "can't be read as a whole tar archive|holds no file")


def test_an_altered_byte_never_passes(archive: Path) -> None:
    content = archive.read_bytes()
    checksums = len(content) - 8
    # The last byte before the checksums is padded with bits that mean nothing.
    for place in (*range(10, checksums - 40, checksums // 20), *range(checksums - 40, checksums - 1), *range(-8, 0)):
        place %= len(content)
        write(archive, content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        refused(archive, "can't be read as a whole tar archive|holds no file")


def test_an_altered_pixel_is_found_by_the_checksum(archive: Path) -> None:
    plain = gzip.decompress(archive.read_bytes())
    # Stored without compression, an altered pixel leaves a stream that can be unpacked.
    stored = gzip.compress(plain, compresslevel=0)
    place = stored.index(PIXELS["data_batch_2.bin"][1, 2, 31].tobytes())
    write(archive, stored[:place] + bytes([stored[place] ^ 1]) + stored[place + 1 :])
    refused(archive, "CRC check failed")


def test_another_kind_of_file(archive: Path) -> None:
    refused(write(archive, b"<!DOCTYPE html><title>Moved</title>" * 100), "can't be read as a whole tar archive")


def test_a_missing_archive_is_asked_for_by_name_address_and_place(folder: Path) -> None:
    with pytest.raises(DataError, match="could not be got") as caught:
        CIFAR10().prepare()
    for host in ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/"):
        assert f"{host}cifar-10-binary.tar.gz" in str(caught.value)
    assert str(folder) in str(caught.value)


def test_the_archive_is_read_once(archive: Path) -> None:
    prepare()
    state = archive.stat()
    archive.write_bytes(bytes(state.st_size))
    os.utime(archive, ns=(state.st_mtime_ns, state.st_mtime_ns))
    check(prepare())
    archive.unlink()
    check(prepare())


def test_a_changed_archive_is_read_again(archive: Path) -> None:
    prepare()
    other = images(2, seed=99)
    batch = cifar_batch(other, LABELS["test_batch.bin"])
    write_cifar_tar(archive, MEMBERS | {f"{FOLDER}/test_batch.bin": batch})
    np.testing.assert_array_equal(prepare().test().data, other)


def test_a_changed_file_of_the_folder_is_read_again(folder: Path) -> None:
    unpack(folder)
    check(prepare())
    time = (folder / FOLDER).stat().st_mtime_ns
    other = images(2, seed=99)
    write(folder / FOLDER / "test_batch.bin", cifar_batch(other, LABELS["test_batch.bin"]))
    assert (folder / FOLDER).stat().st_mtime_ns == time
    np.testing.assert_array_equal(prepare().test().data, other)
