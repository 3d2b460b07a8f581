from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from acaikit.engine import Trainer
from acaikit.errors import UserError
from acaikit.regularizers import ACAI, KL
from acaikit.testing.fixtures import small_trainer
from acaikit.testing.states import copied, difference

Path = tuple[Any, ...]


def trained(steps: int = 2, seed: int = 0) -> Trainer:
    trainer = small_trainer([KL(), ACAI()], "vectors", seed=seed)
    for _ in range(steps):
        trainer.step()
    return trainer


@pytest.fixture(scope="module")
def saved() -> dict[str, Any]:
    return copy.deepcopy(trained().state_dict())


def paths(tree: Any, path: Path = ()) -> Iterator[Path]:
    """Every entry of a nest of dicts, those that hold others too."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield (*path, key)
            yield from paths(value, (*path, key))


def changed(tree: Any, path: Path, *value: Any) -> Any:
    """Return a nest of dicts with another value at a path, or with none there."""
    key, *rest = path
    if rest:
        value = (changed(tree[key], tuple(rest), *value),)
    return {k: v for k, v in tree.items() if k != key} | dict.fromkeys([key] * len(value), *value)


def refused(*states: Any) -> None:
    """See that each state is refused, and that the trainer is as it was."""
    trainer = trained(1, seed=1)
    before = copied(trainer.state_dict())
    for state in states:
        with pytest.raises(UserError, match=r"^the checkpoint doesn't fit the experiment: .+"):
            trainer.load_state_dict(state)
    assert difference(before, copied(trainer.state_dict())) is None


def test_a_state_restores(saved: dict[str, Any]) -> None:
    trainer = trained(1, seed=1)
    trainer.load_state_dict(saved)
    assert difference(copied(saved), copied(trainer.state_dict())) is None


def test_every_entry_is_missed(saved: dict[str, Any]) -> None:
    """All but the sums of losses, whose names training makes, a parameter that no loss has reached, and conditions.

    And the precision, which there wasn't always a choice of.
    """
    states = [changed(saved, path) for path in paths(saved) if not _free(path) and path != ("precision",)]
    states = [state for state in states if not _lacks_a_parameter(state, saved)]
    assert len(states) > 100
    refused(*states)


def _free(path: Path) -> bool:
    return (path[:2] == ("losses", "sums") and len(path) == 3) or (path[0] == "fingerprint" and len(path) == 2)


def _lacks_a_parameter(state: dict[str, Any], saved: dict[str, Any]) -> bool:
    try:
        return any(len(adam["state"]) < len(saved["optimizers"][p]["state"]) for p, adam in state["optimizers"].items())
    except KeyError:
        return False


WRONG = [None, "text", -1.5, [], {"more": 1}, torch.zeros(2, 3, 4, dtype=torch.int16)]


def test_every_entry_is_looked_at(saved: dict[str, Any]) -> None:
    """All but what the data stream keeps, which is the stream's affair, and conditions."""
    looked_at = [path for path in paths(saved) if path[0] not in ("data", "fingerprint")]
    refused(*(changed(saved, path, WRONG[i % 6]) for i, path in enumerate(looked_at)))
    refused(*(changed(saved, path, wrong) for path in looked_at if len(path) == 1 for wrong in WRONG))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("on_nan",), "halt"),
        (("fingerprint",), 3),
        (("fingerprint", "threads"), [1]),
        (("steps",), -1),
        (("rewinds",), -3),
        (("samples",), True),
        (("optimizers", "ACAI", "state", 900), {}),
        (("optimizers", "model", "param_groups"), []),
        (("losses", "sums", "KL"), torch.zeros(2)),
        (("generators", "torch"), torch.zeros(5056, dtype=torch.uint8)),
        (("generators", "python"), (3, (1, 2), None)),
    ],
)
def test_what_can_not_be(saved: dict[str, Any], path: Path, value: Any) -> None:
    refused(changed(saved, path, value))


@pytest.mark.parametrize("state", [None, 3, [], {}, "text"])
def test_what_is_no_state(state: Any) -> None:
    refused(state)


def test_a_player_that_has_had_no_gradient_yet(saved: dict[str, Any]) -> None:
    trainer = trained(1, seed=1)
    trainer.load_state_dict(changed(saved, ("optimizers", "ACAI", "state"), {}))
    assert trainer.optimizers["ACAI"].state_dict()["state"] == {}
    refused(changed(saved, ("skipped",), saved["steps"]))


def test_what_is_wrong_is_named(saved: dict[str, Any]) -> None:
    other = changed(saved, ("model", "encoder.layers.0.bias"), torch.zeros(7))
    with pytest.raises(UserError, match=r"model\['encoder.layers.0.bias'\] is a Tensor of shape \[7\] and"):
        trained(0).load_state_dict(other)
    with pytest.raises(UserError, match="it has no 'probe'"):
        trained(0).load_state_dict(changed(saved, ("probe",)))
