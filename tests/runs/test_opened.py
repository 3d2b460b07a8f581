from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

import acaikit
from acaikit.artifacts.rundir import RunDir
from acaikit.config import Config, build
from acaikit.data import Lines
from acaikit.engine import Trainer
from acaikit.errors import ConfigError, RunError, UserError
from acaikit.experiment import Experiment
from acaikit.nets import ConvDecoder, ConvEncoder
from acaikit.registry import installed
from acaikit.regularizer import Architecture, Regularizer
from acaikit.runs.opened import open_run
from acaikit.runs.session import Session, open_session
from acaikit.runs.verify import verify
from acaikit.types import Step

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
def test_every_model_has_an_outline_that_takes_no_memory(recipe: Recipe, model: str) -> None:
    experiment = build(recipe(model))
    for outlined, built in zip(experiment.outline(), experiment.build(), strict=True):
        shapes = {name: tensor.shape for name, tensor in built.state_dict().items()}
        assert {name: tensor.shape for name, tensor in outlined.state_dict().items()} == shapes
        assert {tensor.device.type for tensor in outlined.state_dict().values()} == {"meta"}


OPEN = {
    "open": lambda path: open_run(path).model,
    "verify": verify,
    "resume": lambda path: open_session(path, say=pytest.fail).__enter__(),
}


@pytest.mark.parametrize("how", OPEN)
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("ConvEncoder.depth = 4", "ConvEncoder.depth = 5", r"has no checkpoint of the model .* more$"),
        ("ConvEncoder.depth = 4", "ConvEncoder.depth = 1000000", r"has no checkpoint of the model .* more$"),
        ("ConvEncoder.depth = 4", "ConvEncoder.depth = 2147483647", "ConvEncoder takes more memory than there is"),
        (
            "ConvEncoder.scales = 2",
            "ConvEncoder.scales = 100000000",
            "ConvEncoder.scales must be a whole number of at most 30",
        ),
        ("batch_size = 6", "batch_size = 10000000000", "batch_size must be a whole number of at most 2,147,483,647"),
    ],
)
def test_a_config_whose_sizes_are_others_takes_no_memory(
    tmp_path: Path, recipe: Recipe, train: Train, how: str, old: str, new: str, said: str
) -> None:
    train(tmp_path / "run", recipe("acai"), steps=4)
    config = open_run(tmp_path / "run").config
    assert old in config
    rewritten(tmp_path / "run", resolved=config.replace(old, new))
    with (
        mock.patch.object(Experiment, "build", autospec=True, side_effect=_on_meta(Experiment.build)),
        pytest.raises(UserError, match=said),
    ):
        OPEN[how](tmp_path / "run")


def _on_meta(build: Callable[[Experiment], object]) -> Callable[[Experiment], object]:
    def only(experiment: Experiment) -> object:
        assert torch.empty(0).device.type == "meta"
        return build(experiment)

    return only


@pytest.mark.parametrize("how", ["resume", "verify"])
def test_a_batch_that_no_machine_can_hold_is_not_begun(tmp_path: Path, recipe: Recipe, train: Train, how: str) -> None:
    train(tmp_path / "run", recipe("acai"), steps=4)
    config = open_run(tmp_path / "run").config.replace("batch_size = 6", "batch_size = 2000000000")
    rewritten(tmp_path / "run", resolved=config)
    with pytest.raises(UserError, match=r"Experiment.batch_size = 2,000,000,000 takes 512,000,000,000 bytes"):
        OPEN[how](tmp_path / "run")


def test_a_run_goes_on_from_an_older_checkpoint_that_fits(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    train(tmp_path / "run", recipe(), steps=8)
    checkpoints = open_run(tmp_path / "run").checkpoints
    checkpoints.save(8, checkpoints.load(8) | {"model": {}})
    with open_session(tmp_path / "run", say=lambda line: None) as session:
        assert session.trainer.steps == 4


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


def test_what_is_made_for_an_outline_reaches_no_model() -> None:
    kept: list[torch.Tensor] = []

    class Keeping(Regularizer):
        """Keeps a tensor that it makes, as a cached function does."""

        def build(self, architecture: Architecture) -> None:
            kept.append(kept[0] if kept else torch.linspace(0, 1, 5))
            self.register_buffer("ramp", kept[0].clone())

        def model_loss(self, step: Step) -> torch.Tensor:
            return step.z.square().mean()

    class Lazy(Lines):
        """Makes what it has when it is asked for its shape."""

        @property
        def shape(self) -> tuple[int, ...]:
            vars(self).setdefault("all", torch.ones(3))
            return (1, 16, 16)

        @shape.setter
        def shape(self, shape: tuple[int, ...]) -> None:
            pass

    part = Experiment(Lazy(16, 16), ConvEncoder(), ConvDecoder(), regularizers=[Keeping()])
    part.outline()
    model, _ = part.build()
    assert model.regularizers["Keeping"].ramp.tolist() == [0, 0.25, 0.5, 0.75, 1]
    plain = Experiment(Lazy(16, 16), ConvEncoder(), ConvDecoder())
    assert {p.device.type for p in plain.outline()[0].parameters()} == {"meta"}
    assert plain.dataset.all.tolist() == [1, 1, 1]
