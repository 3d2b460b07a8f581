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
from acaikit.evaluators.base import Trained
from acaikit.experiment import Experiment
from acaikit.nets import ConvDecoder, ConvEncoder
from acaikit.report import figures
from acaikit.report.pictures import draw, preview


class Colours(Dataset):
    """Colour images of noise."""

    shape = (3, 8, 8)

    def train(self, batch_size: int, generator: torch.Generator, device: torch.device | str = "cpu") -> Stream:
        return Shuffled(self.test(), batch_size, generator, device)

    def test(self) -> Split:
        return Split(torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1)


def trained(dataset: Dataset) -> Trained:
    experiment = Experiment(dataset, ConvEncoder(depth=2, scales=2, latent=2), ConvDecoder(depth=2, scales=2))
    return Trained(*experiment.build(), dataset)


@pytest.mark.parametrize("dataset", [Lines(8, 8, test_size=20), Colours()], ids=["gray", "colour"])
def test_two_pictures(dataset: Dataset, tmp_path: Path) -> None:
    files = draw(trained(dataset), tmp_path / "figures", "a run · 64 samples")
    assert files == [tmp_path / "figures" / "interpolation.png", tmp_path / "figures" / "reconstruction.png"]
    assert sorted(files) == sorted((tmp_path / "figures").iterdir())
    for file in files:
        page = imread(file)[..., :3]
        assert np.ptp(page) > 0.5
        grey = np.ptp(page, axis=2).max() == 0
        assert not (grey and dataset.shape[0] == 3)


def test_data_that_are_no_pictures(tmp_path: Path) -> None:
    for shape in ((5,), (2, 8, 8), (1, 2, 8, 8)):
        assert draw(Trained(None, None, SimpleNamespace(shape=shape)), tmp_path / "figures", "") == []
    assert not (tmp_path / "figures").exists()


def test_a_model_that_diverged(tmp_path: Path) -> None:
    broken = trained(Lines(8, 8, test_size=20))
    with torch.no_grad():
        next(broken.model.decoder.parameters()).fill_(float("nan"))
    assert draw(broken, tmp_path / "figures", "") == []
    assert not (tmp_path / "figures").exists()


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

    def samples(examples: np.ndarray, labels: object, class_names: object, file: Path, *, title: str) -> None:
        calls.append(SimpleNamespace(examples=examples, labels=labels, title=title))

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
    for dataset in (Numbered(1, 500), Numbered(1, 500), Colours(), Lines(8, 8)):
        preview(dataset, "Name", "train", 5, tmp_path / "p.png")
    first, again, colours, lines = (call.examples for call in shown)
    np.testing.assert_array_equal(first, again)
    assert np.ptp(first[:, 0]) * 1e4 > 50
    assert colours.shape == (5, 3, 8, 8)
    assert lines.shape == (5, 1, 8, 8)


def test_a_preview_of_many_channels_shows_their_mean(shown, tmp_path: Path) -> None:
    dataset = Colours()
    dataset.shape = (5, 8, 8)
    split = Split(torch.rand(4, 5, 8, 8) * 2 - 1)
    dataset.test = lambda: split  # type: ignore[method-assign]
    preview(dataset, "Name", "test", 4, tmp_path / "p.png")
    means = split.data.mean(1, keepdim=True).numpy()
    assert {x.tobytes() for x in shown[0].examples} == {x.tobytes() for x in means}
    assert shown[0].title == "Name · 4 test examples · the mean of 5 channels"


def test_a_preview_of_what_cannot_be_drawn(tmp_path: Path) -> None:
    dataset = Colours()
    dataset.shape = (2, 3, 8, 8)
    with pytest.raises(UserError, match="can't be drawn"):
        preview(dataset, "Name", "test", 4, tmp_path / "p.png")
