from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from acaikit.rng import derive_seed, generator, initialise

CONSUMERS = [(0, "data"), (0, "ACAI"), (0, "init/ACAI"), (1, "data"), (1, "ACAI"), (11, "data"), (0, "")]


def draws(seed: int, name: str) -> torch.Tensor:
    return torch.rand(8, generator=generator(seed, name))


@pytest.mark.parametrize(("seed", "name"), CONSUMERS)
def test_one_consumer_draws_the_same_each_time(seed: int, name: str) -> None:
    first = draws(seed, name)
    torch.manual_seed(5)
    torch.rand(3)
    assert torch.equal(draws(seed, name), first)


def test_no_two_consumers_draw_the_same() -> None:
    assert len({tuple(draws(seed, name).tolist()) for seed, name in CONSUMERS}) == len(CONSUMERS)


@given(seed=st.integers(0, 2**63), name=st.text())
def test_seeds_fit_torch(seed: int, name: str) -> None:
    derived = derive_seed(seed, name)
    assert 0 <= derived < 2**63
    assert generator(seed, name).initial_seed() == derived


def test_seeds_are_the_same_in_every_release() -> None:
    assert [derive_seed(0, "data"), derive_seed(17, "ACAI")] == [5807405673665083786, 109520553491114714]


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Conv2d(1, 2, 3)))


def numbers(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def initialised(seed: int, name: str) -> torch.Tensor:
    module = network()
    initialise(module, seed, name)
    return numbers(module)


def test_initial_weights_depend_on_seed_and_name_alone() -> None:
    torch.manual_seed(1)
    first = initialised(0, "encoder")
    torch.manual_seed(2)
    assert torch.equal(initialised(0, "encoder"), first)
    assert not torch.equal(initialised(1, "encoder"), first)
    assert not torch.equal(initialised(0, "decoder"), first)


def test_every_weight_is_drawn_anew() -> None:
    module = network()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(torch.nan)
    initialise(module, 0, "encoder")
    assert numbers(module).isfinite().all()


def test_initialise_leaves_the_global_generator_alone() -> None:
    module = network()
    before = torch.get_rng_state()
    initialise(module, 0, "encoder")
    assert torch.equal(torch.get_rng_state(), before)


def test_initialise_restores_the_global_generator_after_an_error() -> None:
    class Broken(nn.Module):
        def reset_parameters(self) -> None:
            torch.rand(1)
            raise ValueError("no")

    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="no"):
        initialise(Broken(), 0, "encoder")
    assert torch.equal(torch.get_rng_state(), before)
