from __future__ import annotations

import numpy as np
import pytest
import torch

from acaikit.config import build, read_recipe
from acaikit.data import Lines
from acaikit.engine import Trainer
from acaikit.errors import UserError
from acaikit.memory import check_memory, telling_of_memory


@pytest.mark.parametrize(
    ("allocate", "said"),
    [
        (lambda: torch.empty(10**15), r" \(tried to allocate 4000000000000000 bytes\)"),
        (lambda: torch.empty(2**62, 4, device="meta"), r" \(Storage size calculation overflowed\)"),
        (lambda: np.empty(10**15), r" \(Unable to allocate 7.11 PiB\)"),
        (lambda: bytearray(2**60), ""),
    ],
)
def test_want_of_memory_is_told(allocate, said: str) -> None:
    with (
        pytest.raises(UserError, match=f"^Big takes more memory than there is{said}: lower it$"),
        telling_of_memory("Big", "lower it"),
    ):
        allocate()


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="size of tensor"), telling_of_memory("Big", "lower it"):
        torch.ones(2) + torch.ones(3)


def test_what_no_machine_has_is_refused_before_it_is_tried() -> None:
    check_memory("small", 1, "lower it")
    with pytest.raises(UserError, match=r"Big takes 1,000,000,000,000,000 bytes, more than .*: lower it"):
        check_memory("Big", 10**15, "lower it")
    with pytest.raises(UserError, match=r"Lines.test_size = 1,000,000,000 takes 1,024,000,000,000 bytes"):
        Lines(16, 16, test_size=10**9).test()


def test_a_part_that_is_too_large_is_named() -> None:
    for name in ("MLPEncoder", "MLPDecoder"):
        pair = ["Experiment.encoder = @MLPEncoder()", "Experiment.decoder = @MLPDecoder()"]
        config = read_recipe("quickstart_baseline", [*pair, f"{name}.hidden = [{2**15}, {2**31 - 1}]"])
        with pytest.raises(
            UserError, match=rf"{name} takes more memory than there is \(tried to allocate 2814\d+ bytes"
        ):
            build(config).build()


def test_a_step_whose_batch_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(build(read_recipe("quickstart_baseline", ["Lines.test_size = 2"])))
    monkeypatch.setattr(trainer.stream, "next", lambda: torch.empty(10**15))
    with pytest.raises(UserError, match=r"a training step takes more memory .*: lower Experiment.batch_size"):
        trainer.step()
