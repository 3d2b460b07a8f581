from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from acaikit.data.base import Dataset, Shuffled, Split, Stream
from acaikit.data.lines import Lines
from acaikit.evaluators.base import Trained
from acaikit.experiment import Experiment
from acaikit.nets import ConvDecoder, ConvEncoder
from acaikit.report.pictures import draw


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
