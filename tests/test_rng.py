from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from acaikit.rng import derive_seed, generator, global_states, initialise, seed_globals, set_global_states

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


@pytest.fixture
def globals_kept() -> Iterator[None]:
    states = global_states()
    yield
    set_global_states(states)


def from_globals() -> list[float]:
    return [torch.rand(()).item(), np.random.rand(), np.random.randn(), random.random(), random.gauss(0, 1)]


@pytest.mark.usefixtures("globals_kept")
@pytest.mark.parametrize("seed", [0, 7, 2**62])
def test_global_generators_are_seeded(seed: int) -> None:
    seed_globals(seed)
    first, on = from_globals(), from_globals()
    seed_globals(seed)
    assert from_globals() == first
    seed_globals(seed + 1)
    for others in (on, from_globals()):
        assert all(a != b for a, b in zip(first, others, strict=True))


@pytest.mark.usefixtures("globals_kept")
@pytest.mark.parametrize("drawn", [0, 1, 700])
def test_global_generators_are_restored(drawn: int) -> None:
    """Half a pair of normal numbers, which numpy and Python keep for the next call, included."""
    seed_globals(3)
    for _ in range(drawn):
        from_globals()
    states = global_states()
    expected = [from_globals() for _ in range(3)]
    seed_globals(4)
    set_global_states(states)
    assert [from_globals() for _ in range(3)] == expected


NUMPY = ("MT19937", np.zeros(624, np.uint32), 5, 0, 0.0)


@pytest.mark.usefixtures("globals_kept")
@pytest.mark.parametrize(
    "change",
    [
        {"torch": torch.zeros(3, dtype=torch.uint8)},
        {"torch": None},
        {"numpy": ()},
        {"numpy": None},
        {"numpy": (*NUMPY[:2], 625, *NUMPY[3:])},
        {"numpy": (*NUMPY[:2], -1, *NUMPY[3:])},
        {"numpy": ("MT19937", np.zeros(600, np.uint32), *NUMPY[2:])},
        {"numpy": ("MT19937", np.zeros(624), *NUMPY[2:])},
        {"numpy": ("MT19937", [0] * 624, *NUMPY[2:])},
        {"numpy": ("PCG64", *NUMPY[1:])},
        {"python": (3, (1, 2), None)},
        {"python": (3, random.Random(0).getstate()[1], "x")},
        {"python": 5},
    ],
)
def test_a_state_that_is_none_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((LookupError, RuntimeError, TypeError, ValueError)):
        set_global_states(global_states() | change)
