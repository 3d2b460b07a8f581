"""A run that stops, however often and wherever, ends in the bits of one that doesn't: through real checkpoint files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acaikit.config import Config
from acaikit.runs import saving
from acaikit.runs.session import Session

Recipe = Callable[..., Config]
Train = Callable[..., Session]
Bits = Callable[[Path], dict[str, Any]]

COMPOSITIONS = {
    "VAE with ACAI": "[@KL(), @ACAI()]",
    "denoising VQ-VAE": "[@Denoising(), @VQEMA()]",
    "dropout with ACAI": "[@LatentDropout(), @ACAI()]",
    "two critics": "[@AdversarialPrior(), @ACAI()]",
}
MODELS = ("baseline", "dropout", "denoising", "vae", "aae", "vqvae", "acai")


@pytest.fixture
def config(recipe: Recipe, recipe_file: Path) -> Callable[..., Config]:
    """Read the recipe of a model of the paper or of a composition, measured in little time."""
    text = recipe_file.read_text().replace("@FactorBenchmark(), ", "")
    recipe_file.write_text(re.sub(r"(?m)^FactorBenchmark.*\n", "", text))

    def config(name: str, *bindings: str) -> Config:
        if name not in COMPOSITIONS:
            return recipe(name, *bindings)
        coded = ["VQEMA.entries = 32", "VQEMA.hidden = 8"] if "VQEMA" in COMPOSITIONS[name] else []
        return recipe("baseline", f"Experiment.regularizers = {COMPOSITIONS[name]}", *coded, *bindings)

    return config


@pytest.fixture
def other_data(recipe_file: Path, config: object) -> None:
    """Take the dataset out of the recipe."""
    recipe_file.write_text(re.sub(r"(?m)^(Lines|Experiment.dataset).*\n", "", recipe_file.read_text()))


def finish(train: Train, path: Path, config: Config, stops: list[int]) -> None:
    """Train in as many sessions as there are stops, each of so many steps, and then to the end."""
    for steps in stops:
        train(path, config, steps=steps)
    assert train(path, config).trainer.finished


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_compositions_go_on_to_the_same_bits(
    name: str, tmp_path: Path, config: Callable[..., Config], train: Train, bits: Bits
) -> None:
    # Neither stop falls on an evaluation: the sums of losses since the last one go on too.
    finish(train, tmp_path / "straight", config(name), [])
    finish(train, tmp_path / "halting", config(name), [3, 6])
    assert bits(tmp_path / "halting") == bits(tmp_path / "straight")


@pytest.fixture(scope="module")
def straight() -> dict[str, dict[str, Any]]:
    """What uninterrupted runs came to, by model, as far as they were needed."""
    return {}


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from([*MODELS, *COMPOSITIONS]), stops=st.lists(st.integers(0, 6), min_size=1, max_size=3))
def test_any_stops_lead_to_the_same_bits(
    name: str,
    stops: list[int],
    config: Callable[..., Config],
    train: Train,
    bits: Bits,
    straight: dict[str, dict[str, Any]],
) -> None:
    with TemporaryDirectory() as folder:
        if name not in straight:
            finish(train, Path(folder, "straight"), config(name), [])
            straight[name] = bits(Path(folder, "straight"))
        finish(train, Path(folder, "halting"), config(name), stops)
        assert bits(Path(folder, "halting")) == straight[name]


@pytest.mark.usefixtures("other_data")
def test_the_probe_on_real_labels(tmp_path: Path, config: Callable[..., Config], train: Train, bits: Bits) -> None:
    digits = config("acai", "Experiment.dataset = @Digits()")
    finish(train, tmp_path / "straight", digits, [])
    finish(train, tmp_path / "halting", digits, [5, 1])
    assert "/metrics/loss/probe" in bits(tmp_path / "straight")
    assert bits(tmp_path / "halting") == bits(tmp_path / "straight")


@pytest.mark.usefixtures("other_data")
def test_an_epoch_goes_on_where_it_stopped(
    tmp_path: Path, config: Callable[..., Config], train: Train, bits: Bits
) -> None:
    """Twenty examples of one's own in batches of six: an epoch is three batches and a third."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 1, 8, 8), np.uint8)
    np.savez(tmp_path / "x.npz", x=pixels[:20], y=np.arange(20) % 2, x_test=pixels[20:], y_test=np.arange(10) % 2)
    own = config("denoising", "Experiment.dataset = @Arrays()", f"Arrays.path = {str(tmp_path / 'x.npz')!r}")
    finish(train, tmp_path / "straight", own, [])
    finish(train, tmp_path / "halting", own, [4, 1, 4])
    assert bits(tmp_path / "halting") == bits(tmp_path / "straight")


def test_a_checkpoint_that_falls_due_in_the_step_of_a_row_holds_the_row(
    tmp_path: Path,
    config: Callable[..., Config],
    train: Train,
    bits: Bits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finish(train, tmp_path / "straight", config("acai"), [])
    with monkeypatch.context() as patch:
        patch.setattr(saving, "SAVE_EVERY", -1.0)  # always due
        train(tmp_path / "halting", config("acai"), steps=4)
    finish(train, tmp_path / "halting", config("acai"), [])
    assert bits(tmp_path / "halting") == bits(tmp_path / "straight")
