"""The check of datasets: what they say of themselves, and what they give."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Generator

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.data.base import Dataset, Split, Stream
from acaikit.rng import generator
from acaikit.testing.dataset_examples import check_split, checked_batch, name_of
from acaikit.testing.rules import NotApplicable, NotConforming, Rule, keep, made_as
from acaikit.testing.side_effects import opened, undrawn
from acaikit.testing.states import copied, difference

Factory = Callable[[], Dataset]

BATCH = 4
WALKED = 5_000
"""Training examples that a set may have for its stream to be followed beyond the last one."""


def check_dataset(factory: Factory) -> None:
    """Check a dataset, which gets its data first (`Dataset.prepare`); return None when all is well.

    Parameters
    ----------
    factory : callable
        Makes a new object for the same data each time it is called; a class whose parameters all have defaults will do.

    Raises
    ------
    DataError
        If the data can't be had.
    NotConforming
        If it reads files when it is made, says of its examples what isn't so, doesn't keep its parameters, the test set
        or the first training examples are not the same each time, batches are not float32 in [-1, 1] with labels from 0
        to `classes` - 1, they depend on anything but the generator they are given, end, can be used to change the set,
        or differ when a run goes on from where it was saved.
    """
    keep(RULES, factory)


def _ready(factory: Factory) -> Dataset:
    dataset = factory()
    dataset.prepare()
    return dataset


def _order(seed: int = 0) -> Generator:
    return generator(seed, "data")


def _stream(dataset: Dataset, seed: int = 0, device: str = "cpu") -> Stream:
    stream: Any = dataset.train(BATCH, _order(seed), device)
    if not isinstance(stream, Stream):
        raise NotConforming(
            f"{name_of(dataset)}.train gives a {type(stream).__name__}: return an acaikit.data.base.Stream, such as "
            f"Shuffled(split, batch_size, generator, device)"
        )
    return stream


def _check_kind(factory: Factory) -> None:
    made_as(factory(), Dataset, "acaikit.data")


def _check_reads_nothing(factory: Factory) -> None:
    """Make it a second time, when all modules are imported, and see what is opened."""
    factory()
    with opened() as files:
        dataset = factory()
    if files:
        raise NotConforming(
            f"{name_of(dataset)} opens {files[0]} when it is made, so that a recipe couldn't be looked at without its "
            f"data: do it in prepare(), or when train() or test() is called (functools.cached_property)"
        )


def _check_parameters(factory: Factory) -> None:
    """See that two sets of other parameters can be told apart."""
    dataset = _ready(factory)
    if not isinstance(dataset.digests, Mapping):
        raise NotConforming(f"{name_of(dataset)}.digests is a {type(dataset.digests).__name__}: make it a dict")
    if dataset.digests:
        path = difference(copied(dataset.digests), copied(_ready(factory).digests))
        if path is not None:
            raise NotConforming(f"{name_of(dataset)}.digests{path} is another each time: a run could not go on")
        raise NotApplicable("its digests tell its examples from others")
    for name in inspect.signature(type(dataset)).parameters:
        if name != "path" and not hasattr(dataset, name):
            raise NotConforming(
                f"{name_of(dataset)} doesn't keep its parameter {name}: keep it as self.{name}, or what is measured on "
                f"different data looks as if it was measured on the same"
            )


def _check_description(factory: Factory) -> None:
    """See that what it says of its examples makes sense."""
    dataset = _ready(factory)
    name, shape, classes = name_of(dataset), getattr(dataset, "shape", None), dataset.classes
    if not isinstance(shape, tuple) or not shape or not all(type(n) is int and n > 0 for n in shape):
        raise NotConforming(
            f"{name}.shape is {shape!r}: make it a tuple of whole numbers, (C, H, W) for images, (C, L) for sequences "
            f"or (D,) for vectors"
        )
    if classes is not None and (type(classes) is not int or classes < 1):
        raise NotConforming(f"{name}.classes is {classes!r}: make it a whole number, or None where there are no labels")
    if dataset.class_names and len(dataset.class_names) != (classes or 0):
        raise NotConforming(
            f"{name} has {len(dataset.class_names)} class_names, but {classes} classes: name all or none"
        )


def _check_test(factory: Factory) -> None:
    """See that the test set is well formed, and always the same."""
    dataset = _ready(factory)
    with undrawn(f"{name_of(dataset)}.test", _OWN):
        splits = [dataset.test(), dataset.test(), _ready(factory).test()]
    check_split(dataset, splits[0], "test")
    if not all(_same(splits[0], other) for other in splits[1:]):
        raise NotConforming(
            f"{name_of(dataset)}.test gives other examples each time: draw them with a fixed seed of their own"
        )


def _check_training_examples(factory: Factory) -> None:
    """See that the first training examples are well formed, and always the same."""
    dataset = _ready(factory)
    with undrawn(f"{name_of(dataset)}.training", _OWN):
        few, more = dataset.training(BATCH), dataset.training(2 * BATCH)
        again = _ready(factory).training(2 * BATCH)
    check_split(dataset, more, f"training({2 * BATCH})")
    for limit, split in ((BATCH, few), (2 * BATCH, more)):
        if len(split) > limit:
            raise NotConforming(f"{name_of(dataset)}.training({limit}) gives {len(split)} examples: at most {limit}")
    if _same(more, _first(dataset.test(), len(more))):
        raise NotConforming(
            f"the first examples of {name_of(dataset)}.test are those that it trains on: keep test examples apart"
        )
    if not _same(more, again) or not _same(few, _first(more, len(few))):
        raise NotConforming(
            f"{name_of(dataset)}.training gives other examples each time: the first `limit`, in the set's own order"
        )


def _check_batches(factory: Factory) -> None:
    """See that batches are well formed, on the device that is asked for, and none of the set's own memory."""
    dataset = _ready(factory)
    x, y = checked_batch(dataset, _stream(dataset).next())
    if len(x) != BATCH:
        raise NotConforming(f"{name_of(dataset)}.train gives batches of {len(x)} where batch_size is {BATCH}")
    before = copied([x, y])
    x.fill_(7)
    if y is not None:
        y.fill_(0)
    again = _stream(dataset).next()
    if difference(before, copied(list(again))) is not None:
        raise NotConforming(
            f"what is done to a batch of {name_of(dataset)} changes its examples: give a copy (clone())"
        )
    elsewhere, _ = _stream(dataset, device="meta").next()
    if elsewhere.device.type != "meta":
        raise NotConforming(f"{name_of(dataset)}.train leaves batches on {elsewhere.device}: move them to `device`")


def _check_order(factory: Factory) -> None:
    """See that the order depends on the generator, and on nothing else."""
    dataset = _ready(factory)
    with undrawn(f"{name_of(dataset)}.train", "draw from the generator that it is given"):
        first = _batches(_stream(dataset), 3)
    if difference(first, _batches(_stream(_ready(factory)), 3)) is not None:
        raise NotConforming(
            f"{name_of(dataset)}.train gives other batches for a generator in the same state: draw from it alone"
        )
    if difference(first, _batches(_stream(dataset, seed=1), 3)) is None:
        raise NotConforming(
            f"{name_of(dataset)}.train gives the same batches whatever the generator: shuffle with generator=generator"
        )


def _check_endless(factory: Factory) -> None:
    """Follow the stream beyond the last example."""
    dataset = _ready(factory)
    count = len(dataset.training(WALKED + 1))
    if count > WALKED:
        raise NotApplicable(f"it has more than {WALKED:,} examples, too many to see them all")
    stream, seen = dataset.train(min(count, 64), _order()), 0
    while seen <= count:
        try:
            x, _ = checked_batch(dataset, stream.next())
        except StopIteration as error:
            raise NotConforming(
                f"{name_of(dataset)}'s stream ends after {seen} examples: begin the next epoch in a new order"
            ) from error
        seen += len(x)


def _check_resume(factory: Factory) -> None:
    """Save the stream after each of a few batches, and go on with another one."""
    dataset = _ready(factory)
    for steps in range(3):
        order = _order()
        stream = dataset.train(BATCH, order)
        _batches(stream, steps)
        with tempfile.TemporaryDirectory() as folder:
            files = Checkpoints(Path(folder), run_id="check")
            try:
                files.save(steps, {"stream": stream.state_dict(), "order": order.get_state()})
            except TypeError as error:
                raise NotConforming(
                    f"the state_dict of {name_of(dataset)}'s stream can't be stored: {error}"
                ) from error
            saved: Any = files.load(steps)
        again = _order(seed=1)
        resumed = _ready(factory).train(BATCH, again)
        again.set_state(saved["order"])
        resumed.load_state_dict(saved["stream"])
        if difference(_batches(stream, 3), _batches(resumed, 3)) is not None:
            raise NotConforming(
                f"{name_of(dataset)}'s stream, saved after {steps} batches, goes on with others: state_dict must hold "
                f"the position, and load_state_dict go there (the generator is restored before)"
            )


_OWN = "draw from a generator of your own, acaikit.rng.generator(0, name)"


def _batches(stream: Stream, count: int) -> dict[str, Any]:
    return copied([list(stream.next()) for _ in range(count)])


def _first(split: Split, count: int) -> Split:
    return Split(split.data[:count], None if split.labels is None else split.labels[:count])


def _same(a: Split, b: Split) -> bool:
    return difference(copied([a.data, a.labels]), copied([b.data, b.labels])) is None


RULES = (
    Rule("is a dataset", _check_kind),
    Rule("opens nothing when it is made", _check_reads_nothing),
    Rule("says what its examples are", _check_description),
    Rule("is told from others by its parameters", _check_parameters),
    Rule("has a test set that is always the same", _check_test),
    Rule("orders batches by its generator alone", _check_order),
    Rule("gives batches in [-1, 1], which are copies", _check_batches),
    Rule("has first training examples that are always the same", _check_training_examples),
    Rule("has no end", _check_endless),
    Rule("goes on from where it was saved", _check_resume),
)
