from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from published_files import images, svhn_axes, write, write_svhn_mat

from acaikit.data import svhn
from acaikit.data.svhn import EXTRA, SVHN, TEST, TRAIN
from acaikit.errors import DataError, DataWarning, UserError
from acaikit.rng import generator

COUNTS = {TRAIN: 7, EXTRA: 5, TEST: 3}
PIXELS = {name: images(count, seed=count) for name, count in COUNTS.items()}
# As in the files: 10 stands for the digit 0.
LABELS = {
    TRAIN: np.array([10, 1, 2, 9, 5, 10, 3], np.uint8),
    EXTRA: np.array([4, 10, 6, 7, 8], np.uint8),
    TEST: np.array([1, 10, 2], np.uint8),
}
CLASSES = {TRAIN: [9, 0, 1, 8, 4, 9, 2], EXTRA: [3, 9, 5, 6, 7], TEST: [0, 9, 1]}


@pytest.fixture
def folder(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The three files, in small."""
    monkeypatch.setattr(SVHN, "counts", COUNTS)
    monkeypatch.setattr(svhn, "PIECE", 3)
    for name in COUNTS:
        whole(data_folder / "svhn", name)
    return data_folder / "svhn"


def whole(folder: Path, name: str, *, packed: bool = True) -> None:
    write_svhn_mat(folder / name, svhn_axes(PIXELS[name]), LABELS[name][:, None], packed=packed)


def prepare(**arguments: bool) -> SVHN:
    """Return the set, prepared; that these files aren't the published ones is said every time."""
    dataset = SVHN(**arguments)
    with pytest.warns(DataWarning, match="byte for byte"):
        dataset.prepare()
    return dataset


def refused(file: Path, said: str) -> None:
    """The set can't be made, the message names the file, and nothing half made stays behind."""
    with pytest.raises(DataError, match=said) as caught:
        SVHN().prepare()
    assert str(file) in str(caught.value)
    assert SVHN().prepared_file is None


def check(dataset: SVHN, sources: list[str]) -> None:
    train, test = dataset.prepared.splits["train"], dataset.test()
    assert train.data.dtype == test.data.dtype == torch.uint8
    np.testing.assert_array_equal(train.data, np.concatenate([PIXELS[name] for name in sources]))
    np.testing.assert_array_equal(test.data, PIXELS[TEST])
    assert train.labels.tolist() == [c for name in sources for c in CLASSES[name]]
    assert test.labels.tolist() == CLASSES[TEST]
    assert train.labels.dtype == test.labels.dtype == torch.int64


@pytest.mark.parametrize("packed", [True, False])
def test_train_then_extra_pixel_for_pixel(folder: Path, packed: bool) -> None:
    for name in COUNTS:
        whole(folder, name, packed=packed)
    dataset = prepare()
    check(dataset, [TRAIN, EXTRA])
    x, y = dataset.train(4, generator(0, "data")).next()
    assert (x.shape, x.dtype, y.dtype) == ((4, *dataset.shape), torch.float32, torch.int64)


def test_a_class_is_called_as_its_digit() -> None:
    # The file's label l is the digit l, and 10 the digit 0; the class is l - 1.
    assert SVHN.class_names == tuple(str(label % 10) for label in range(1, 11))
    assert (SVHN.shape, SVHN.classes) == ((3, 32, 32), 10)


def test_the_published_counts() -> None:
    assert (SVHN.counts[TRAIN] + SVHN.counts[EXTRA], SVHN.counts[TEST]) == (604_388, 26_032)


def test_without_extra_its_file_is_not_needed_and_the_other_set_stays(folder: Path) -> None:
    (folder / EXTRA).unlink()
    small = prepare(extra=False)
    check(small, [TRAIN])
    whole(folder, EXTRA)
    both = prepare()
    check(both, [TRAIN, EXTRA])
    assert small.prepared.file != both.prepared.file
    assert SVHN(extra=False).prepared_file == small.prepared.file


def test_extra_is_said_with_a_bool() -> None:
    with pytest.raises(UserError, match=r"SVHN\.extra must be a bool, not 'no'"):
        SVHN(extra="no")  # type: ignore[arg-type]


def test_every_file_that_cannot_be_vouched_for_is_remarked_on(folder: Path) -> None:
    with pytest.warns(DataWarning) as caught:
        SVHN().prepare()
    said = [str(warning.message) for warning in caught]
    assert len(said) == 3
    assert all(any(str(folder / name) in line for line in said) for name in COUNTS)


def test_a_missing_file_is_asked_for_by_name_address_and_place(folder: Path) -> None:
    (folder / EXTRA).unlink()
    with pytest.raises(DataError, match="could not be got") as caught:
        SVHN().prepare()
    for part in (f"http://ufldl.stanford.edu/housenumbers/{EXTRA}", str(folder), "ACAIKIT_DATA"):
        assert part in str(caught.value)


def test_the_files_are_read_once(folder: Path) -> None:
    prepare()
    for name in COUNTS:
        state = (folder / name).stat()
        (folder / name).write_bytes(bytes(state.st_size))
        os.utime(folder / name, ns=(state.st_mtime_ns, state.st_mtime_ns))
    check(prepare(), [TRAIN, EXTRA])
    for name in COUNTS:
        (folder / name).unlink()
    check(prepare(), [TRAIN, EXTRA])


def test_a_changed_file_is_read_again(folder: Path) -> None:
    prepare()
    other = images(COUNTS[TEST], seed=99)
    write_svhn_mat(folder / TEST, svhn_axes(other), LABELS[TEST][:, None])
    np.testing.assert_array_equal(prepare().test().data, other)


def test_labels_as_a_row_of_wider_numbers(folder: Path) -> None:
    write_svhn_mat(folder / TRAIN, svhn_axes(PIXELS[TRAIN]), LABELS[TRAIN][None].astype(np.int32))
    check(prepare(), [TRAIN, EXTRA])


X, Y = svhn_axes(PIXELS[EXTRA]), LABELS[EXTRA][:, None]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (X, None, r"no variable y \(it has X\)"),
        (None, Y, r"no variable X \(it has y\)"),
        (None, None, r"no variable X \(it has none\)"),
        (X.astype(np.float64), Y, "X of double, but images of uint8 are expected"),
        (X.view(np.int8), Y, "X of int8, but images of uint8 are expected"),
        (X[..., :4], Y[:4], r"X of shape \[32, 32, 3, 4\], but \[32, 32, 3, 5\] is expected"),
        (X.transpose(3, 2, 0, 1), Y, r"X of shape \[5, 3, 32, 32\], but \[32, 32, 3, 5\] is expected"),
        (X[:, :, 0], Y, r"X of shape \[32, 32, 5\]"),
        (X, Y[:4], r"y of shape \[4, 1\], but \[5, 1\] is expected"),
        (X, np.tile(Y, 2), r"y of shape \[5, 2\]"),
        (X, Y + 1, "the label 11 at position 1, but labels are 1 to 10"),
        (X, Y % 10, "the label 0 at position 1, but labels are 1 to 10"),
        (X, Y / 2, "y of float64, but labels of uint8 are expected"),
        (X, np.array(list("abcde")), "y of"),
    ],
)
def test_content_that_is_not_svhn(
    folder: Path, x: np.ndarray | None, y: np.ndarray | None, said: str, packed: bool
) -> None:
    refused(write_svhn_mat(folder / EXTRA, x, y, packed=packed), said)


@pytest.mark.parametrize("packed", [True, False])
def test_a_file_that_is_cut_short_never_passes(folder: Path, packed: bool) -> None:
    file = folder / TEST
    whole(folder, TEST, packed=packed)
    content = file.read_bytes()
    # The last bytes of a file that isn't packed are padding.
    for length in [0, 3, 50, 127, 128, 130, 140, *range(200, len(content), len(content) // 20), len(content) - 8]:
        write(file, content[:length])
        refused(file, "cut short|no MATLAB 5 file")


def test_a_packed_file_with_an_altered_byte_never_passes(folder: Path) -> None:
    file = folder / TEST
    content = file.read_bytes()
    for place in range(200, len(content) - 100, len(content) // 20):
        write(file, content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        refused(file, "cut short or damaged")


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><title>Moved</title>", b"MATLAB 4.0", bytes(4096)])
def test_another_kind_of_file(folder: Path, content: bytes) -> None:
    refused(write(folder / TRAIN, content), "it is no MATLAB 5 file")


def test_a_folder_by_the_name_of_a_file(folder: Path) -> None:
    (folder / TRAIN).unlink()
    (folder / TRAIN).mkdir()
    refused(folder / TRAIN, "can't be read")


@pytest.mark.parametrize("header", [b"MATLAB 7.3 MAT-file, Platform: GLNXA64", b""])
def test_a_file_of_matlab_7_3(folder: Path, header: bytes) -> None:
    with h5py.File(folder / TRAIN, "w", userblock_size=512 if header else 0) as file:
        file["X"], file["y"] = svhn_axes(PIXELS[TRAIN]).T, LABELS[TRAIN][None]
    with (folder / TRAIN).open("r+b") as file:
        file.write(header)
    refused(folder / TRAIN, "a MATLAB 7.3 file .HDF5., not a MATLAB 5 file .* '-v7'")


def test_images_are_not_read_where_another_file_is_wrong(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(scipy.io, "loadmat", lambda *arguments, **more: read.append(arguments))
    refused(write_svhn_mat(folder / TEST, X, Y), r"but \[32, 32, 3, 3\] is expected")
    assert read == []
