from __future__ import annotations

from itertools import islice, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit.data.base import Shuffled, Split, to_unit
from acaikit.errors import DataError
from acaikit.rng import generator


def numbered(count: int) -> Split:
    """Examples that say which they are: example i holds i / count, and so does its label i."""
    return Split(torch.arange(count).view(-1, 1, 1, 1) / count, torch.arange(count))


def test_to_unit_of_every_byte() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    unit = to_unit(pixels)
    assert unit.dtype == torch.float32
    assert unit[0] == -1
    assert unit[255] == 1
    torch.testing.assert_close(unit.double(), 2 * torch.arange(256, dtype=torch.float64) / 255 - 1, rtol=0, atol=1.5e-7)
    assert pixels[255] == 255


def test_to_unit_leaves_floats_alone() -> None:
    x = torch.tensor([-1.0, 0.25, 1.0])
    assert torch.equal(to_unit(x), torch.tensor([-1.0, 0.25, 1.0]))


@pytest.mark.parametrize("labels", [None, torch.arange(7)])
def test_batches_of_a_split_are_every_example_in_order(labels: torch.Tensor | None) -> None:
    split = Split(torch.arange(7, dtype=torch.uint8).view(7, 1), labels)
    batches = list(split.batches(3))
    assert [len(x) for x, _ in batches] == [3, 3, 1]
    assert torch.equal(torch.cat([x for x, _ in batches]), to_unit(split.data))
    for x, y in batches:
        assert (y is None) == (labels is None)
        assert y is None or len(y) == len(x)
    if labels is not None:
        assert torch.cat([y for _, y in batches]).tolist() == list(range(7))


@given(count=st.integers(1, 30), data=st.data(), seed=st.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_every_example_once_an_epoch(count: int, data: st.DataObject, seed: int) -> None:
    """Also where a batch ends one epoch and begins the next."""
    batch_size = data.draw(st.integers(1, count))
    stream = Shuffled(numbered(count), batch_size, generator(seed, "data"), "cpu")
    seen = []
    while len(seen) < 3 * count:
        x, y = stream.next()
        assert x.shape == (batch_size, 1, 1, 1)
        assert torch.equal(x.flatten(), y / count)
        seen += y.tolist()
    for start in range(0, 3 * count, count):
        assert sorted(seen[start : start + count]) == list(range(count))


def test_each_epoch_has_an_order_of_its_own() -> None:
    stream = Shuffled(numbered(50), 50, generator(0, "data"), "cpu")
    orders = [stream.next()[1].tolist() for _ in range(4)]
    assert all(a != b for a, b in pairwise([list(range(50)), *orders]))


@given(before=st.integers(0, 9), batch_size=st.sampled_from([1, 4, 10]))
@settings(deadline=None, max_examples=20)
def test_resume_in_the_middle_of_an_epoch(before: int, batch_size: int) -> None:
    noise = generator(0, "data")
    stream = Shuffled(numbered(10), batch_size, noise, "cpu")
    for _ in range(before):
        stream.next()
    saved, at = {key: torch.as_tensor(value).clone() for key, value in stream.state_dict().items()}, noise.get_state()
    assert sum(value.nbytes for value in saved.values()) < 6000
    expected = [stream.next()[1].tolist() for _ in range(12)]
    noise = generator(1, "data")
    resumed = Shuffled(numbered(10), batch_size, noise, "cpu")
    noise.set_state(at)
    resumed.load_state_dict({**saved, "cursor": int(saved["cursor"]), "examples": int(saved["examples"])})
    assert [resumed.next()[1].tolist() for _ in range(12)] == expected


def test_a_set_without_labels() -> None:
    stream = Shuffled(Split(torch.zeros(3, 2)), 2, generator(0, "data"), "cpu")
    assert [y for _, y in islice(iter(stream.next, None), 3)] == [None] * 3


def test_sets_that_cannot_be_used() -> None:
    with pytest.raises(DataError, match=r"has 4 examples, fewer than a batch of 5: lower Experiment\.batch_size"):
        Shuffled(numbered(4), 5, generator(0, "data"), "cpu")
    state = Shuffled(numbered(4), 1, generator(0, "data"), "cpu").state_dict()
    with pytest.raises(DataError, match="4 examples, but the set now has 5"):
        Shuffled(numbered(5), 1, generator(0, "data"), "cpu").load_state_dict(state)


def test_a_split_stays_where_it_is_on_a_cpu() -> None:
    split = numbered(3)
    assert split.resident("cpu") is split


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_whole_set_lies_on_the_gpu_where_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    split = Split(torch.randint(0, 256, (100, 3, 8, 8), dtype=torch.uint8), torch.arange(100))
    there = Shuffled(split, 10, generator(0, "data"), "cuda")
    assert (there.split.data.device.type, there.split.data.dtype) == ("cuda", torch.uint8)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 0))
    piecewise = Shuffled(split, 10, generator(0, "data"), "cuda")
    assert piecewise.split is split
    here = Shuffled(split, 10, generator(0, "data"), "cpu")
    for _ in range(25):
        (x, y), (a, b), (c, d) = here.next(), there.next(), piecewise.next()
        assert a.device.type == b.device.type == c.device.type == "cuda"
        torch.testing.assert_close(a.cpu(), x, rtol=0, atol=1e-6)
        assert torch.equal(a, c)
        assert torch.equal(b.cpu(), y)
        assert torch.equal(b, d)


@pytest.mark.parametrize("data", [torch.zeros(4, 2), torch.zeros(4, 2, dtype=torch.uint8)])
def test_what_is_done_to_a_batch_never_reaches_the_set(data: torch.Tensor) -> None:
    split = Split(data.clone(), torch.zeros(4, dtype=torch.int64))
    for _, y in split.batches(2):
        y.fill_(7)
    assert (split.labels == 0).all()
    for x in (split.examples(slice(0, 2)), split.examples(torch.arange(2)), next(split.batches(2))[0]):
        x.fill_(7)
    assert torch.equal(split.data, data)
