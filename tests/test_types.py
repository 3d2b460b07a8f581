from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from acaikit.types import Step


def make(**extras: Tensor) -> Step:
    weight = torch.tensor(2.0, requires_grad=True)
    x = torch.tensor([[1.0, 3.0]])
    return Step(
        x, h=weight * x, z=weight * x + 1, x_hat=weight * x + 2, encode=torch.neg, decode=torch.exp, extras=extras
    )


def test_extras_are_found_by_name() -> None:
    step = make(alpha=torch.tensor([0.25]))
    assert step.alpha.item() == 0.25
    assert step.h.tolist() == [[2, 6]]


def test_a_missing_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(AttributeError, match=r"step has no 'x_mix': this regularizer sees x, h, z, x_hat, alpha, n$"):
        _ = make(alpha=torch.zeros(1), n=torch.zeros(1)).x_mix
    assert not hasattr(make(), "x_mix")


def test_extras_are_added_to_a_new_step() -> None:
    first = make(a=torch.tensor(1.0), b=torch.tensor(2.0))
    second = first.with_extras({"b": torch.tensor(3.0), "c": torch.tensor(4.0)})
    assert [second.a.item(), second.b.item(), second.c.item()] == [1, 3, 4]
    assert first.b.item() == 2
    assert set(first.extras) == {"a", "b"}
    assert second.z is first.z


def test_detached_steps_hold_the_same_numbers_without_gradients() -> None:
    step = make(mix=torch.ones(2, requires_grad=True) * 5)
    detached = step.detached()
    for name in ("x", "h", "z", "x_hat", "mix"):
        assert torch.equal(getattr(detached, name), getattr(step, name))
        assert not getattr(detached, name).requires_grad
    assert step.z.requires_grad and step.mix.requires_grad
    assert detached.encode is step.encode and detached.decode is step.decode


def test_a_step_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().z = torch.zeros(1)
