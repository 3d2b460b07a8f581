"""Steps recorded once and replayed: a GPU that is given a whole step at once doesn't wait for the host to name it.

A recording repeats operations on the same memory. Whatever changes from call to call must lie in tensors on the device
or in generators that the recording knows: a number that Python keeps would stay as it was when the step was recorded.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Generic, Protocol, TypeVar, cast

import torch
from torch import Generator, Tensor

WARM = 3
"""Calls before a function is recorded: libraries choose their kernels in the first, and optimizers make their state."""
_WAITED = "called a synchronizing CUDA operation"
"""What torch warns of where the host waits for the device."""

PLAIN = (int, float, str)
"""What a recording keeps as it was: numbers, flags and texts."""

Result = TypeVar("Result")
Inputs = Sequence[Tensor | None]


class Recorder(Protocol):
    """Runs functions of tensors, and repeats one of them.

    Attributes
    ----------
    obstacle : str or None
        Why the function that was run last can't be recorded, where that is known.
    """

    obstacle: str | None

    def run(self, function: Callable[..., Result], inputs: Inputs) -> Result:
        """Call `function`, and see whether it could be recorded."""

    def record(
        self, function: Callable[..., Result], inputs: Inputs, generators: Iterable[Generator]
    ) -> tuple[Result, Callable[[], None]]:
        """Return what `function` will have returned, and what computes it: from the same memory into the same."""


class Captured(Generic[Result]):
    """A function that is called as it is at first, then recorded, and replayed from then on.

    What it returns is overwritten by the next call. Whatever can't be recorded goes on being called: one that makes the
    host wait for the device, whose recording fails, or whose inputs have other shapes than when it was recorded. Where
    what the host holds has changed since the last call, it begins anew.

    Parameters
    ----------
    function : callable
        Takes tensors (or None) and returns anything that holds tensors.
    recorder : Recorder or None
        Left out, the function is only ever called.
    generators : callable
        Returns the generators that the function draws from.
    recording : callable
        Returns the context in which the function is recorded.
    held : callable
        Returns what the function reads on the host, in a form that can be compared.
    obstacle : str, optional
        Why not to record it.

    Attributes
    ----------
    obstacle : str or None
        Why it is not recorded.
    """

    def __init__(
        self,
        function: Callable[..., Result],
        recorder: Recorder | None,
        generators: Callable[[], Iterable[Generator]] = tuple,
        recording: Callable[[], AbstractContextManager[None]] = nullcontext,
        held: Callable[[], object] = tuple,
        obstacle: str | None = None,
    ) -> None:
        self.function, self.recorder, self.generators, self.recording = function, recorder, generators, recording
        self.held, self.obstacle = held, obstacle
        self._held: object = None
        self.forget()

    def forget(self) -> None:
        """Drop the recording: memory that it reads or writes was replaced. It is made anew."""
        self._called = 0
        self._inputs: Inputs = ()
        self._result: Result | None = None
        self._replay: Callable[[], None] | None = None

    def __call__(self, *inputs: Tensor | None) -> Result:
        """Return what the function returns; in a replay always the same tensors, with new numbers."""
        if self.recorder is None or self.obstacle is not None:
            return self.function(*inputs)
        if (held := self.held()) != self._held:
            self.forget()
            self._held = held
        alike = _alike(inputs, self._inputs)
        if self._called < WARM:
            self._called = self._called + 1 if alike else 1
            self._inputs = inputs
            result = self.recorder.run(self.function, inputs)
            if self._called == WARM:
                self.obstacle = self.recorder.obstacle
            return result
        if alike and self._replay is None:
            self._record(self.recorder, inputs)
        if not alike or self._replay is None:
            return self.function(*inputs)
        for mine, given in zip(self._inputs, inputs, strict=True):
            if mine is not None and given is not None:
                mine.copy_(given, non_blocking=True)
        self._replay()
        return cast("Result", self._result)

    def _record(self, recorder: Recorder, inputs: Inputs) -> None:
        self._inputs = [None if given is None else given.clone() for given in inputs]
        generators = list(self.generators())
        states = [generator.get_state() for generator in generators]
        try:
            with self.recording():
                self._result, self._replay = recorder.record(self.function, self._inputs, generators)
        except Exception as error:  # whatever a part does that no recording can hold
            for generator, state in zip(generators, states, strict=True):
                _put_back(generator, state)
            self.obstacle = f"recording it failed: {' '.join(str(error).split()) or type(error).__name__}"


class CudaGraphs:
    """Records functions as CUDA graphs (torch.cuda.CUDAGraph), in a stream of their own.

    Parameters
    ----------
    device : torch.device
        The GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.obstacle: str | None = None
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # the default stream can't be recorded

    def run(self, function: Callable[..., Result], inputs: Inputs) -> Result:
        """Call `function` in the stream in which it would be recorded."""
        with _counting_waits() as waits, self._aside():
            result = function(*inputs)
        self.obstacle = f"the host waits for the device {len(waits)} times in it" if waits else None
        return result

    def record(
        self, function: Callable[..., Result], inputs: Inputs, generators: Iterable[Generator]
    ) -> tuple[Result, Callable[[], None]]:
        """Return what `function` will have returned, in memory that stays, and what computes it."""
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            graph.register_generator_state(generator)
        # The outer context leaves the stream where the inner one, whose recording failed, does not.
        with self._aside(), torch.cuda.graph(graph, stream=self._stream):
            result = function(*inputs)
        return result, graph.replay

    @contextmanager
    def _aside(self) -> Iterator[None]:
        outside = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            yield
        outside.wait_stream(self._stream)


def recordable(part: object) -> bool:
    """Whether a part keeps nothing on the host that changes from step to step.

    acaikit's and torch's own don't. Any other class says so by ``recordable = True`` in its body; a class that inherits
    from it says so for itself.
    """
    kind = type(part)
    return bool(vars(kind).get("recordable", kind.__module__.partition(".")[0] in ("acaikit", "torch")))


def plain(parts: Iterable[object]) -> list[object]:
    """Return the numbers, flags and texts among the attributes of `parts`, which a recording keeps as they were."""
    return [value for part in parts for value in getattr(part, "__dict__", {}).values() if isinstance(value, PLAIN)]


@contextmanager
def capturable(optimizers: Iterable[torch.optim.Optimizer]) -> Iterator[None]:
    """Let optimizers be recorded: they ask for this setting, though it changes nothing where they are fused."""
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group in groups:
            group["capturable"] = False


def default_generators(device: torch.device) -> list[torch.Generator]:
    """Return what is drawn from on a GPU where no generator is named; no recording needs to know a CPU's."""
    if device.type != "cuda":
        return []
    return [torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]]


def _alike(inputs: Inputs, others: Inputs) -> bool:
    def kind(tensor: Tensor | None) -> object:
        return None if tensor is None else (tensor.shape, tensor.dtype)

    return list(map(kind, inputs)) == list(map(kind, others))


def _put_back(generator: Generator, state: Tensor) -> None:
    if generator.device.type == "cuda":
        # One whose recording failed takes itself to be recorded still, and refuses to draw.
        generator.graphsafe_set_state(torch.Generator(generator.device).graphsafe_get_state())
    generator.set_state(state)


@contextmanager
def _counting_waits() -> Iterator[list[str]]:
    """Give a list that, after the block, has an entry for each time that the host waited for the device."""
    waits: list[str] = []
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield waits
        finally:
            torch.cuda.set_sync_debug_mode(before)
    for warning in caught:
        text = str(warning.message)
        if _WAITED in text:
            waits.append(text)
        elif "prototype feature" not in text:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
