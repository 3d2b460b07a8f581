from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from published_files import images, write_idx, write_mnist

from acaikit.data.base import Split
from acaikit.data.mnist import KMNIST, MNIST, FashionMNIST
from acaikit.errors import DataError, DataWarning
from acaikit.rng import generator

COUNTS = {"train": 7, "test": 3}
NAMES = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
LIKE_MNIST = pytest.mark.parametrize("kind", [FashionMNIST, KMNIST])


@pytest.fixture
def real(shared_data: Path, data_folder: Path) -> Path:
    """A data folder with the real MNIST; what is made of it goes elsewhere."""
    data_folder.mkdir()
    (data_folder / "mnist").symlink_to(shared_data / "mnist")
    return data_folder


@pytest.fixture
def small(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder in which sets are small; it is empty."""
    monkeypatch.setattr(MNIST, "counts", COUNTS)
    return data_folder


def prepare(kind: type[MNIST]) -> MNIST:
    """Return the set, prepared; that these files aren't the published ones is said every time."""
    dataset = kind()
    with pytest.warns(DataWarning, match="byte for byte"):
        dataset.prepare()
    return dataset


def check(split: Split, x: np.ndarray, y: np.ndarray) -> None:
    """The split has the images `x`, in a frame of 2 pixels of 0, and the labels `y`."""
    assert split.data.dtype == torch.uint8
    assert split.labels.dtype == torch.int64
    framed = np.zeros((len(x), 1, 32, 32), np.uint8)
    for n, image in enumerate(x):
        framed[n, 0, 2:30, 2:30] = image
    np.testing.assert_array_equal(split.data, framed)
    assert split.labels.tolist() == y.tolist()


def check_published(split: Split, count: int, first: list[int], mean: float) -> None:
    assert split.data.shape == (count, 1, 32, 32)
    assert split.labels[:5].tolist() == first
    inner = split.data[:, :, 2:-2, 2:-2]
    assert inner.double().mean() / 255 == pytest.approx(mean, abs=1e-6)
    assert split.data.sum() == inner.sum()
    x = split.examples(slice(0, 100))
    assert x.dtype == torch.float32
    assert (x.min(), x.max()) == (-1, 1)
    frame = torch.ones(32, 32, dtype=torch.bool)
    frame[2:-2, 2:-2] = False
    assert (x[:, 0, frame] == -1).all()


def test_the_published_images_without_a_remark(real: Path) -> None:
    # The archive of the training images was packed anew: only its content is the published one.
    mnist = MNIST()
    assert (mnist.shape, mnist.classes, mnist.counts) == ((1, 32, 32), 10, {"train": 60_000, "test": 10_000})
    stream = mnist.train(64, generator(0, "data"))
    # The means are those that are published with the set.
    check_published(stream.split, 60_000, [5, 0, 4, 1, 9], 0.1306605)
    check_published(mnist.test(), 10_000, [7, 2, 1, 0, 4], 0.1325145)
    assert mnist.prepared.notes.remarks == ()
    assert mnist.prepared.file.is_relative_to(real)
    x, y = stream.next()
    assert x.shape == (64, 1, 32, 32)
    assert torch.equal(x, stream.split.examples(stream.order[:64]))
    assert torch.equal(y, stream.split.labels[stream.order[:64]])


def test_other_content_of_the_right_shape_is_not_mnist(small: Path) -> None:
    write_mnist(small / "mnist", COUNTS)
    with pytest.raises(
        DataError, match=r"not the published content \(MD5 6bbc9ace898e44ae57da46a324031adb\)"
    ) as caught:
        MNIST().prepare()
    assert str(small / "mnist" / "train-images-idx3-ubyte.gz") in str(caught.value)
    assert MNIST().prepared_file is None


@LIKE_MNIST
def test_mnists_own_files_are_refused(small: Path, kind: type[MNIST], monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(small / kind.folder, COUNTS)
    assert set(kind.foreign) == {remote.content for remote in MNIST.files}
    file = small / kind.folder / "t10k-images-idx3-ubyte.gz"
    content = hashlib.md5(gzip.decompress(file.read_bytes())).hexdigest()
    monkeypatch.setattr(kind, "foreign", {content: "MNIST"})
    with pytest.raises(DataError, match=rf"{file} is MNIST's file of that name"):
        kind().prepare()


@LIKE_MNIST
@pytest.mark.parametrize("ending", [".gz", ""])
def test_sets_like_mnist_pixel_for_pixel(small: Path, kind: type[MNIST], ending: str) -> None:
    content = write_mnist(small / kind.folder, COUNTS, ending=ending)
    dataset = prepare(kind)
    check(dataset.prepared.splits["train"], *content["train"])
    check(dataset.test(), *content["test"])
    assert len(dataset.class_names) == dataset.classes == 10


def test_the_packed_file_is_taken_first(small: Path) -> None:
    content = write_mnist(small / "kmnist", COUNTS)
    write_mnist(small / "kmnist", COUNTS, ending="", seed=1)
    check(prepare(KMNIST).test(), *content["test"])


def test_each_set_has_a_folder_and_a_prepared_file_of_its_own(small: Path) -> None:
    content = {kind: write_mnist(small / kind.folder, COUNTS, seed=n) for n, kind in enumerate((KMNIST, FashionMNIST))}
    for kind, written in content.items():
        check(prepare(kind).test(), *written["test"])


def test_no_file_is_read_before_it_is_needed(data_folder: Path) -> None:
    mnist = MNIST()
    for use in (mnist.test, mnist.prepare, lambda: mnist.train(1, generator(0, "data"))):
        with pytest.raises(DataError, match="could not be got") as caught:
            use()
        assert str(data_folder / "mnist" / "train-images-idx3-ubyte.gz") in str(caught.value)


def damage(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda file: file.write_bytes(change(file.read_bytes()))


@LIKE_MNIST
@pytest.mark.parametrize(
    ("name", "harm", "said"),
    [
        (NAMES[0], damage(lambda raw: raw[:-20]), "not a whole gzip file"),
        (NAMES[0], damage(lambda raw: b"<!DOCTYPE html>"), "starts with 3c 21 44 4f"),
        (NAMES[0], lambda file: write_idx(file, images(7, (28, 27))), r"\[7, 28, 27\], but \[7, 28, 28\] is expected"),
        (NAMES[0], lambda file: write_idx(file, images(6, (28, 28))), r"\[6, 28, 28\], but \[7, 28, 28\]"),
        (NAMES[1], lambda file: write_idx(file, np.arange(6, dtype=np.uint8)), r"\[6\], but \[7\] is expected"),
        (NAMES[2], lambda file: write_idx(file, np.zeros(7, np.uint8)), "starts with 00 00 08 01, not 00 00 08 03"),
        (NAMES[3], lambda file: write_idx(file, np.array([9, 8, 10], np.uint8)), "the label 10 at position 2"),
    ],
    ids=["cut short", "html", "narrow", "few images", "few labels", "magic", "label"],
)
def test_files_that_are_not_what_they_should_be(
    small: Path, kind: type[MNIST], name: str, harm: Callable[[Path], object], said: str
) -> None:
    write_mnist(small / kind.folder, COUNTS)
    file = small / kind.folder / f"{name}.gz"
    harm(file)
    with pytest.raises(DataError, match=said) as caught:
        kind().prepare()
    assert str(file) in str(caught.value)
    assert kind().prepared_file is None


def test_the_files_are_read_once(small: Path) -> None:
    content = write_mnist(small / "kmnist", COUNTS)
    prepare(KMNIST)
    files = [small / "kmnist" / f"{name}.gz" for name in NAMES]
    for file in files:
        state = file.stat()
        file.write_bytes(bytes(state.st_size))
        os.utime(file, ns=(state.st_mtime_ns, state.st_mtime_ns))
    check(prepare(KMNIST).test(), *content["test"])
    for file in files:
        file.unlink()
    check(prepare(KMNIST).test(), *content["test"])


def test_a_changed_file_is_read_again(small: Path) -> None:
    content = write_mnist(small / "kmnist", COUNTS)
    prepare(KMNIST)
    other = images(COUNTS["test"], (28, 28), seed=99)
    write_idx(small / "kmnist" / f"{NAMES[2]}.gz", other)
    check(prepare(KMNIST).test(), other, content["test"][1])


def test_a_remark_names_the_file(small: Path) -> None:
    write_mnist(small / "kmnist", COUNTS)
    with pytest.warns(DataWarning) as caught:
        KMNIST().prepare()
    said = [str(warning.message) for warning in caught]
    assert len(said) == len(NAMES)
    assert all(any(str(small / "kmnist" / f"{name}.gz") in line for line in said) for name in NAMES)
