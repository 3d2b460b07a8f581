from __future__ import annotations

import copy

from acaikit.engine import train
from acaikit.regularizers import ACAI
from acaikit.runs.replay import replay
from acaikit.testing.fixtures import small_trainer


def test_a_stretch_is_trained_in_the_precision_in_which_it_was() -> None:
    """A session that was asked for another began it."""
    trainer = small_trainer([ACAI()], "images")
    train(trainer, stop=lambda: trainer.steps == 1)
    before = copy.deepcopy(trainer.state_dict())
    trainer.precision = "bf16"
    train(trainer, stop=lambda: trainer.steps == 2)
    after = copy.deepcopy(trainer.state_dict())
    again = replay(small_trainer([ACAI()], "images"), before, after, None, lambda steps: None)
    assert (again.begin, again.end, again.differences) == (1, 2, [])


def test_a_precision_that_is_for_what_comes_next_changes_nothing() -> None:
    trainer = small_trainer([ACAI()], "images")
    train(trainer, stop=lambda: trainer.steps == 1)
    before = copy.deepcopy(trainer.state_dict())
    train(trainer, stop=lambda: trainer.steps == 2)
    restored = small_trainer([ACAI()], "images")
    restored.load_state_dict(trainer.state_dict())
    restored.precision = "bf16"
    after = copy.deepcopy(restored.state_dict())
    assert replay(small_trainer([ACAI()], "images"), before, after, None, lambda steps: None).differences == []
