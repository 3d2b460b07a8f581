"""A regularizer's signs of health: what they are, and that looking for them changes nothing."""

from __future__ import annotations

from dataclasses import astuple

from acaikit.errors import UserError
from acaikit.testing.fixtures import STEPS
from acaikit.testing.regularizer_gradients import Factory, trainer_with
from acaikit.testing.rules import NotConforming
from acaikit.testing.side_effects import undrawn
from acaikit.testing.states import copied, difference


def check_health(factory: Factory, data: str = "images") -> None:
    """See that `health` gives signs by name, the same each time, and that it draws nothing and changes nothing."""
    trainer = trainer_with(factory, data)
    for _ in range(STEPS):
        trainer.step()
    before = copied(trainer.state_dict(), "state")
    with undrawn("health", "it must be deterministic"):
        try:
            once, again = ({name: astuple(sign) for name, sign in trainer.health().items()} for _ in range(2))
        except UserError as error:
            raise NotConforming(str(error)) from error
    path = difference(before, copied(trainer.state_dict(), "state"))
    if path is not None:
        raise NotConforming(f"health changes {path}: leave out step.decode, which draws, and steps such as += ...")
    if (path := difference(copied(once), copied(again))) is not None:
        raise NotConforming(f"health gives two answers to one question, {path}: it must be deterministic")
