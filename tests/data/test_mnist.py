from __future__ import annotations

from pathlib import Path

import pytest
import torch

from acaikit.data.base import Split
from acaikit.data.mnist import MNIST
from acaikit.errors import DataError
from acaikit.rng import generator


@pytest.fixture
def mnist(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> MNIST:
    monkeypatch.setenv("ACAIKIT_DATA", str(shared_data))
    return MNIST()


def check(split: Split, count: int, first: list[int], mean: float) -> None:
    assert split.data.shape == (count, 1, 32, 32)
    assert split.labels.dtype == torch.int64
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


def test_the_published_images_padded(mnist: MNIST) -> None:
    assert (mnist.shape, mnist.classes) == ((1, 32, 32), 10)
    stream = mnist.train(64, generator(0, "data"))
    # The means are those that are published with the set.
    check(stream.split, 60_000, [5, 0, 4, 1, 9], 0.1306605)
    check(mnist.test(), 10_000, [7, 2, 1, 0, 4], 0.1325145)
    x, y = stream.next()
    assert x.shape == (64, 1, 32, 32)
    assert torch.equal(x, stream.split.examples(stream.order[:64]))
    assert torch.equal(y, stream.split.labels[stream.order[:64]])


def test_no_file_is_read_before_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACAIKIT_DATA", str(tmp_path))
    mnist = MNIST()
    for use, part in ((mnist.test, "t10k"), (lambda: mnist.train(1, generator(0, "data")), "train")):
        with pytest.raises(DataError, match="is missing") as caught:
            use()
        assert str(tmp_path / "mnist" / f"{part}-images-idx3-ubyte.gz") in str(caught.value)
