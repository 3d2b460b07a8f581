from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import acaikit
from acaikit.artifacts.rundir import RunDir
from acaikit.config import Config, build
from acaikit.engine import Trainer
from acaikit.errors import ConfigError, RunError
from acaikit.registry import installed
from acaikit.runs import fit
from acaikit.runs.fit import check_fit
from acaikit.runs.opened import open_run
from acaikit.runs.session import Session, open_session

Recipe = Callable[..., Config]
Train = Callable[..., Session]


def files(path: Path) -> dict[Path, tuple[int, bytes]]:
    return {f: (f.stat().st_mtime_ns, f.read_bytes() if f.is_file() else b"") for f in [path, *path.rglob("*")]}


def test_a_run_as_it_was_trained(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    config = recipe("acai")
    trainer = train(tmp_path / "run", config).trainer
    before = files(tmp_path / "run")
    run = acaikit.open_run(str(tmp_path / "run"))
    assert (run.path, run.step, run.samples, run.budget, run.finished) == (tmp_path / "run", 12, 72, 72, True)
    assert run.config == config.resolved
    assert run.experiment.batch_size == 6
    for opened, trained in ((run.model, trainer.model), (run.probe, trainer.probe)):
        assert not opened.training
        assert not any(p.requires_grad for p in opened.parameters())
        for name, tensor in trained.state_dict().items():
            assert torch.equal(opened.state_dict()[name], tensor)
    x = run.experiment.dataset.test().data
    assert torch.equal(run.model.reconstruct(x), trainer.model.reconstruct(x).detach())
    assert run.trained.model is run.model
    assert run.metrics()["step"].tolist() == [4, 8, 12]
    np.testing.assert_array_equal(run.metrics()["samples"], [24, 48, 72])
    assert files(tmp_path / "run") == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_run_that_cannot_be_written_to(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    train(tmp_path / "run", recipe())
    tree = [tmp_path / "run", *(tmp_path / "run").rglob("*")]
    for path in tree:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        run = open_run(tmp_path / "run")
        run.model.encode(run.experiment.dataset.test().data)
        assert len(run.metrics()["step"]) == 3
    finally:
        for path in tree:
            path.chmod(0o755)


def test_the_latents_of_a_vae_are_deterministic(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    train(tmp_path / "run", recipe("vae"))
    model = open_run(tmp_path / "run").model
    x = open_run(tmp_path / "run").experiment.dataset.test().data
    z = model.encode(x)
    assert torch.equal(z, model.encode(x))
    kl = model.regularizers["KL"]
    torch.testing.assert_close(z.flatten(1), kl.mu(model.encoder(x).flatten(1)))
    noise = torch.Generator().manual_seed(0)
    assert not torch.equal(model.encode(x, sample=noise), z)
    assert not torch.equal(model.encode(x, sample=noise), model.encode(x, sample=noise))


def test_a_chosen_step(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    train(tmp_path / "run", recipe(), steps=8)
    expected = {step: open_run(tmp_path / "run", step=step).model.state_dict() for step in (4, 8)}
    train(tmp_path / "run")
    for step, weights in expected.items():
        run = open_run(tmp_path / "run", step=step)
        assert (run.step, run.samples, run.finished) == (step, 6 * step, False)
        for name, tensor in run.model.state_dict().items():
            assert torch.equal(tensor, weights[name])
    with pytest.raises(RunError, match="no checkpoint of step 5; those kept: 4, 8, 12"):
        open_run(tmp_path / "run", step=5)


class Looker:
    """Opens the run while it is being trained."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: list[tuple[int, int, list[int]]] = []

    def on_step(self, trainer: Trainer, losses: dict[str, torch.Tensor]) -> None:
        if trainer.steps > 4:
            run = open_run(self.path)
            self.seen.append((trainer.steps, run.step, run.metrics()["step"].tolist()))

    def on_row(self, *_: object) -> None:
        pass


def test_while_it_is_training(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    looker = Looker(tmp_path / "run")
    train(tmp_path / "run", recipe(), steps=10, callbacks=[looker])
    assert looker.seen == [(5, 4, [4]), (6, 4, [4]), (7, 4, [4]), (8, 4, [4]), (9, 8, [4, 8]), (10, 8, [4, 8])]


def test_a_damaged_checkpoint_is_passed_over_and_left(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    train(tmp_path / "run", recipe())
    newest = RunDir(tmp_path / "run").checkpoints / "step-000000012.h5"
    newest.write_bytes(newest.read_bytes()[:-1])
    before = files(tmp_path / "run")
    run = open_run(tmp_path / "run")
    assert (run.step, run.samples, run.finished) == (8, 48, False)
    assert run.metrics()["step"].tolist() == [4, 8, 12]
    with pytest.raises(RunError, match="step-000000012"):
        open_run(tmp_path / "run", step=12)
    assert files(tmp_path / "run") == before


def test_what_is_no_run(tmp_path: Path, recipe: Recipe) -> None:
    with pytest.raises(RunError, match="holds no run"):
        open_run(tmp_path)
    with (
        open_session(tmp_path / "run", config=recipe(), say=pytest.fail),
        pytest.raises(RunError, match="no checkpoint yet"),
    ):
        open_run(tmp_path / "run")


def test_a_part_that_is_not_installed(
    tmp_path: Path, recipe: Recipe, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "run", recipe("acai"))
    fewer = tuple(part for part in installed() if part.name != "ACAI")
    monkeypatch.setattr("acaikit.registry.installed", lambda: fewer)
    with pytest.raises(ConfigError, match=r"ACAI"):
        open_run(tmp_path / "run")


def rewritten(path: Path, **info: object) -> None:
    """Let run.h5 say something else."""
    directory = RunDir(path)
    said = {**directory.read_run(), **info}
    directory.run_file.unlink()
    directory.write_run(said)


@pytest.mark.parametrize("model", ["baseline", "dropout", "denoising", "vae", "aae", "vqvae", "acai"])
def test_every_model_is_compared_before_it_takes_memory(
    tmp_path: Path, recipe: Recipe, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(build(recipe(model)))
    state = trainer.state_dict()
    check_fit(trainer.experiment, state, tmp_path)
    built: list[torch.device] = []
    monkeypatch.setattr(
        fit, "_differences", lambda name, module, _: built.append(next(module.parameters()).device) or []
    )
    check_fit(trainer.experiment, state, tmp_path)
    assert built == [torch.device("meta")] * (1 + (trainer.probe is not None))


def test_a_model_larger_than_its_checkpoint_is_never_built(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    train(tmp_path / "run", recipe("acai"), steps=4)
    giant = open_run(tmp_path / "run").config.replace("ConvEncoder.depth = 4", "ConvEncoder.depth = 1000000")
    assert "1000000" in giant
    rewritten(tmp_path / "run", resolved=giant)
    with pytest.raises(RunError, match=r"isn't a checkpoint of the model .* more$"):
        _ = open_run(tmp_path / "run").model


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state["model"].pop(next(iter(state["model"]))), "not in it, but"),
        (lambda state: state["model"].update(new=torch.ones(1)), "not in the model"),
        (lambda state: state.update(model=3), "holds no model"),
        (lambda state: state["model"].update({next(iter(state["model"])): 3}), "no tensor"),
        (lambda state: state.pop("samples"), "doesn't say the samples"),
        (lambda state: state.update(budget="many"), "doesn't say the budget"),
    ],
)
def test_a_checkpoint_that_does_not_fit(
    tmp_path: Path, recipe: Recipe, train: Train, change: Callable[[dict[str, object]], object], said: str
) -> None:
    train(tmp_path / "run", recipe(), steps=4)
    checkpoints = open_run(tmp_path / "run").checkpoints
    state = checkpoints.load(4)
    change(state)
    checkpoints.save(4, state)
    with pytest.raises(RunError, match=said):
        _ = open_run(tmp_path / "run").model


@pytest.mark.parametrize("line", ["import os", "include '/etc/passwd'", "from os import path"])
def test_a_config_of_a_run_brings_in_nothing(tmp_path: Path, recipe: Recipe, train: Train, line: str) -> None:
    train(tmp_path / "run", recipe(), steps=4)
    rewritten(tmp_path / "run", resolved=f"{line}\n{open_run(tmp_path / 'run').config}")
    with pytest.raises(ConfigError, match=r"run\.h5:1"):
        open_run(tmp_path / "run")


def test_a_dataset_of_a_run_is_not_opened_with_it(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    train(tmp_path / "run", recipe(), steps=4)
    os.mkfifo(tmp_path / "x.h5")
    config = re.sub(r"(?m)^.*Lines.*$", "", open_run(tmp_path / "run").config)
    lines = ["Experiment.dataset = @Arrays()", f"Arrays.path = '{tmp_path / 'x.h5'}'"]
    rewritten(tmp_path / "run", resolved="\n".join([config, *lines]))
    run = open_run(tmp_path / "run")  # reading the FIFO would wait for ever
    assert type(run.experiment.dataset).__name__ == "Arrays"
