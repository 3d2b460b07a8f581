"""Whether a regularizer that says ``recordable = True`` can be recorded on a GPU, as far as a CPU can tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from acaikit.captured import PLAIN, recordable
from acaikit.engine import Trainer
from acaikit.testing.fixtures import STEPS
from acaikit.testing.regularizer_gradients import Factory, made, trainer_with
from acaikit.testing.rules import NotApplicable, NotConforming


def check_recordable(factory: Factory, data: str = "images") -> None:
    """Train some steps, and see that nothing on the host changes and that no hook reads a tensor's numbers there."""
    if not any(recordable(regularizer) for regularizer in made(factory)):
        raise NotApplicable("it doesn't say recordable = True")
    trainer = trainer_with(factory, data)
    trainer.on_nan = "skip"
    parts = {name: part for name, part in _parts(trainer) if recordable(part)}
    trainer.step()  # what is made in a first step may stay
    tensors = {name: (tensor, tensor.data_ptr()) for name, tensor in _tensors(parts)}
    numbers = dict(_numbers(parts))
    for _ in range(STEPS):
        trainer.step()
        for name, tensor in _tensors(parts):
            if name not in tensors or tensors[name][0] is not tensor or tensors[name][1] != tensor.data_ptr():
                raise NotConforming(
                    f"{name} is another tensor after a step, and a recorded step goes on with the old one: change it "
                    f"in place, by copy_(), mul_() or lerp_()"
                )
        changed = [name for name, value in _numbers(parts) if name not in numbers or numbers[name] != value]
        if changed:
            raise NotConforming(
                f"{changed[0]} changes from step to step, and a recorded step repeats one value: keep it in a buffer "
                f"(register_buffer), or leave out recordable = True"
            )
    x, y = trainer.stream.next()
    with _Reading():  # type: ignore[no-untyped-call]
        _, views = trainer.objective.backward(x, y, trainer.noise)
        with torch.no_grad():
            for name, regularizer in trainer.model.regularizers.items():
                regularizer.after_step(views[name])


def _parts(trainer: Trainer) -> Iterator[tuple[str, nn.Module]]:
    for name, regularizer in trainer.model.regularizers.items():
        yield from regularizer.named_modules(prefix=name)


def _tensors(parts: Mapping[str, nn.Module]) -> Iterator[tuple[str, Tensor]]:
    for name, part in parts.items():
        for kept in (part.named_parameters, part.named_buffers):
            yield from kept(prefix=name, recurse=False)


def _numbers(parts: Mapping[str, nn.Module]) -> Iterator[tuple[str, object]]:
    for name, part in parts.items():
        yield from ((f"{name}.{key}", value) for key, value in vars(part).items() if isinstance(value, PLAIN))


_READS = (torch.ops.aten.nonzero, torch.ops.aten.masked_select, torch.ops.aten._unique2)
"""The sizes of what they return depend on the numbers."""


class _Reading(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses what makes the host wait for the numbers of a tensor."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.data_dependent_output in func.tags or func.overloadpacket in _READS:
            raise NotConforming(
                "a hook reads a tensor's numbers on the host (.item(), float(), bool(), an if on a tensor, nonzero()), "
                "which no recording can hold: compute with tensors, such as torch.where, or leave out recordable = True"
            )
        return func(*args, **(kwargs or {}))
