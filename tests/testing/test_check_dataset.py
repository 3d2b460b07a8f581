from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from acaikit.data import Arrays, Dataset, Digits, Disc, ImageFolder, Lines, Rendered, Sinusoid, Split
from acaikit.data.base import Shuffled, Stream
from acaikit.data.rendered import Factor
from acaikit.errors import DataError
from acaikit.registry import OURS, parts
from acaikit.rng import generator
from acaikit.testing import NotConforming, check_dataset

SMALL: dict[str, Callable[[], Dataset]] = {
    "Digits": lambda: Digits(flat=True),
    "Disc": lambda: Disc(height=16, width=16, test_size=10),
    "Lines": lambda: Lines(8, 8, test_size=10),
    "Sinusoid": lambda: Sinusoid(length=16, test_size=10),
}
FROM_FILES = ("Arrays", "ImageFolder", "MNIST", "KMNIST", "FashionMNIST", "SVHN", "CIFAR10", "CelebA")
EXAMPLES = np.linspace(-1, 1, 40 * 6, dtype=np.float32).reshape(40, 6)


def test_every_registered_dataset_is_checked_here_or_comes_from_files() -> None:
    ours = {part.name for part in parts() if part.kind == "datasets" and part.distribution == OURS}
    assert ours == {*SMALL, *FROM_FILES}


@pytest.mark.parametrize("name", SMALL)
def test_those_without_files_conform(name: str) -> None:
    check_dataset(SMALL[name])


@pytest.mark.parametrize("labels", [True, False])
def test_arrays_of_ones_own_conform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: bool) -> None:
    monkeypatch.setenv("ACAIKIT_DATA", str(tmp_path))
    np.savez(tmp_path / "a.npz", x=EXAMPLES, **({"y": np.arange(40) % 3} if labels else {}))
    check_dataset(lambda: Arrays(tmp_path / "a.npz"))


def test_images_of_ones_own_conform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.setenv("ACAIKIT_DATA", str(tmp_path))
    for i in range(20):
        (tmp_path / "images" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (12 * i, 0, 255)).save(tmp_path / "images" / "ab"[i % 2] / f"{i}.png")
    check_dataset(lambda: ImageFolder(tmp_path / "images", size=8))


def test_a_published_set_conforms(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from acaikit.data import MNIST

    monkeypatch.setenv("ACAIKIT_DATA", str(shared_data))
    check_dataset(MNIST)


def test_data_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACAIKIT_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"none.npz .* is missing"):
        check_dataset(lambda: Arrays(tmp_path / "none.npz"))


class Ramps(Dataset):
    """Conforms; each of those below breaks one rule."""

    shape: Any = (6,)
    classes: Any = 3

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def split(self, rows: slice) -> Split:
        labels = torch.arange(40) % 3
        return Split(torch.from_numpy(EXAMPLES)[rows] * self.scale, labels[rows])

    def train(self, batch_size: int, generator: Generator, device: torch.device | str = "cpu") -> Any:
        return Shuffled(self.split(slice(0, 30)), batch_size, generator, device)

    def test(self) -> Any:
        return self.split(slice(30, 40))


class Unlabelled(Ramps):
    classes = None

    def split(self, rows: slice) -> Split:
        return Split(super().split(rows).data)


class Pixels(Ramps):
    def split(self, rows: slice) -> Split:
        found = super().split(rows)
        return Split(found.data.add(1).mul(127).to(torch.uint8), found.labels)


@pytest.mark.parametrize("kind", [Ramps, Unlabelled, Pixels])
def test_what_conforms(kind: type[Dataset]) -> None:
    check_dataset(kind)


class Reads(Ramps):
    def __init__(self) -> None:
        super().__init__()
        Path(__file__).read_bytes()


class ReadsHDF5(Ramps):
    def __init__(self, folder: str = "") -> None:
        super().__init__()
        self.folder = folder
        with h5py.File("in memory", "w", driver="core", backing_store=False):
            pass


class ShapeAsList(Ramps):
    shape: Any = [6]  # noqa: RUF012 (it is what is wrong)


class ClassesAsText(Ramps):
    classes = "3"


class TwoNames(Ramps):
    class_names = ("a", "b")


class Forgets(Ramps):
    def __init__(self, scale: float = 1.0, cut: float = 0.0) -> None:
        super().__init__(scale)
        self.clipped_at = cut


class NewDigests(Ramps):
    @property
    def digests(self) -> Any:
        return {"train": str(random.random())}


class HeldAsTensor(Ramps):
    def test(self) -> Any:
        return super().test().data


class EmptyTest(Ramps):
    def test(self) -> Any:
        return self.split(slice(0, 0))


class HeldInDouble(Ramps):
    def test(self) -> Any:
        split = super().test()
        return Split(split.data.double(), split.labels)


class HeldWithoutLabels(Ramps):
    def test(self) -> Any:
        return Split(super().test().data)


class OtherTestEachTime(Ramps):
    calls = 0

    def test(self) -> Any:
        self.calls += 1
        return self.split(slice(30, 32 + self.calls))


class HeldFromTorch(Ramps):
    def test(self) -> Any:
        split = super().test()
        return Split(split.data * torch.rand(()), split.labels)


class LabelsFromOne(Ramps):
    def split(self, rows: slice) -> Split:
        found = super().split(rows)
        return Split(found.data, found.labels + 1)


class LabelsAsFloats(Ramps):
    def split(self, rows: slice) -> Split:
        found = super().split(rows)
        return Split(found.data, found.labels.float())


class OutOfRange(Ramps):
    def __init__(self) -> None:
        super().__init__(scale=2.0)


class TooMany(Ramps):
    def training(self, limit: int | None = None) -> Split:
        return self.split(slice(0, 30))


class OtherTrainingExamples(Ramps):
    def training(self, limit: int | None = None) -> Split:
        return self.split(slice(30 - (limit or 30), 30))


class Batches(Stream):
    """Wraps the stream of `Ramps`."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def next(self) -> Any:
        return self.stream.next()

    def state_dict(self) -> dict[str, Any]:
        return self.stream.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.stream.load_state_dict(state)


def streaming(kind: type[Batches]) -> type[Ramps]:
    """Return a dataset whose training stream is of this kind; `training` is `Ramps`' own."""

    class Streamed(Ramps):
        def train(self, batch_size: int, generator: Generator, device: torch.device | str = "cpu") -> Any:
            return kind(super().train(batch_size, generator, device))

        def training(self, limit: int | None = None) -> Split:
            return self.split(slice(0, min(limit or 30, 30)))

    Streamed.__name__ = kind.__name__
    return Streamed


class BatchesInDouble(Batches):
    def next(self) -> Any:
        x, y = super().next()
        return x.double(), y


class BatchesBeyond(Batches):
    def next(self) -> Any:
        x, y = super().next()
        return x + 3, y


class BatchesUnlabelled(Batches):
    def next(self) -> Any:
        return super().next()[0], None


class ShortLabels(Batches):
    def next(self) -> Any:
        x, y = super().next()
        return x, y[:1]


class WrongSize(Ramps):
    def train(self, batch_size: int, generator: Generator, device: torch.device | str = "cpu") -> Any:
        return super().train(5, generator, device)


class Iterates(Ramps):
    def train(self, batch_size: int, generator: Generator, device: torch.device | str = "cpu") -> Any:
        stream = super().train(batch_size, generator, device)
        return iter(stream.next, None)


class OnCPU(Batches):
    def next(self) -> Any:
        x, y = super().next()
        return (x if not x.is_meta else torch.zeros(x.shape)), y


class GlobalOrder(Batches):
    def next(self) -> Any:
        x, y = super().next()
        order = torch.randperm(len(x))
        return x[order], None if y is None or y.is_meta else y[order]


class FixedOrder(Batches):
    def __init__(self, stream: Any) -> None:
        super().__init__(Shuffled(stream.split, stream.batch_size, generator(0, "fixed"), stream.device))


class Ends(Batches):
    given = 0

    def next(self) -> Any:
        x, y = super().next()
        self.given += len(x)
        if self.given > 30:
            raise StopIteration
        return x, y


class Forgetful(Batches):
    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class StateOfObjects(Batches):
    def state_dict(self) -> dict[str, Any]:
        return {"stream": self.stream}


class Shared(Ramps):
    """Gives out its own memory, in the order in which it is kept but for the first example."""

    kept = torch.from_numpy(EXAMPLES.copy())

    def train(self, batch_size: int, generator: Generator, device: torch.device | str = "cpu") -> Any:
        class Own(Batches):
            def next(self) -> Any:
                start = int(torch.randint(20, (), generator=generator))
                labels = torch.arange(batch_size) % 3
                return Shared.kept[start : start + batch_size].to(device), labels.to(device)

            def state_dict(self) -> dict[str, Any]:
                return {}

        return Own(super().train(batch_size, generator, device))

    def training(self, limit: int | None = None) -> Split:
        return self.split(slice(0, min(limit or 30, 30)))


class Levels(Rendered):
    """Conforms: drawn without an end, from one factor."""

    def __init__(self) -> None:
        super().__init__((4,), Factor("place", 0.0, 1.0, periodic=False, unit="px"), 4)

    def render(self, values: Tensor) -> Tensor:
        return values.float().view(-1, 1).expand(-1, 4).clone()


def test_what_is_drawn_conforms() -> None:
    check_dataset(Levels)


class ReusesTraining(Ramps):
    def test(self) -> Split:
        return self.training()


class NotFinite(Ramps):
    def test(self) -> Split:
        split = super().test()
        return Split(torch.where(split.examples(slice(None)) > 0, torch.nan, 0.0), split.labels)


FAULTY: list[tuple[Callable[[], Any], str]] = [
    (ReusesTraining, "the first examples of ReusesTraining.test are those that it trains on"),
    (NotFinite, "the examples of NotFinite.test hold numbers that are not finite"),
    (dict, "a dict is no dataset: subclass acaikit.data.Dataset"),
    (Reads, r"Reads opens .*test_check_dataset.py when it is made, .* do it in prepare\(\)"),
    (ReadsHDF5, "ReadsHDF5 opens in memory when it is made"),
    (ShapeAsList, r"ShapeAsList.shape is \[6\]: make it a tuple of whole numbers"),
    (ClassesAsText, "ClassesAsText.classes is '3': make it a whole number, or None"),
    (TwoNames, "TwoNames has 2 class_names, but 3 classes: name all or none"),
    (Forgets, "Forgets doesn't keep its parameter cut: keep it as self.cut"),
    (NewDigests, r"NewDigests.digests\['train'\] is another each time: a run could not go on"),
    (HeldAsTensor, r"HeldAsTensor.test gives a Tensor: return an acaikit.data.Split\(data, labels\)"),
    (EmptyTest, "EmptyTest.test has no example"),
    (HeldInDouble, r"HeldInDouble.test must be uint8 pixels or float32 \[N, 6\], not torch.float64 \[10, 6\]"),
    (HeldWithoutLabels, "HeldWithoutLabels's test have no labels, but its classes are 3: labels are None where"),
    (OtherTestEachTime, "OtherTestEachTime.test gives other examples each time: draw them with a fixed seed"),
    (HeldFromTorch, "HeldFromTorch.test draws from torch's global generator"),
    (LabelsFromOne, "test have labels from 1 to 3, but with 3 classes they go from 0 to 2"),
    (LabelsAsFloats, r"test must have int64 labels \[10\], not torch.float32 \[10\]"),
    (OutOfRange, r"the examples of OutOfRange.test reach from .* to 2: scale the data to \[-1, 1\]"),
    (TooMany, r"TooMany.training\(4\) gives 30 examples: at most 4"),
    (OtherTrainingExamples, "OtherTrainingExamples.training gives other examples each time: the first `limit`"),
    (streaming(BatchesInDouble), r"batches must be float32 \[B, 6\], not torch.float64 \[4, 6\]"),
    (streaming(BatchesBeyond), r"batches reach from .* to .*: scale the data to \[-1, 1\]"),
    (streaming(BatchesUnlabelled), "batches have no labels, but its classes are 3"),
    (streaming(ShortLabels), r"batches must have int64 labels \[4\], not torch.int64 \[1\]"),
    (WrongSize, "WrongSize.train gives batches of 5 where batch_size is 4"),
    (Iterates, r"Iterates.train gives a callable_iterator: return an acaikit.data.base.Stream, such as Shuffled\("),
    (streaming(OnCPU), "OnCPU.train leaves batches on cpu: move them to `device`"),
    (Shared, r"what is done to a batch of Shared changes its examples: give a copy \(clone\(\)\)"),
    (
        streaming(GlobalOrder),
        "GlobalOrder.train draws from torch's global generator, or seeds it: draw from the generator that",
    ),
    (streaming(FixedOrder), "the same batches whatever the generator: shuffle with generator=generator"),
    (streaming(Ends), "Ends's stream ends after 30 examples: begin the next epoch in a new order"),
    (streaming(Forgetful), "stream, saved after 0 batches, goes on with others: state_dict must hold the position"),
    (streaming(StateOfObjects), "the state_dict of StateOfObjects's stream can't be stored"),
]


@pytest.mark.parametrize(("factory", "message"), FAULTY, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_rule_is_named(factory: Callable[[], Any], message: str) -> None:
    with pytest.raises(NotConforming, match=message):
        check_dataset(factory)
