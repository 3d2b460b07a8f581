from __future__ import annotations

import pytest
import torch

from acaikit.divergence import MAX_SKIPS, Diverged
from acaikit.engine import train

from . import ablation

PLAIN = {"samples", "steps", "budget", "on_nan", "skipped", "rewinds"}


def test_every_item_of_a_trainers_state_counts() -> None:
    report = ablation.run(1, 0, ["composed"])
    assert report.faults == []
    assert report.did == sum(report.found.values())
    assert {"model", "probe", "losses/sums", "losses/count", "data/drawn_from", "data/cursor", *PLAIN} < set(
        report.found
    )
    for player in ("model", "ACAI", "probe"):
        assert {f"optimizers/{player}/{kind}" for kind in ("exp_avg", "exp_avg_sq", "step")} < set(report.found)
    drawn = ("data", "torch", "numpy", "python", "noise/KL", "noise/LatentDropout", "noise/ACAI")
    assert {f"generators/{name}" for name in drawn} < set(report.found)


def test_what_is_told_where_an_item_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "ablate", lambda state, new, item: {**state, "unheard of": 0})
    monkeypatch.setattr(ablation, "resume", lambda model, seed, state: ablation.stopped(model, seed)[1])
    monkeypatch.setattr(ablation, "items", lambda state: [("samples",)])
    report = ablation.run(0, 0, ["baseline"])
    assert report.faults == ["baseline: resumed without samples, it came to the same bits"]


def test_skips_in_succession_are_counted_across_a_stop() -> None:
    """The one item of which nothing is left once an update has been made."""

    def diverging() -> ablation.Trainer:
        trainer = ablation.make("baseline", 0)
        trainer.stream.split.data.fill_(torch.nan)
        trainer.on_nan, trainer.budget = "skip", 6 * (MAX_SKIPS + 3)
        return trainer

    stopped = diverging()
    train(stopped, stop=lambda: stopped.steps >= 5)
    for skips, step in ((5, MAX_SKIPS + 1), (3, MAX_SKIPS + 3)):
        resumed = diverging()
        resumed.load_state_dict(stopped.state_dict() | {"skipped_in_succession": skips})
        with pytest.raises(Diverged) as caught:
            train(resumed)
        assert caught.value.step == step
