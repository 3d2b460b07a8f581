from __future__ import annotations

import io
import os
import pickle
import re
import threading
import time
import tracemalloc
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from acaikit.data import arrays
from acaikit.data.array_file import open_arrays
from acaikit.data.arrays import Arrays
from acaikit.data.base import Split
from acaikit.data.held_out import held_out
from acaikit.errors import DataError, DataWarning, UserError
from acaikit.rng import generator

ENDINGS = [".npz", ".h5", ".hdf5"]


@pytest.fixture(autouse=True)
def _folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("ACAIKIT_DATA", str(folder / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setenv("HOME", str(folder))


def save(path: Path, **content: Any) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **content)
    else:
        with h5py.File(path, "w") as file:
            for name, array in content.items():
                file[name] = array
    return path


def splits(dataset: Arrays) -> tuple[Split, Split]:
    return dataset.train(1, generator(0, "data")).split, dataset.test()


def everything(dataset: Arrays, count: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return examples, scaled, and labels in the file's order, where a share was held out."""
    train, test = splits(dataset)
    order = np.argsort(np.concatenate(held_out(count, dataset.share)))
    x = torch.cat([split.examples(slice(None)) for split in (train, test)]).numpy()[order]
    y = None if train.labels is None else torch.cat([train.labels, test.labels]).numpy()[order]
    return x, y


def fails(path: Path, /, said: str, **parameters: Any) -> None:
    """Check that the file is refused with a message that names it, when it is read and not before."""
    dataset = Arrays(path, **parameters)
    with pytest.raises(DataError) as caught:
        dataset.prepare()
    assert re.search(said, str(caught.value)), str(caught.value)
    assert path.name in str(caught.value) or "share" in said
    assert not list(Path(os.environ["ACAIKIT_DATA"]).rglob("*.h5"))


# What comes out.


def random(shape: tuple[int, ...], dtype: str = "float32", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.uniform(-1, 1, shape).astype(dtype)
    return rng.integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype)


@pytest.mark.parametrize(
    ("layout", "shape", "expected"),
    [
        (None, (7,), "nd->nd"),
        ("D", (7,), "nd->nd"),
        ("L", (7,), "n.l->nl"),
        ("CL", (2, 7), "ncl->ncl"),
        ("HW", (4, 5), "hw"),
        ("CHW", (3, 4, 5), "nchw->nchw"),
        (None, (3, 4, 5), "nchw->nchw"),
        (None, (3, 4, 3), "nchw->nchw"),
        (None, (1, 4, 1), "nchw->nchw"),
        (None, (2, 4, 5), "nchw->nchw"),
        ("CHW", (4, 5, 3), "nchw->nchw"),
        ("HWC", (4, 5, 3), "nhwc->nchw"),
    ],
)
@pytest.mark.parametrize("ending", ENDINGS)
def test_each_layout(layout: str | None, shape: tuple[int, ...], expected: str, ending: str, tmp_path: Path) -> None:
    x = random((20, *shape))
    oracle = {
        "n.l->nl": lambda: x.reshape(20, 1, 7),
        "hw": lambda: x.reshape(20, 1, 4, 5),
    }.get(expected, lambda: np.einsum(expected, x))()
    dataset = Arrays(save(tmp_path / f"a{ending}", x=x), layout=layout)
    assert dataset.shape == oracle.shape[1:]
    assert (dataset.classes, dataset.class_names) == (None, ())
    found, labels = everything(dataset, 20)
    assert found.dtype == np.float32
    assert np.array_equal(found, oracle)
    assert labels is None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_limits_become_minus_one_and_one(data: st.DataObject, tmp_path: Path) -> None:
    dtype = data.draw(
        st.sampled_from(["u1", "i1", "<u2", ">i4", "i8", "u8", "bool", "f2", "f4", ">f4", "f8", ">f8"]), "dtype"
    )
    kind = np.dtype(dtype).kind
    if kind == "f":
        low, high = sorted(
            data.draw(st.lists(st.floats(-60_000, 60_000, width=16), min_size=2, max_size=2, unique=True))
        )
        elements = st.floats(low, high, width=8 * np.dtype(dtype).itemsize)
    else:
        low, high = (
            (0, 1) if kind == "b" else sorted(data.draw(st.lists(st.integers(0, 127), min_size=2, unique=True)))[:2]
        )
        elements = st.booleans() if kind == "b" else st.integers(low, high)
    x = data.draw(hnp.arrays(dtype, st.tuples(st.integers(2, 9), st.integers(1, 5)), elements=elements), "x")
    # A new name each time: of a file that changes within a tick of the clock nobody can tell.
    path = save(tmp_path / f"{len(list(tmp_path.iterdir()))}{data.draw(st.sampled_from(ENDINGS))}", x=x)
    found, _ = everything(Arrays(path, limits=(low, high), test=0.5), len(x))
    wide = x.astype(np.float64)
    oracle = -1 + 2 * (wide - low) / (high - low)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, oracle, rtol=0, atol=1e-6)
    assert found.min() >= -1 and found.max() <= 1
    assert (found[wide == low] == -1).all() and (found[wide == high] == 1).all()


def test_a_limit_is_meant_in_the_datas_own_precision(tmp_path: Path) -> None:
    x = np.array([[0.0], [0.1]] * 5, np.float32)
    assert float(x.max()) > 0.1
    found, _ = everything(Arrays(save(tmp_path / "a.npz", x=x), limits=(0, 0.1)), 10)
    assert found.ravel().tolist() == [-1.0, 1.0] * 5


@pytest.mark.parametrize("limits", [(0, 70_000), (-1e300, 1e300)])
def test_limits_that_the_datas_type_cannot_hold(limits: tuple[float, float], tmp_path: Path) -> None:
    x = np.array([[0.0], [100.0]] * 5, np.float16)
    found, _ = everything(Arrays(save(tmp_path / "a.npz", x=x), limits=limits), 10)
    oracle = 2 * (x.astype(float) - limits[0]) / (limits[1] - limits[0]) - 1
    np.testing.assert_allclose(found, oracle, atol=1e-6)


@pytest.mark.parametrize("ending", ENDINGS)
def test_bytes_are_pixels(ending: str, tmp_path: Path) -> None:
    x = np.arange(256, dtype=np.uint8).reshape(16, 1, 4, 4)
    dataset = Arrays(save(tmp_path / f"a{ending}", x=x))
    assert all(split.data.dtype == torch.uint8 for split in splits(dataset))
    found, _ = everything(dataset, 16)
    np.testing.assert_allclose(found, 2 * x.astype(float) / 255 - 1, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f8"])
def test_floats_without_limits_stay_what_they_are(dtype: str, tmp_path: Path) -> None:
    x = np.concatenate([random((10, 3), dtype), np.full((10, 3), 1, dtype), np.full((10, 3), 1e-7, dtype)])
    found, _ = everything(Arrays(save(tmp_path / "a.npz", x=x)), 30)
    assert found.dtype == np.float32
    assert np.array_equal(found, x.astype(np.float32))


def test_a_last_bit_beyond_one_is_rounded_away(tmp_path: Path) -> None:
    x = np.full((10, 1), np.nextafter(1.0, 2))
    found, _ = everything(Arrays(save(tmp_path / "a.npz", x=x)), 10)
    assert (found == 1).all()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_npz_in_every_order_and_packing(order: Any, write: Any, tmp_path: Path) -> None:
    x = np.asarray(random((20, 2, 5)), order=order)
    write(tmp_path / "a.npz", x=x)
    found, _ = everything(Arrays(tmp_path / "a.npz", layout="CL"), 20)
    assert np.array_equal(found, x)


@pytest.mark.parametrize("options", [{}, {"chunks": (3, 2)}, {"chunks": True, "compression": "gzip", "shuffle": True}])
def test_hdf5_in_pieces(options: Mapping[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = random((50, 4), "float64"), np.arange(50) % 3
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=x, **options)
        file["y"] = y
    whole = everything(Arrays(tmp_path / "a.h5"), 50)
    seen: list[tuple[int, int]] = []
    real = arrays.Scale.__call__

    def noted(self: Any, array: Any, start: int, piece: np.ndarray) -> np.ndarray:
        seen.append((start, len(piece)))
        return real(self, array, start, piece)

    monkeypatch.setattr(arrays.Scale, "__call__", noted)
    monkeypatch.setattr(arrays, "PIECE", 7 * 4 * 8)
    monkeypatch.setenv("ACAIKIT_DATA", str(tmp_path / "again"))
    pieces = everything(Arrays(tmp_path / "a.h5"), 50)
    assert seen == [(start, min(7, 50 - start)) for start in range(0, 50, 7)]
    for a, b, oracle in zip(whole, pieces, (x.astype(np.float32), y), strict=True):
        assert np.array_equal(a, b) and np.array_equal(a, oracle)


def test_an_offence_in_a_later_piece_is_told_by_its_place_in_the_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "PIECE", 4 * 8)
    x = np.zeros((10, 1))
    x[7] = 3
    fails(save(tmp_path / "a.h5", x=x), r"x in .*: example 7 has the value 3\.0", limits=(0, 2))


def test_memory_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        x = file.create_dataset("x", (2**14, 512), np.float32)
        for start in range(0, 2**14, 2**12):
            x[start : start + 2**12] = start / 2**14
        size = x.nbytes
    monkeypatch.setattr(arrays, "PIECE", 2**20)
    tracemalloc.start()
    try:
        Arrays(tmp_path / "a.h5").prepare()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == 2**25
    assert peak < size / 2


# Training and test set.


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_test_set_of_its_own(ending: str, tmp_path: Path) -> None:
    content = {"x": random((9, 3)), "x_test": random((4, 3), seed=1), "y": np.arange(9) % 3, "y_test": np.arange(4) % 4}
    train, test = splits(Arrays(save(tmp_path / f"a{ending}", **content)))
    for split, x, y in ((train, "x", "y"), (test, "x_test", "y_test")):
        assert np.array_equal(split.data, content[x])
        assert split.labels.dtype == torch.int64
        assert np.array_equal(split.labels, content[y])


def test_classes_are_counted_in_both_parts(tmp_path: Path) -> None:
    content = {"x": np.zeros((9, 3)), "x_test": np.zeros((4, 3)), "y": np.arange(9) % 3, "y_test": np.arange(4)}
    assert Arrays(save(tmp_path / "a.npz", **content)).classes == 4


def test_a_share_is_held_out(tmp_path: Path) -> None:
    x = np.arange(40)[:, None] / 40
    train, test = splits(Arrays(save(tmp_path / "a.npz", x=x, y=np.arange(40) % 4), test=0.25))
    for split, rows in zip((train, test), held_out(40, 0.25), strict=True):
        assert np.array_equal(split.data, x[rows].astype(np.float32))
        assert np.array_equal(split.labels, rows % 4)
    assert len(test) == 10


def test_a_share_that_leaves_nothing(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x=np.zeros((4, 2)))
    fails(path, "a share of 0.1 of 4 examples holds out 0")
    fails(path, "a share of 0 of 4 examples", test=0)
    assert len(Arrays(save(path, x=np.zeros((4, 2)), x_test=np.zeros((1, 2))), test=0).test()) == 1


# Labels.


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i4", "u4", "i8", ">u8"])
@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("ending", [".npz", ".h5"])
def test_labels_of_every_integer_type(dtype: str, column: bool, ending: str, tmp_path: Path) -> None:
    y = (np.arange(30) * 7 % 5).astype(dtype)
    dataset = Arrays(save(tmp_path / f"a{ending}", x=random((30, 2)), y=y[:, None] if column else y))
    assert dataset.classes == 5
    labels = everything(dataset, 30)[1]
    assert labels.dtype == np.int64
    assert np.array_equal(labels, y)


@pytest.mark.parametrize("label", [0, 7, -1])
def test_one_class_is_none(label: int, tmp_path: Path) -> None:
    dataset = Arrays(save(tmp_path / "a.npz", x=random((30, 2)), y=np.full(30, label)))
    with pytest.warns(DataWarning, match=r"labels in .*a\.npz are all the same.*left out"):
        dataset.prepare()
    assert dataset.classes is None
    assert [split.labels for split in splits(dataset)] == [None, None]


@pytest.mark.parametrize(
    "y",
    [
        np.arange(30) % 3 - 1,
        np.arange(30) % 3 * 2,
        np.arange(30) % 3 + 1,
        np.array([0, 2**63] * 15, np.uint64),
        np.arange(30) % 3 * 1.0,
        np.arange(30) % 2 == 0,
    ],
)
@pytest.mark.parametrize("ending", [".npz", ".h5"])
def test_other_labels_are_refused_with_what_makes_them_right(y: np.ndarray, ending: str, tmp_path: Path) -> None:
    x = random((30, 2))
    path = save(tmp_path / f"a{ending}", x=x, y=y)
    fails(path, r"kinds, y = np\.unique\(y, return_inverse=True\)$")
    kinds, mended = np.unique(y, return_inverse=True)
    assert Arrays(save(path, x=x, y=mended)).classes == len(kinds)


def test_strings_as_labels(tmp_path: Path) -> None:
    x, y = random((4, 2)), np.array(["cat", "dog"] * 2)
    fails(save(tmp_path / "a.npz", x=x, y=y), r"y in .* has the dtype <U3, but labels are integers.*np\.unique")
    fails(save(tmp_path / "a.h5", x=x, y=y.astype("S")), r"y in .* has the dtype \|S3, but labels.*np\.unique")
    fails(save(tmp_path / "b.h5", x=x, y=["cat", "dog"] * 2), r"y in .* has the dtype object, but labels.*np\.unique")


def test_the_hint_for_labels_in_two_parts_works(tmp_path: Path) -> None:
    content = {
        "x": np.zeros((6, 2)),
        "x_test": np.zeros((2, 2)),
        "y": np.array([3, 5, 9] * 2),
        "y_test": np.array([9, 3]),
    }
    path = save(tmp_path / "a.npz", **content)
    with pytest.raises(DataError) as caught:
        Arrays(path).prepare()
    scope = {"np": np, **content}
    exec(str(caught.value).rpartition("make them so with: ")[2], scope)
    train, test = splits(Arrays(save(path, **content | {"y": scope["y"], "y_test": scope["y_test"]})))
    assert train.labels.tolist() == [0, 1, 2] * 2
    assert test.labels.tolist() == [2, 0]


@pytest.mark.parametrize("shape", [(3,), (5,), (4, 2), (4, 1, 1), (1, 4)])
def test_one_label_per_example(shape: tuple[int, ...], tmp_path: Path) -> None:
    fails(
        save(tmp_path / "a.npz", x=np.zeros((4, 2)), y=np.zeros(shape, int)),
        rf"y in .* has the shape {re.escape(str(list(shape)))}, but one label for each of 4 examples is needed: \[4\]",
    )


# What is refused.


@pytest.mark.parametrize(
    ("shape", "layout", "said"),
    [
        ((10, 4, 5), None, r"two things: set Arrays\.layout to 'CL' \(sequences\) or 'HW' \(images\)"),
        ((10, 4, 5, 3), None, r"last axis looks like channels: set Arrays\.layout = 'HWC', or 'CHW'"),
        ((10, 4, 5, 1), None, r"Arrays\.layout = 'HWC'"),
        ((10, 8, 8, 4), None, r"Arrays\.layout = 'HWC'"),
        ((10,), None, r"has the shape \[10\], but 2 axes are needed for vectors"),
        ((10, 1, 2, 3, 4), "CHW", r"\[10, 1, 2, 3, 4\], but 2 axes"),
        ((10, 4, 5), "CHW", r"names 3 of an example's axes.*'CL' \(sequences\) or 'HW' \(images\) would fit"),
        ((10, 4), "CL", r"'D' \(vectors\) or 'L' \(sequences\) would fit"),
        ((10, 3, 4, 5), "D", r"'CHW' \(images\) or 'HWC' \(images\) would fit"),
        ((0, 4), None, r"is empty: it has the shape \[0, 4\]"),
        ((10, 0), None, r"is empty"),
    ],
)
@pytest.mark.parametrize("ending", [".npz", ".h5"])
def test_shapes(shape: tuple[int, ...], layout: str | None, said: str, ending: str, tmp_path: Path) -> None:
    fails(save(tmp_path / f"a{ending}", x=np.zeros(shape, np.float32)), said, layout=layout)


@pytest.mark.parametrize(
    ("x", "limits", "said"),
    [
        (np.array([[0.0], [-3.5], [17.25]] * 4), None, r"values outside \[-1, 1\].*limits = \(-3\.5, 17\.25\)"),
        (np.array([[0.0], [1.001]] * 5), None, r"limits = \(0\.0, 1\.001\)"),
        (np.arange(10)[:, None], None, r"dtype int64, which needs a scale.*limits = \(0, 9\)"),
        (np.arange(10, dtype=np.int8)[:, None], None, r"dtype int8, which needs a scale"),
        (np.zeros((10, 1), bool), None, r"dtype bool, which needs a scale: set Arrays\.limits = \(0, 1\)"),
        (np.arange(10)[:, None], (0, 8), r"example 9 has the value 9, outside Arrays\.limits = \(0\.0, 8\.0\)"),
        (np.arange(10.0)[:, None], (2, 9), r"example 0 has the value 0\.0, outside"),
        (np.full((10, 2), 1e300), None, r"limits = \(1e\+300, 1e\+300\)"),
        (np.zeros((10, 1), complex), (0, 1), r"dtype complex128, but floats, integers or bools are needed"),
        (np.full((10, 1), "a"), (0, 1), r"dtype <U1, but floats"),
        (np.zeros((10, 1), "datetime64[s]"), (0, 1), r"dtype datetime64\[s\], but floats"),
        (np.zeros((10, 1), [("a", float)]), (0, 1), r"but floats"),
    ],
)
def test_values(x: np.ndarray, limits: tuple[float, float] | None, said: str, tmp_path: Path) -> None:
    fails(save(tmp_path / "a.npz", x=x), said, limits=limits)
    if x.dtype.kind not in "UM":
        fails(save(tmp_path / "a.h5", x=x), said, limits=limits)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_limits_that_are_advised_work(dtype: str, tmp_path: Path) -> None:
    content = {"x": 40 * random((30, 2), dtype), "x_test": 50 * random((30, 2), dtype, 1)}
    path = save(tmp_path / "a.npz", **content)
    with pytest.raises(DataError) as caught:
        Arrays(path).prepare()
    (advised,) = re.findall(r"Arrays\.limits = (\(.*?\))", str(caught.value))
    train, test = splits(Arrays(path, limits=eval(advised)))
    both = torch.cat([train.data, test.data])
    assert (both.min(), both.max()) == (-1, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("limits", [None, (-2, 2)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_every_value_is_finite(value: float, limits: tuple[float, float] | None, dtype: str, tmp_path: Path) -> None:
    x = np.zeros((10, 2, 3), dtype)
    x[4, 1, 2] = x[6, 0, 0] = value
    said = rf"x in .*: example 4 has the value {value}, but every value must be finite"
    fails(save(tmp_path / "a.npz", x=x), said, limits=limits, layout="CL")


def test_offences_in_the_test_part(tmp_path: Path) -> None:
    x, test = np.zeros((4, 2)), np.array([[0, 1.0], [9, 0]])
    path = save(tmp_path / "a.npz", x=x, x_test=test)
    fails(path, r"x_test in .* has values outside.*limits = \(0\.0, 9\.0\)")
    fails(path, r"x_test in .*: example 1 has the value 9\.0", limits=(0, 2))


@pytest.mark.parametrize(
    "test", [np.zeros((4, 3)), np.zeros((4, 2), np.float32), np.zeros(4), np.zeros((4, 2, 1)), np.zeros((0, 2))]
)
def test_test_examples_are_like_the_others(test: np.ndarray, tmp_path: Path) -> None:
    fails(save(tmp_path / "a.npz", x=np.zeros((9, 2)), x_test=test), "x_test in .*(only the number.*differ|is empty)")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("data labels", "holds data, labels, but not x: x is needed"),
        ("y", "holds y, but not x:"),
        ("x y x_test", "but not y_test:"),
        ("x x_test y_test", "but not y:"),
        ("x y y_test", "but not x_test:"),
        ("y_test", "but not x and x_test and y:"),
        ("X", "holds X, but not x:"),
        ("", "holds nothing, but not x:"),
    ],
)
@pytest.mark.parametrize("ending", [".npz", ".h5"])
def test_what_is_missing(names: str, said: str, ending: str, tmp_path: Path) -> None:
    fails(save(tmp_path / f"a{ending}", **dict.fromkeys(names.split(), np.zeros((4, 1), int))), said)


def test_other_arrays_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((20, 1)), names=np.array([{}], object))
    assert Arrays(path).shape == (1,)


class Trap:
    """Running code when it is unpickled."""

    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('unpickled')",)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([[Trap()]], object))
    fails(tmp_path / "a.npz", r"x in .* is pickled.*save arrays of numbers")
    np.savez(tmp_path / "b.npz", x=np.zeros((4, 1)), y=np.array([Trap()] * 4, object))
    fails(tmp_path / "b.npz", r"y in .* is pickled")
    (tmp_path / "c.npz").write_bytes(pickle.dumps(Trap()))
    fails(tmp_path / "c.npz", r"c\.npz can't be read; .*: it is no \.npz file")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("write", [None, np.savez_compressed])
def test_a_file_cut_anywhere(ending: str, write: Any, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    if write and ending == ".npz":
        write(path, x=random((50, 10)), y=np.arange(50) % 3)
    else:
        save(path, x=random((50, 10)), y=np.arange(50) % 3)
    whole = path.read_bytes()
    for length in {0, 1, 5, *range(10, len(whole), max(1, len(whole) // 20)), len(whole) - 1}:
        path.write_bytes(whole[:length])
        fails(path, "can't be read|is pickled|is no array")


def test_a_damaged_member(tmp_path: Path) -> None:
    for write in (np.savez, np.savez_compressed):
        path = tmp_path / "a.npz"
        write(path, x=random((50, 10)))
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 255
        path.write_bytes(raw)
        fails(path, r"x in .* can't be read; it may be cut short")


def test_an_npz_whose_header_promises_too_much(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"shape": (2**45, 2**10), "fortran_order": False, "descr": "<f8"})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    fails(tmp_path / "a.npz", r"x in .*(doesn't fit in memory: save it as HDF5|can't be read)")


def test_files_of_another_kind(tmp_path: Path) -> None:
    for ending in ENDINGS:
        (tmp_path / f"a{ending}").write_text("x,y\n1,2\n")
        fails(tmp_path / f"a{ending}", rf"a\{ending} (can't be read|is pickled)")
        (tmp_path / f"folder{ending}").mkdir()
        fails(tmp_path / f"folder{ending}", "can't be read")
    with (tmp_path / "b.npz").open("wb") as file:
        np.save(file, np.zeros((4, 1)))
    fails(tmp_path / "b.npz", r"a single array and no names: write it with np\.savez")
    save(tmp_path / "h.h5", x=np.zeros((4, 1))).rename(tmp_path / "h.npz")
    fails(tmp_path / "h.npz", "can't be read|is pickled")


def test_hdf5_that_holds_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    makers: list[Any] = [
        lambda file: file.create_group("x"),
        lambda file: file.__setitem__("x", 3.0),
        lambda file: file.__setitem__("x", h5py.Empty("f4")),
        lambda file: file.__setitem__("x", h5py.SoftLink("/nowhere")),
        lambda file: file.__setitem__("x", h5py.ExternalLink("nowhere.h5", "/x")),
    ]
    for make in makers:
        with h5py.File(path, "w") as file:
            make(file)
        fails(path, "x in .*(is no array of examples|can't be read)")


def test_a_missing_file(tmp_path: Path) -> None:
    dataset = Arrays(tmp_path / "gone.npz")
    with pytest.raises(DataError, match=r"gone\.npz \(Arrays\.path\) is missing"):
        _ = dataset.shape


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"path": "a.npy"}, r"Arrays\.path must end in \.npz, \.h5 or \.hdf5, not be 'a\.npy': .*np\.savez"),
        ({"path": "a.csv"}, r"must end in \.npz, \.h5 or \.hdf5, not be 'a\.csv'$"),
        ({"path": ""}, r"must end in"),
        ({"path": "folder"}, r"must end in"),
        ({"path": 3}, r"Arrays\.path must be the path of a file, not 3"),
        ({"path": "~nobody-of-that-name/a.npz"}, r"Arrays\.path = '~nobody-of-that-name/a\.npz': .*home"),
        ({"layout": "WHC"}, r"Arrays\.layout must be one of 'D', 'CL', 'L', 'CHW', 'HWC', 'HW', not 'WHC'"),
        ({"layout": 2}, r"Arrays\.layout must be one of"),
        ({"layout": ["CL"]}, r"Arrays\.layout must be one of .* not a list"),
        ({"test": 1}, r"Arrays\.test must be a number in \[0, 1\), not 1"),
        ({"test": -0.1}, r"Arrays\.test must be"),
        *(
            (
                {"limits": limits},
                r"Arrays\.limits must be two finite numbers, the low one first, such as \(0, 255\), not ",
            )
            for limits in [
                (1, 0),
                (0, 0),
                (0,),
                (0, 1, 2),
                5,
                "01",
                (0, "1"),
                (0, None),
                (0, np.inf),
                (np.nan, 1),
                (-1.7e308, 1.7e308),
                (0, 10**400),
                {0: 1},
            ]
        ),
    ],
)
def test_parameters(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Arrays(**{"path": "a.npz"} | parameters)


# Files and prepared files.


def test_nothing_is_read_before_it_is_needed(tmp_path: Path) -> None:
    dataset = Arrays(tmp_path / "later.npz", limits=(np.float32(0), np.int64(2)))
    save(tmp_path / "later.npz", x=np.zeros((20, 3)))
    assert dataset.shape == (3,)


def test_where_the_file_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = random((20, 3))
    home = Path(os.environ["HOME"])
    save(home / "a.npz", x=x)
    save(tmp_path / "B.NPZ.npz", x=-x).rename(tmp_path / "B.NPZ")
    assert Arrays("~/a.npz").file == home / "a.npz"
    monkeypatch.chdir(tmp_path)
    relative = Arrays("B.NPZ")
    monkeypatch.chdir(home)
    assert relative.file == tmp_path / "B.NPZ"
    assert np.array_equal(everything(relative, 20)[0], -x)
    assert np.array_equal(everything(Arrays("a.npz"), 20)[0], x)


def test_each_way_to_read_a_file_is_prepared_by_itself(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x=np.arange(24).reshape(12, 2, 1) / 24)
    other = save(tmp_path / "b.npz", x=np.zeros((12, 2, 1)))
    ways = [
        Arrays(path, layout="CL"),
        Arrays(path, layout="HW"),
        Arrays(path, layout="CL", limits=(0, 1)),
        Arrays(path, layout="CL", limits=(0, 2)),
        Arrays(path, layout="CL", test=0.5),
        Arrays(other, layout="CL"),
    ]
    found = [way.prepared.file for way in ways]
    assert len(set(found)) == len(ways)
    again = Arrays(str(path), layout="CL", limits=[0, 1.0])
    assert again.prepared.file == found[2]


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x=np.zeros((20, 3)))
    first = Arrays(path)
    modified = first.prepared.file.stat().st_mtime_ns
    assert Arrays(path).prepared.file.stat().st_mtime_ns == modified
    stamp = path.stat().st_mtime_ns
    save(path, x=np.ones((20, 3)))
    os.utime(path, ns=(stamp + 10**9, stamp + 10**9))
    assert (everything(Arrays(path), 20)[0] == 1).all()
    assert (everything(first, 20)[0] == 0).all()
    # Without its source, what was prepared serves on.
    path.unlink()
    assert (everything(Arrays(path), 20)[0] == 1).all()


def test_remarks_are_made_again_by_every_use(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x=np.zeros((20, 3)), y=np.zeros(20, int))
    for _ in range(2):
        with pytest.warns(DataWarning, match="all the same"):
            Arrays(path).prepare()


def test_an_npz_member_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = np.lib.npyio.NpzFile.__getitem__

    def noted(self: Any, name: str) -> Any:
        read.append(name)
        return real(self, name)

    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", noted)
    content = {"x": random((20, 2)), "x_test": random((20, 2)), "y": np.arange(20), "y_test": np.arange(20), "z": [1]}
    splits(Arrays(save(tmp_path / "a.npz", **content)))
    assert sorted(read) == ["x", "x_test", "y", "y_test"]


def test_two_at_once_read_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.npz", x=random((20, 2)))
    opened: list[Path] = []

    def slow(path: Path) -> Any:
        opened.append(path)
        time.sleep(0.3)
        return open_arrays(path)

    monkeypatch.setattr(arrays, "open_arrays", slow)
    threads = [threading.Thread(target=Arrays(path).prepare) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == [path]
