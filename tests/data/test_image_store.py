from __future__ import annotations

import io
import os
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from acaikit.data import image_store
from acaikit.data.image_store import named, store
from acaikit.data.images import Pixels, decode, pixels
from acaikit.data.pile import BadImage
from acaikit.data.prepared import open_prepared
from acaikit.data.writer import write_prepared
from acaikit.errors import DataError

# Storing


def stored(tmp_path: Path, count: int, bad: set[int], *, skip: bool) -> tuple[Any, dict[str, str], int]:
    """Store `count` images that hold their own number; return the split, what was left out, and how many were open."""
    names = [f"{i:04d}.png" for i in range(count)]
    lock, left_out, begun, written = threading.Lock(), {}, [0], [0]
    ahead = [0]

    def prepare(name: str) -> Pixels:
        with lock:
            begun[0] += 1
            ahead[0] = max(ahead[0], begun[0] - written[0])
        i = int(name[:4])
        if i in bad:
            raise BadImage(f"number {i}")
        return np.full((1, 2, 2), i % 256, np.uint8)

    def fill(writer: Any) -> None:
        append = writer.append

        def counted(split: str, x: Pixels, y: Any) -> None:
            written[0] += len(x)
            append(split, x, y)

        writer.append = counted
        labels = np.arange(count, dtype=np.int64)
        found = store(writer, "train", names, labels, prepare, (1, 2, 2), Path("here"), skip=skip)
        left_out.update(found)

    write_prepared(tmp_path / "x.h5", "", fill)
    return open_prepared(tmp_path / "x.h5").splits["train"], left_out, ahead[0]


def test_images_are_stored_in_order_with_their_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_store, "PIECE", 64)
    split, left_out, ahead = stored(tmp_path, 1000, set(), skip=True)
    assert left_out == {}
    assert split.labels.tolist() == list(range(1000))
    assert (split.data == (split.labels % 256).to(split.data.dtype).view(-1, 1, 1, 1)).all()
    assert ahead <= 64 + image_store.TASK * (2 * image_store.WORKERS + 2)


def test_bad_images_are_left_out(tmp_path: Path) -> None:
    split, left_out, _ = stored(tmp_path, 100, {0, 50, 51, 99}, skip=True)
    assert left_out == {f"{i:04d}.png": f"number {i}" for i in (0, 50, 51, 99)}
    assert split.labels.tolist() == [i for i in range(100) if i not in (0, 50, 51, 99)]
    assert (split.data == split.labels.to(split.data.dtype).view(-1, 1, 1, 1)).all()
    # What was begun before the bad ones were known takes no room.
    assert (tmp_path / "x.h5").stat().st_size < 100 * 4 + 8 * 100 + 6000


def test_bad_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^0050\.png in here can't be used: number 50$"):
        stored(tmp_path, 100, {50, 51}, skip=False)
    with pytest.raises(DataError, match=r"none of the 3 train images in here .* the first is 0000\.png \(number 0\)"):
        stored(tmp_path, 3, {0, 1, 2}, skip=True)
    assert not list(tmp_path.iterdir())


def test_pillows_warnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bomb that Pillow only warns of is an error; what it says of metadata is not shown."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64 - 1)
    before = list(warnings.filters)

    png = io.BytesIO()
    Image.new("RGB", (64, 64)).save(png, "PNG")

    def prepare(name: str) -> Pixels:
        return pixels(decode(png.getvalue(), 3, 0))

    def fill(writer: Any) -> None:
        store(writer, "train", ["a.png"], None, prepare, (3, 64, 64), Path("here"), skip=False)

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        with pytest.raises(DataError, match="decompression bomb"):
            write_prepared(tmp_path / "x.h5", "", fill)
    assert warnings.filters == before


def test_bad_images_are_named() -> None:
    assert named({"a": "x", "b": "y"}) == "a (x), b (y)"
    assert named({str(i): "x" for i in range(7)}) == "0 (x), 1 (x), 2 (x), 3 (x), 4 (x) and 2 more"
    assert named({os.fsdecode(b"\xff.png"): "x"}) == r"\udcff.png (x)"
