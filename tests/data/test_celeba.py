from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from acaikit.data.celeba import CelebA
from acaikit.errors import DataError, DataWarning, UserError
from acaikit.rng import generator

COUNT = 12


class Few(CelebA):
    counts: ClassVar = {"train": COUNT}


def face(number: int, width: int = 178, height: int = 218) -> Image.Image:
    """Grey, red in what is to be cut away; the middle is a shallow slope that says the number."""
    y, x = np.mgrid[:height, :width]
    image = np.repeat((8 * number + (x + y) / 4)[..., None], 3, 2)
    image[(y < 36) | (y >= height - 36) | (x < 16) | (x >= width - 16)] = 255, 0, 0
    return Image.fromarray(image.round().astype(np.uint8))


def jpeg(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=100, subsampling=0)
    return content.getvalue()


FACES = {f"{n:06d}.jpg": jpeg(face(n)) for n in range(1, COUNT + 1)}
LACKING = {name: content for name, content in FACES.items() if name != "000007.jpg"}


def put(folder: Path, files: Mapping[str, bytes], layout: str = "nested zip") -> None:
    folder = folder / "celeba"
    folder.mkdir(parents=True, exist_ok=True)
    if "zip" in layout:
        inside = "img_align_celeba/" if layout == "nested zip" else ""
        with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
            for name, content in reversed(files.items()):
                archive.writestr(inside + name, content)
        return
    unpacked = folder / "img_align_celeba" / ("img_align_celeba" if layout == "nested folder" else "")
    unpacked.mkdir(parents=True)
    for name, content in files.items():
        (unpacked / name).write_bytes(content)


def cubic(before: float, here: float, after: float, last: float, t: float) -> float:
    """The curve through `here` and `after` with slopes of 0.75 times their neighbours' differences (Hermite form)."""
    slope, end = 0.75 * (after - before), 0.75 * (last - here)
    return (
        (2 * t**3 - 3 * t**2 + 1) * here
        + (t**3 - 2 * t**2 + t) * slope
        + (3 * t**2 - 2 * t**3) * after
        + (t**3 - t**2) * end
    )


def resized(image: np.ndarray, side: int) -> np.ndarray:
    """Resize ``[H, W, C]`` pixel by pixel: along the columns, then along the rows."""

    def along_first(values: np.ndarray) -> np.ndarray:
        rows = []
        for i in range(side):
            at = i * len(values) / side
            k = math.floor(at)
            four = [values[min(max(k + tap, 0), len(values) - 1)] for tap in (-1, 0, 1, 2)]
            rows.append(cubic(*four, at - k))
        return np.stack(rows)

    image = image.astype(np.float64)
    return along_first(along_first(image).swapaxes(0, 1)).swapaxes(0, 1).clip(0, 255)


def prepared(dataset: CelebA) -> CelebA:
    with pytest.warns(DataWarning, match="is not the published"):
        dataset.prepare()
    return dataset


@pytest.mark.parametrize("layout", ["nested zip", "flat zip", "folder", "nested folder"])
def test_the_middle_of_every_image(layout: str, data_folder: Path) -> None:
    put(data_folder, FACES, layout)
    data = prepared(Few())
    assert (data.shape, data.classes) == ((3, 32, 32), None)
    test = data.test()
    assert test.labels is None
    for n, found in enumerate(test.data.numpy(), start=1):
        with Image.open(io.BytesIO(FACES[f"{n:06d}.jpg"])) as image:
            middle = np.asarray(image)[36:182, 16:162]
        assert middle.shape == (146, 146, 3)
        assert np.abs(found - resized(middle, 32).transpose(2, 0, 1)).max() <= 0.5 + 1e-9
        # The slope goes on to the borders, and nothing red is left.
        assert (found.max(0).astype(int) - found.min(0)).max() < 12
        centre = np.mgrid[:32, :32].sum(0) * (146 / 32) / 4 + 8 * n + (16 + 36) / 4
        assert np.abs(found[:, 1:-1, 1:-1] - centre[1:-1, 1:-1]).max() < 4


def test_the_test_images_are_the_training_images(data_folder: Path) -> None:
    put(data_folder, FACES)
    data = prepared(Few())
    stream = data.train(COUNT, generator(0, "data"))
    assert torch.equal(stream.split.data, data.test().data)
    assert stream.split.data.data_ptr() == data.test().data.data_ptr()
    _, labels = stream.next()
    assert labels is None


def test_images_at_the_end_are_held_out(data_folder: Path) -> None:
    put(data_folder, FACES)
    whole = prepared(Few()).test().data
    data = prepared(Few(held_out=5))
    assert torch.equal(data.test().data, whole[-5:])
    assert torch.equal(data.train(1, generator(0, "data")).split.data, whole[:-5])
    # They are the same prepared file.
    assert len(list(data_folder.glob("prepared/*.h5"))) == 1


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {k: v for k, v in FACES.items() if k != "000007.jpg"},
            "holds 11 images, not 12; the first that is missing is",
        ),
        ({k: v for k, v in FACES.items() if k != "000007.jpg"}, "000007.jpg"),
        (FACES | {"000013.jpg": FACES["000001.jpg"]}, "holds 13 images, not 12"),
        (FACES | {"000003.jpg": jpeg(face(3, 100, 120))}, "000003.jpg in {path} can't be used: it is 100 wide and 120"),
        (FACES | {"000009.jpg": FACES["000009.jpg"][:-2000]}, "000009.jpg in {path} can't be used"),
    ],
)
def test_another_set(files: Mapping[str, bytes], said: str, data_folder: Path) -> None:
    put(data_folder, files)
    with pytest.raises(DataError) as caught:
        Few().prepare()
    assert said.format(path=data_folder / "celeba" / "img_align_celeba.zip") in str(caught.value)
    assert not list(data_folder.rglob("*.h5"))


def test_where_to_get_it(data_folder: Path) -> None:
    with pytest.raises(DataError) as caught:
        CelebA().prepare()
    for said in (
        str(data_folder / "celeba" / "img_align_celeba.zip"),
        "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        '"Align&Cropped Images"',
        "ACAIKIT_DATA",
    ):
        assert said in str(caught.value)


@pytest.mark.parametrize("held_out", [-1, 1.5, COUNT, True])
def test_a_wrong_number_held_out(held_out: int) -> None:
    with pytest.raises(UserError, match=r"CelebA\.held_out must be"):
        Few(held_out=held_out)


def test_the_numbers_of_the_method() -> None:
    assert CelebA.counts == {"train": 202_599}
    assert (CelebA.width, CelebA.height) == (178, 218)
    (remote,) = CelebA.files
    assert (remote.size, remote.md5) == (1_443_490_838, "00d2c5bc6d35e252742224ab0c1e8fcb")
