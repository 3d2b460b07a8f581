from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from acaikit.data.base import Dataset, Shuffled, Split, Stream
from acaikit.data.lines import Lines
from acaikit.errors import UserError
from acaikit.evaluators import Interpolation, Reconstruction
from acaikit.evaluators.base import Trained
from acaikit.experiment import Experiment
from acaikit.nets import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from acaikit.report import figures
from acaikit.report.pictures import draw, draw_paths, preview


class Noise(Dataset):
    """Noise of any shape."""

    def __init__(self, *shape: int, count: int = 20) -> None:
        self.shape = shape
        self.split = Split(torch.rand(count, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1)

    def train(self, batch_size: int, generator: torch.Generator, device: torch.device | str = "cpu") -> Stream:
        return Shuffled(self.split, batch_size, generator, device)

    def test(self) -> Split:
        return self.split


def trained(dataset: Dataset) -> Trained:
    conv = (ConvEncoder(depth=2, scales=2, latent=2), ConvDecoder(depth=2, scales=2))
    dense = (MLPEncoder(hidden=(5,), latent=2), MLPDecoder(hidden=(5,)))
    return Trained(*Experiment(dataset, *(conv if len(dataset.shape) == 3 else dense)).build(), dataset)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """What was handed over to be drawn of a run."""
    calls: list[SimpleNamespace] = []

    def record(*arrays: object, title: str, labels: object = None) -> SimpleNamespace:
        calls.append(SimpleNamespace(arrays=arrays, title=title, labels=labels))
        return SimpleNamespace(save=lambda file: None)

    monkeypatch.setattr(figures, "interpolation", record)
    monkeypatch.setattr(figures, "reconstruction", record)
    return calls


@pytest.mark.parametrize(
    ("dataset", "coloured"),
    [
        (Lines(8, 8, test_size=20), False),
        (Noise(3, 8, 8), True),
        (Noise(2, 8, 8), False),
        (Noise(2, 24), True),
        (Noise(1, 24), False),
        (Noise(7), False),
    ],
    ids=lambda value: "x".join(map(str, value.shape)) if isinstance(value, Dataset) else "",
)
def test_two_pictures(dataset: Dataset, coloured: bool, tmp_path: Path) -> None:
    files = draw(trained(dataset), tmp_path / "figures", "a run · 64 samples")
    assert files == [tmp_path / "figures" / "interpolation.png", tmp_path / "figures" / "reconstruction.png"]
    assert sorted(files) == sorted((tmp_path / "figures").iterdir())
    for file in files:
        page = imread(file)[..., :3]
        assert np.ptp(page) > 0.5
    assert (np.ptp(page, axis=2).max() > 0) == coloured


def test_the_pictures_show_what_the_evaluators_find(
    drawn: list[SimpleNamespace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(Noise(2, 24, count=3000))
    seen: list[int] = []
    reconstruct = type(run.model).reconstruct
    monkeypatch.setattr(type(run.model), "reconstruct", lambda model, x: seen.append(len(x)) or reconstruct(model, x))
    own = Interpolation(pairs=3, steps=4, path="slerp")
    draw(run, tmp_path, "a run", [Reconstruction(), own])
    assert seen == [32]  # not the whole test set
    with run.evaluating():
        paths, both = own.evaluate(run).arrays["paths"], Reconstruction().evaluate(run).arrays
    assert [call.title for call in drawn] == ["Interpolation (slerp) · a run", "Reconstruction · a run"]
    np.testing.assert_array_equal(drawn[0].arrays[0], paths)
    assert drawn[0].labels == ["0 → 1,799", "600 → 2,399", "1,200 → 2,999"]
    ends = run.dataset.test().data[torch.tensor([[0, 1799], [600, 2399], [1200, 2999]])]
    with torch.no_grad():
        expected = torch.stack([run.model.reconstruct(ends[:, i]) for i in (0, 1)], 1)
    np.testing.assert_allclose(drawn[0].arrays[0][:, [0, -1]], expected, atol=1e-5)
    np.testing.assert_array_equal(drawn[1].arrays[0], both["originals"])
    np.testing.assert_array_equal(drawn[1].arrays[1], both["reconstructions"])
    assert run.model.training


def test_many_channels_are_shown_as_their_mean(drawn: list[SimpleNamespace], tmp_path: Path) -> None:
    run = trained(Noise(5, 8, 8))
    draw(run, tmp_path, "a run")
    note = "a run · the mean of 5 channels"
    assert [call.title for call in drawn] == [f"Interpolation (lerp) · {note}", f"Reconstruction · {note}"]
    assert [x.shape for call in drawn for x in call.arrays] == [(8, 16, 1, 8, 8), (20, 1, 8, 8), (20, 1, 8, 8)]
    mean = sum(run.dataset.test().data[:, channel].double() for channel in range(5)) / 5
    np.testing.assert_allclose(drawn[1].arrays[0][:, 0], mean, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 8, 8), (7,)])
def test_one_test_example_has_no_paths(shape: tuple[int, ...], tmp_path: Path) -> None:
    files = draw(trained(Noise(*shape, count=1)), tmp_path / "figures", "")
    assert files == [*(tmp_path / "figures").iterdir()] == [tmp_path / "figures" / "reconstruction.png"]


def test_data_that_are_no_pictures(tmp_path: Path) -> None:
    for shape in ((), (1, 2, 8, 8)):
        assert draw(Trained(None, None, SimpleNamespace(shape=shape, picture=None)), tmp_path / "figures", "") == []
    assert not (tmp_path / "figures").exists()


def test_a_model_that_diverged(tmp_path: Path) -> None:
    broken = trained(Lines(8, 8, test_size=20))
    with torch.no_grad():
        next(broken.model.decoder.parameters()).fill_(float("nan"))
    assert draw(broken, tmp_path / "figures", "") == []
    assert not (tmp_path / "figures").exists()


def test_paths_that_were_decoded_are_drawn_as_they_are(drawn: list[SimpleNamespace], tmp_path: Path) -> None:
    lines = Lines(8, 8, test_size=20)
    paths = np.random.default_rng(0).uniform(-1, 1, (3, 5, 1, 8, 8)).astype(np.float32)
    files = draw_paths(lines, Interpolation(pairs=3, steps=5, path="slerp"), paths, tmp_path / "figures", "a run")
    assert files == [tmp_path / "figures" / "interpolation.png"]
    (call,) = drawn
    np.testing.assert_array_equal(call.arrays[0], paths)
    labels = lines.test().labels
    pairs = [(0, 11), (4, 15), (8, 19)]
    assert call.labels == [f"{labels[pair[0]]} → {labels[pair[1]]}" for pair in pairs]
    assert call.title == "Interpolation (slerp) · a run"
    paths[0, 0] = np.nan
    assert draw_paths(lines, Interpolation(pairs=3), paths, tmp_path / "none", "a run") == []
    assert draw_paths(Noise(1, 2, 8, 8), Interpolation(), np.zeros((8, 16, 1, 2, 8, 8)), tmp_path / "none", "") == []
    assert not (tmp_path / "none").exists()


class Numbered(Dataset):
    """Vectors whose first value is their number, a class for every `classes` of them."""

    shape = (3,)

    def __init__(self, classes: int, each: int) -> None:
        self.classes = classes
        labels = torch.arange(classes * each) // each
        self.split = Split(torch.arange(classes * each).view(-1, 1).expand(-1, 3).float() / 1e4, labels)

    def train(self, batch_size: int, generator: torch.Generator, device: torch.device | str = "cpu") -> Stream:
        return Shuffled(self.split, batch_size, generator, device)

    def test(self) -> Split:
        return self.split


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """What was handed over to be drawn."""
    calls: list[SimpleNamespace] = []

    def samples(examples: np.ndarray, labels: object, class_names: object, *, title: str) -> SimpleNamespace:
        calls.append(SimpleNamespace(examples=examples, labels=labels, title=title))
        return SimpleNamespace(save=lambda file: None)

    monkeypatch.setattr(figures, "samples", samples)
    return calls


@pytest.mark.parametrize(
    ("classes", "each", "count", "counts", "note"),
    [
        (10, 50, 100, [10] * 10, ""),
        (10, 50, 12, [2, 2] + [1] * 8, ""),
        (10, 3, 100, [3] * 10, ""),
        (10, 50, 1, [1], " · 1 of 10 classes"),
        (200, 5, 40, [2] * 20, " · 20 of 200 classes"),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_preview_is_spread_over_the_classes(
    shown, tmp_path: Path, classes: int, each: int, count: int, counts: list[int], note: str, split: str
) -> None:
    preview(Numbered(classes, each), "Name", split, count, tmp_path / "p.png")
    numbers = np.rint(shown[0].examples[:, 0] * 1e4).astype(int)
    assert len(set(numbers)) == sum(counts)
    np.testing.assert_array_equal(numbers // each, shown[0].labels)
    found, some = np.unique(shown[0].labels, return_counts=True)
    assert some.tolist() == counts
    assert (found[0], found[-1]) == (0, classes - 1 if len(counts) > 1 else 0)
    called = "training" if split == "train" else "test"
    assert shown[0].title == f"Name · {sum(counts)} {called} example{'s' * (sum(counts) > 1)}{note}"


def test_a_preview_is_random_but_always_the_same(shown, tmp_path: Path) -> None:
    for dataset in (Numbered(1, 500), Numbered(1, 500), Noise(3, 8, 8), Lines(8, 8)):
        preview(dataset, "Name", "train", 5, tmp_path / "p.png")
    first, again, colours, lines = (call.examples for call in shown)
    np.testing.assert_array_equal(first, again)
    assert np.ptp(first[:, 0]) * 1e4 > 50
    assert colours.shape == (5, 3, 8, 8)
    assert lines.shape == (5, 1, 8, 8)


def test_a_preview_of_many_channels_shows_their_mean(shown, tmp_path: Path) -> None:
    dataset = Noise(5, 8, 8, count=4)
    preview(dataset, "Name", "test", 4, tmp_path / "p.png")
    means = dataset.split.data.mean(1, keepdim=True).numpy()
    np.testing.assert_allclose(np.sort(shown[0].examples, axis=0), np.sort(means, axis=0), atol=1e-6)
    assert shown[0].title == "Name · 4 test examples · the mean of 5 channels"


def test_a_preview_of_what_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be drawn"):
        preview(Noise(2, 3, 8, 8), "Name", "test", 4, tmp_path / "p.png")
