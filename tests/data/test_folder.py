from __future__ import annotations

import io
import os
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from acaikit.config import build, read_recipe
from acaikit.data import prepared
from acaikit.data.base import Split
from acaikit.data.cifar10 import CIFAR10
from acaikit.data.folder import ImageFolder
from acaikit.errors import ConfigError, DataError, DataWarning, UserError
from acaikit.rng import generator

Pixels = NDArray[np.uint8]
pytestmark = pytest.mark.usefixtures("data_folder")


def png(*shape: int, seed: int = 0, value: int | None = None) -> bytes:
    """Noise, or a plain colour."""
    made = np.random.default_rng(seed).integers(0, 256, shape or (4, 4, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(made if value is None else np.full_like(made, value)).save(content, "PNG")
    return content.getvalue()


def numbered(*names: str) -> dict[str, bytes]:
    """Files, of which the i-th is of the plain grey i + 1."""
    return {name: png(value=i + 1) for i, name in enumerate(names)}


def in_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def in_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def values(split: Split) -> list[int]:
    """Return the greys of plain images."""
    assert (split.data == split.data[:, :1, :1, :1]).all()
    return split.data[:, 0, 0, 0].tolist()


def train(dataset: ImageFolder) -> Split:
    return dataset.prepared.splits["train"]


FLAT = numbered(*(f"{i:02d}.png" for i in range(20)))
CLASSES = numbered(*(f"{name}/{i}.png" for name in ("dog", "ant", "cat") for i in range(10)))
DIVIDED = numbered(
    "train/dog/1.png", "train/ant/1.png", "train/ant/sub/2.png", "test/dog/1.png", "test/dog/2.png", "test/ant/1.png"
)


def test_folders_of_classes_are_labels(tmp_path: Path) -> None:
    data = ImageFolder(in_folder(tmp_path / "x", CLASSES), size=4, test=0.2)
    assert (data.shape, data.classes, data.class_names) == ((3, 4, 4), 3, ("ant", "cat", "dog"))
    assert (len(train(data)), len(data.test())) == (24, 6)
    owner = {i + 1: name.split("/")[0] for i, name in enumerate(CLASSES)}
    seen = []
    for split in (train(data), data.test()):
        assert split.labels is not None and split.labels.dtype == torch.int64
        seen += values(split)
        assert [data.class_names[y] for y in split.labels.tolist()] == [owner[v] for v in values(split)]
    assert sorted(seen) == list(range(1, 31))
    assert data.prepared.notes.class_names == ("ant", "cat", "dog")


def test_what_is_held_out_is_always_the_same(tmp_path: Path) -> None:
    first = ImageFolder(in_folder(tmp_path / "x", FLAT), size=4)
    second = ImageFolder(in_folder(tmp_path / "y", FLAT), size=4)
    assert values(first.test()) == values(second.test()) != [1, 2]
    assert sorted(values(train(first)) + values(first.test())) == list(range(1, 21))
    assert (first.classes, first.class_names, first.test().labels) == (None, (), None)


def test_train_and_test_are_the_splits(tmp_path: Path) -> None:
    data = ImageFolder(in_folder(tmp_path / "x", DIVIDED), size=4)
    assert data.class_names == ("ant", "dog")
    # The training images, sorted: ant/1, ant/sub/2, dog/1.
    assert values(train(data)) == [2, 3, 1]
    assert values(data.test()) == [6, 4, 5]
    assert train(data).labels.tolist() == [0, 0, 1]
    assert data.test().labels.tolist() == [0, 1, 1]


def test_train_and_test_without_classes(tmp_path: Path) -> None:
    files = numbered("Train/b.png", "Train/a.png", "TEST/c.png")
    data = ImageFolder(in_folder(tmp_path / "x", files), size=4)
    assert (data.classes, values(train(data)), values(data.test())) == (None, [2, 1], [3])


@pytest.mark.parametrize("files", [FLAT, CLASSES, DIVIDED], ids=["flat", "classes", "divided"])
def test_a_zip_is_like_its_folder(files: Mapping[str, bytes], tmp_path: Path) -> None:
    sources = [
        in_folder(tmp_path / "x", files),
        in_zip(tmp_path / "x.zip", dict(reversed(files.items()))),
        in_zip(tmp_path / "packed.zip", {"__MACOSX/._x": b"", **{f"x/{name}": data for name, data in files.items()}}),
    ]
    folder, *zips = [ImageFolder(path, size=4) for path in sources]
    for packed in zips:
        assert (packed.classes, packed.class_names) == (folder.classes, folder.class_names)
        for name, split in folder.prepared.splits.items():
            other = packed.prepared.splits[name]
            assert torch.equal(split.data, other.data)
            assert (split.labels is None) == (other.labels is None)
            assert split.labels is None or torch.equal(split.labels, other.labels)


def test_pixels_and_parameters(tmp_path: Path) -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (6, 8, 4), dtype=np.uint8)
    for name in ("1.png", "2.png"):
        (tmp_path / "x").mkdir(exist_ok=True)
        Image.fromarray(rgba).save(tmp_path / "x" / name)
    path, alpha = tmp_path / "x", rgba[..., 3:] / 255
    on_grey = np.rint(rgba[..., :3] * alpha + 100 * (1 - alpha)).astype(np.uint8).transpose(2, 0, 1)

    def made(**parameters: Any) -> Pixels:
        data = ImageFolder(path, background=100, test=0.5, **parameters)
        found: Pixels = data.test().data[0].numpy()
        assert data.shape == found.shape
        return found

    assert np.array_equal(made(size=(6, 8)), on_grey)
    assert np.array_equal(made(size=[6, 8], fit="crop"), on_grey)
    assert np.array_equal(made(size=6, fit="crop"), on_grey[:, :, 1:7])
    padded = made(size=8, fit="pad")
    assert np.array_equal(padded[:, 1:7], on_grey)
    assert (padded[:, [0, 7]] == 100).all()
    assert made(size=(3, 5), fit="stretch").shape == (3, 3, 5)
    grey = made(size=(6, 8), colors=1)
    assert np.abs(grey[0] - np.tensordot([0.299, 0.587, 0.114], on_grey, 1)).max() <= 1


def test_constructing_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    data = {path: ImageFolder(path, size=4) for path in ("x", "~/x", Path("x"))}
    in_folder(tmp_path / "x", CLASSES)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert [d.classes for d in data.values()] == [3, 3, 3]
    assert len({d.key for d in data.values()}) == 1
    # The listing is all it takes to know the classes.
    assert not (tmp_path / "data").exists()


def test_the_prepared_set_outlives_its_images(tmp_path: Path, data_folder: Path) -> None:
    path = in_zip(tmp_path / "x.zip", CLASSES)
    ImageFolder(path, size=4).prepare()
    ImageFolder(path, size=4, background=9).prepare()
    assert len(list(data_folder.glob("prepared/images-*.h5"))) == 2
    path.unlink()
    again = ImageFolder(path, size=4)
    assert (again.class_names, again.classes, len(again.test())) == (("ant", "cat", "dog"), 3, 3)
    with pytest.raises(DataError, match=r"x\.zip \(ImageFolder\.path\) is missing"):
        ImageFolder(path, size=4, colors=1).prepare()


def test_changed_images_are_read_again(tmp_path: Path) -> None:
    path = in_folder(tmp_path / "x", FLAT)
    ImageFolder(path, size=4).prepare()
    (path / "00.png").write_bytes(png(value=77))
    os.utime(path / "00.png", ns=(1, 1))
    data = ImageFolder(path, size=4)
    assert sorted(values(train(data)) + values(data.test())) == [*range(2, 21), 77]


def test_corrupt_images_are_left_out(tmp_path: Path) -> None:
    bad = {f"cat/bad{i}.png": b"junk" for i in range(6)} | {"cat/cut.png": png(64, 64, 3)[:-99], "dog/e.jpg": b""}
    path = in_zip(tmp_path / "x.zip", CLASSES | bad)
    data = ImageFolder(path, size=4)
    with pytest.warns(DataWarning, match=r"x\.zip: left out 8 of 38 images, .* cat/bad0\.png \(.*and 3 more") as warned:
        data.prepare()
    assert len(warned) == 1
    assert sorted(values(train(data)) + values(data.test())) == list(range(1, 31))
    owner = {i + 1: name.split("/")[0] for i, name in enumerate(CLASSES)}
    for split in (train(data), data.test()):
        assert [data.class_names[y] for y in split.labels.tolist()] == [owner[v] for v in values(split)]
    assert prepared.changed_splits(data.prepared.file) == []
    with pytest.raises(DataError, match=r"cat/.*\.png in .*x\.zip can't be used"):
        ImageFolder(path, size=4, corrupt="fail").prepare()


def test_images_of_other_kinds_are_passed_over_with_a_remark(tmp_path: Path) -> None:
    files = {**DIVIDED, "train/ant/x.webp": b"!", "train/ant/notes.txt": b"", "train/ant/y.TIF": b"!"}
    for path in (in_folder(tmp_path / "images", files), in_zip(tmp_path / "images.zip", files)):
        with pytest.warns(DataWarning, match=r"passed over image files that are not .*\.jpeg, 2 in all, such as"):
            found = train(ImageFolder(path, size=4))
        assert values(found) == values(train(ImageFolder(in_zip(tmp_path / "clean.zip", DIVIDED), size=4)))


def test_one_class_is_none(tmp_path: Path) -> None:
    data = ImageFolder(in_folder(tmp_path / "x", {f"cat/{name}": content for name, content in FLAT.items()}), size=4)
    assert (data.classes, data.class_names) == (None, ())
    with pytest.warns(DataWarning, match=r"x: there is only one class, cat; labels .* left out"):
        data.prepare()
    assert data.test().labels is None


def test_what_lies_beside_train_and_test_is_told(tmp_path: Path) -> None:
    data = ImageFolder(in_folder(tmp_path / "x", DIVIDED | numbered("val/dog/1.png", "loose.png")), size=4)
    with pytest.warns(DataWarning, match=r"left out images beside .* test, 2 in all, such as loose\.png"):
        data.prepare()
    assert values(train(data)) == [2, 3, 1]


JUNK = numbered("test/a.png") | {"train/a.png": b"junk", "train/b.png": b"junk"}
MIXED = numbered("train/1.png", "test/1.png") | {"train/2.png": png(5, 6, 3), "train/3.png": png(7, 7, 3)}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"notes.txt": b""}, "there are no images in it, files whose names end in .png, .jpg or .jpeg"),
        (JUNK, "none of the 2 train images in {path} can be used; the first is train/a.png (it is no image)"),
        (MIXED, "train/2.png in {path} is 6 wide and 5 high, not 4 wide and 4 high: set ImageFolder.fit to 'crop'"),
        (MIXED, "ImageFolder.size to (5, 6)"),
        (numbered("a/1.png", "2.png", "b/3.png"), "2.png lies beside folders of classes, such as a"),
        (DIVIDED | numbered("train/x.png"), "train/x.png lies beside folders of classes, such as ant"),
        (DIVIDED | numbered("test/cow/1.png"), "test/cow/1.png is of the class cow, but the classes .* are: ant, dog"),
        (numbered("train/a/1.png", "train/b/1.png", "test/1.png"), "test/1.png is in no class's folder"),
        (numbered("train/1.png", "test/a/1.png"), "test/a/1.png is of the class a, but the classes .* are: none"),
        (numbered("train/a/1.png", "val/a/1.png"), "it has a folder train but no folder test"),
        (numbered("test/a/1.png", "x/a/1.png"), "it has a folder test but no folder train"),
        (numbered("1.png"), "a share of 0.3 of 1 examples holds out 0"),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_images_that_make_no_set(files: Mapping[str, bytes], said: str, kind: str, tmp_path: Path) -> None:
    path = in_folder(tmp_path / "x", files) if kind == "folder" else in_zip(tmp_path / "x.zip", files)
    with pytest.raises(DataError) as caught:
        ImageFolder(path, size=4, test=0.3).prepare()
    for part in (str(path), *said.split(" .* ")):
        assert part.format(path=path) in str(caught.value)
    assert not list((tmp_path / "data").rglob("*.h5"))


def test_no_pile_at_all(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png())
    for use in (ImageFolder.prepare, lambda data: data.classes):
        with pytest.raises(DataError, match=r"x\.png is neither a folder nor a zip"):
            use(ImageFolder(tmp_path / "x.png"))
        with pytest.raises(DataError, match=r"nothing \(ImageFolder\.path\) is missing: give the path of a folder or"):
            use(ImageFolder(tmp_path / "nothing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="there are no images in it"):
        _ = ImageFolder(tmp_path / "empty").classes


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"path": None}, "ImageFolder.path must be the path of a folder or a zip of images, not None"),
        ({"path": ""}, "ImageFolder.path must be"),
        ({"path": "~nobody_here/x"}, "ImageFolder.path = '~nobody_here/x'"),
        ({"size": 0}, "ImageFolder.size must be a whole number of at least 1, not 0"),
        ({"size": (32, 0)}, "ImageFolder.size must be"),
        ({"size": (32, 32, 3)}, "ImageFolder.size must be a side or (height, width), not (32, 32, 3)"),
        ({"size": 1.5}, "ImageFolder.size must be"),
        ({"colors": 4}, "ImageFolder.colors must be 1 (grey) or 3 (RGB), not 4"),
        ({"colors": True}, "ImageFolder.colors must be"),
        ({"fit": "zoom"}, "ImageFolder.fit must be one of 'exact', 'crop', 'pad', 'stretch', not 'zoom'"),
        ({"fit": ["pad"]}, "ImageFolder.fit must be one of"),
        ({"background": 256}, "ImageFolder.background must be a grey level, 0 to 255, not 256"),
        ({"background": -1}, "ImageFolder.background must be"),
        ({"test": 1}, "ImageFolder.test must be a number in [0, 1)"),
        ({"corrupt": "hide"}, "ImageFolder.corrupt must be one of 'skip', 'fail', not 'hide'"),
    ],
)
def test_wrong_parameters(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        ImageFolder(**{"path": "x"} | parameters)
    assert said in str(caught.value)


@pytest.mark.parametrize("recipe", ["images_acai_256", "images_baseline_256"])
def test_the_recipes(recipe: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"images\.gin:\d+: ImageFolder\.path is yours to give: .* with --set"):
        build(read_recipe(recipe))
    path = in_zip(tmp_path / "x.zip", {name: png(32, 32, 3) for name in DIVIDED})
    model, probe = build(read_recipe(recipe, [f"ImageFolder.path={str(path)!r}"])).build()
    assert (model.data_shape, model.latent_shape) == ((3, 32, 32), (16, 4, 4))
    assert probe is not None
    assert probe(torch.zeros(1, *model.latent_shape)).shape == (1, 2)


@pytest.mark.slow
def test_real_photographs(shared_data: Path) -> None:
    data = ImageFolder(shared_data / "cifar10_jpeg_subset.zip")
    assert data.class_names == CIFAR10.class_names
    for split, each in ((train(data), 1000), (data.test(), 200)):
        assert Counter(split.labels.tolist()) == dict.fromkeys(range(10), each)
        assert split.data.shape == (10 * each, 3, 32, 32)
    with zipfile.ZipFile(shared_data / "cifar10_jpeg_subset.zip") as archive, archive.open("test/cat/0007.jpg") as file:
        cat = np.asarray(Image.open(file)).transpose(2, 0, 1)
    assert np.array_equal(data.test().data[3 * 200 + 7].numpy(), cat)
    x, y = data.train(8, generator(0, "data")).next()
    assert (x.shape, y.shape, x.dtype) == ((8, 3, 32, 32), (8,), torch.float32)
