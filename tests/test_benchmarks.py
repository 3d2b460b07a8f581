"""The benchmarks' harness, without any timing, and that every benchmark can be started."""

from __future__ import annotations

import os
import pkgutil
import re
import statistics
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterable
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_work import COSTS
from torch.autograd.graph import saved_tensors_hooks

import benchmarks
from acaikit.engine import Trainer
from acaikit.nets import count_parameters
from acaikit.threads import SPINS, WAITING
from benchmarks import share, step, timing
from benchmarks.by_hand import ByHand, fits
from benchmarks.least import LEAST, READER, Layer, Passes, dense, least, nets_of, networks
from benchmarks.ledger import Ledger, Saved
from benchmarks.standin import EXAMPLES, experiment_of
from benchmarks.work import counted

ROOT = Path(benchmarks.__path__[0]).parent

BENCHMARKS = {
    module.name: f"benchmarks.{module.name}{'.__main__' if module.ispkg else ''}"
    for module in pkgutil.iter_modules(benchmarks.__path__)
    if module.name not in ("timing", "standin", "by_hand", "least", "ledger")
}
"""The modules with a command, by name."""


def recorder(names: str, calls: list[str]) -> dict[str, timing.Programs]:
    return {name: (lambda name=name: calls.append(name)) for name in names}


def test_programs_take_turns_and_none_always_follows_the_same() -> None:
    calls: list[str] = []
    again: list[str] = []
    times = timing.interleaved(recorder("abc", calls), rounds=12, warm=0)
    assert {name: len(values) for name, values in times.items()} == dict.fromkeys("abc", 12)
    assert all(set(calls[3 * turn : 3 * turn + 3]) == set("abc") for turn in range(12))
    assert {one + other for one, other in pairwise(calls)} >= {"ab", "ac", "ba", "bc", "ca", "cb"}
    timing.interleaved(recorder("abc", again), rounds=12, warm=0)
    assert calls == again


def test_a_turn_is_repeated_and_the_warming_up_is_not_timed() -> None:
    calls: list[str] = []
    times = timing.interleaved(recorder("ab", calls), rounds=1, repeat=3, warm=2)
    assert "".join(calls) in ("aabb" + "aaabbb", "aabb" + "bbbaaa")
    assert [len(values) for values in times.values()] == [1, 1]


def test_a_time_is_that_of_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def work(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(timing.time, "perf_counter", lambda: now)
    monkeypatch.setattr(timing.time, "process_time", lambda: 2 * now)
    programs = {"short": lambda: work(1.0), "long": lambda: work(8.0)}
    wall, processor = timing.clocked(programs, rounds=3, repeat=4)
    assert wall == {"short": [1.0] * 3, "long": [8.0] * 3}
    assert processor == {"short": [2.0] * 3, "long": [16.0] * 3}


@given(st.lists(st.floats(0, 1e6), min_size=1))
@settings(deadline=None)
def test_medians_and_quartiles(values: list[float]) -> None:
    assert timing.medians({"a": values}) == {"a": statistics.median(values)}
    low, high = (float(end.replace(",", "")) for end in timing.spread(values, scale=2, digits=6).split(" to "))
    assert low == pytest.approx(2 * torch.tensor(values, dtype=torch.float64).quantile(0.25).item(), abs=1e-5)
    assert high == pytest.approx(2 * torch.tensor(values, dtype=torch.float64).quantile(0.75).item(), abs=1e-5)


def test_table() -> None:
    assert timing.table(["", "ms"], [("a", 1.5), ("b", "2")]) == "|  | ms |\n| --- | --- |\n| a | 1.5 |\n| b | 2 |"


@pytest.mark.parametrize("proc", [True, False])
def test_the_machine_is_one_line(proc: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_text

    def without_proc(file: Path, *given: Any, **how: Any) -> str:
        if file.is_relative_to("/proc"):
            raise FileNotFoundError(file)
        return read(file, *given, **how)

    if not proc:  # as on another system than Linux
        monkeypatch.setattr(Path, "read_text", without_proc)
    line = timing.machine()
    assert "\n" not in line
    for part in (torch.__version__, "Python 3.", "CPUs usable", "1 threads", f"{timing.LOAD:.2f}"):
        assert part in line


@pytest.mark.parametrize(
    ("given", "file"),
    [
        (["-o"], "x.md"),
        (["--device", "cuda:0", "-o"], "x_cuda0.md"),
        (["-o", "mine/y.md"], "mine/y.md"),
    ],
)
def test_publish(given: list[str], file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(timing, "RESULTS", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(sys, "argv", ["x", *given])
    options = timing.arguments("What it does.", "x", device=True).parse_args()
    timing.publish(options, "Title", "| a |", "end")
    text = (tmp_path / file).read_text()
    if given == ["-o"]:
        timing.publish(options, "Another", name="y")
        assert (tmp_path / "y.md").read_text().startswith("# Another\n\n`python -m benchmarks.x -o`\n")
    assert text.startswith(f"# Title\n\n`python -m benchmarks.x {' '.join(given)}`\n\n")
    assert text.endswith("\n\n| a |\n\nend\n")
    assert timing.machine() in text


def test_nothing_is_written_without_being_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(timing, "RESULTS", tmp_path)
    timing.publish(timing.arguments("", "x").parse_args([]), "Title", "found")
    assert list(tmp_path.iterdir()) == []
    assert "found" in capsys.readouterr().out


def test_a_missing_gpu_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        timing.arguments("", "x", device=True).parse_args(["--device", "cuda"])
    assert "torch finds no GPU here" in capsys.readouterr().err


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Say where the allocator would be set: for good, and for all tests of this process."""
    calls: list[str] = []
    monkeypatch.setattr(timing, "keep_freed_memory", lambda: calls.append("kept"))
    return calls


def test_the_process_is_set_as_the_command_line_sets_it(monkeypatch: pytest.MonkeyPatch, kept: list[str]) -> None:
    chosen: list[int | None] = []
    monkeypatch.setattr(timing, "choose", lambda n: chosen.append(n) or 7)
    parser = timing.arguments("", "x", rounds=None)
    assert parser.parse_args(["--threads", "3"]) == Namespace(threads=7, output=None, name="x")
    parser.parse_args([])
    assert chosen == [3, None] and kept == ["kept"] * 2


def test_threads_wait_briefly_before_torch_is_imported() -> None:
    told = "import os, sys, benchmarks; print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name not in WAITING}
    ran = subprocess.run([sys.executable, "-c", told], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout == f"{SPINS} False\n"


def test_the_page_names_every_benchmark() -> None:
    page = Path(*benchmarks.__path__, "README.md").read_text()
    assert set(re.findall(r"python -m benchmarks\.(\w+)", page)) == set(BENCHMARKS)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_answers_help(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as end:
        import_module(BENCHMARKS[name]).main()
    assert end.value.code == 0
    assert "--help" in capsys.readouterr().out


def test_a_stand_in_has_the_shape_and_classes_of_what_it_stands_for() -> None:
    experiment = experiment_of("svhn_acai_32")
    split = experiment.dataset.test()
    assert experiment.dataset.shape == (3, 32, 32) and len(split) == EXAMPLES
    assert split.labels is not None and set(split.labels.tolist()) == set(range(10))
    assert type(experiment_of("quickstart").dataset).__name__ != "StandIn"


@pytest.mark.parametrize("lean", [False, True])
def test_the_step_by_hand_has_acaikits_gradients(lean: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = experiment_of("quickstart")
    trainer = Trainer(experiment)
    hand = ByHand(experiment, "cpu", lean)
    x = torch.rand(4, *experiment.dataset.shape, dtype=torch.float64) * 2 - 1
    # Both draw alpha from u alone.
    monkeypatch.setattr(torch, "rand", lambda *shape, **where: torch.linspace(0.1, 0.9, 4, dtype=x.dtype).view(*shape))
    model = trainer.model.double()
    pairs = {
        hand.f: model.encoder,
        hand.g: model.decoder,
        hand.d: model.regularizers["ACAI"].critic,
    }
    for mine, theirs in pairs.items():
        mine.double()
        torch.nn.utils.vector_to_parameters(_flat(p.detach() for p in theirs.parameters()), mine.parameters())
    trainer.probe.double()
    trainer.objective.backward(x, torch.zeros(4, dtype=torch.int64), trainer.noise)
    hand.step(x)
    for mine, theirs in pairs.items():
        expected = _flat(p.grad for p in theirs.parameters())
        torch.testing.assert_close(_flat(p.grad for p in mine.parameters()), expected, rtol=1e-6, atol=1e-9)
        assert expected.abs().max() > 1e-4


def _flat(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    # Of channels_last weights, too, in the order of their indices.
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


@pytest.mark.parametrize("recipe", ["lines_vae_64", "lines_vae_acai_64", "lines_denoising_acai_64"])
def test_the_step_by_hand_is_for_acai_alone(recipe: str) -> None:
    assert fits(experiment_of("mnist_acai_32"))
    assert not fits(experiment_of(recipe))


def test_by_hand_wastes_a_pass_over_the_critics_weights_and_lean_does_not() -> None:
    experiment, model = experiment_of("quickstart"), "acai"
    nets = networks(model, *(getattr(experiment.encoder, name) for name in ("depth", "scales", "latent")), 1, 16)
    x = torch.zeros(4, *experiment.dataset.shape)
    found = {lean: counted(partial(ByHand(experiment, "cpu", lean).step, x)) for lean in (False, True)}
    critic = Passes(forward=1).work(nets["c"])
    last = nets["e"][-1]
    probe = READER.work(dense(last.outputs * last.side**2, 10))
    # By hand there is no probe, and the critic judges once for each player.
    assert found[True] == 4 * (least(model, nets) - probe + critic)
    assert found[False] == found[True] + 4 * critic


@pytest.mark.parametrize("model", COSTS)
def test_the_least_has_the_passes_that_the_trainer_was_counted_to_take(model: str) -> None:
    passes = {name: p.forward + p.weight + p.inner + p.whole for name, p in LEAST[model].items()}
    assert (passes["e"], passes["d"], passes.get("c", 0)) == COSTS[model][:3]


@pytest.mark.parametrize("model", COSTS)
def test_the_least_is_of_the_papers_networks(model: str) -> None:
    recipe = f"lines_{model}_64"
    experiment = experiment_of(recipe)
    layers = [layer for name, net in nets_of(recipe, experiment).items() if name != "nearest" for layer in net]
    weights = sum(layer.inputs * layer.outputs * layer.kernel**2 + layer.outputs for layer in layers)
    assert weights == count_parameters(experiment.build()[0])


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("side", [4, 8])
def test_products_with_the_padding_are_left_out(kernel: int, side: int) -> None:
    seen = torch.nn.functional.conv2d(torch.ones(1, 1, side, side), torch.ones(1, 1, kernel, kernel), padding="same")
    layer = Layer(3, 5, kernel, side)
    assert layer.work(padded=False) == 2 * 3 * 5 * seen.sum()
    assert layer.work() == 2 * 3 * 5 * kernel**2 * side**2


def test_what_backward_passes_keep_is_counted_once_while_it_is_kept() -> None:
    weight, x = torch.ones(10, requires_grad=True), torch.ones(10)
    ledger = Ledger([weight])
    with saved_tensors_hooks(lambda tensor: Saved(ledger, tensor), lambda saved: saved.tensor):
        y = (weight * x) * (weight * x[:5].repeat(2))  # keeps x, its copy, and both products
        assert ledger.bytes == ledger.most == 4 * x.nbytes
        y.sum().backward()
    del y
    assert ledger.bytes == 0 and ledger.most == 4 * x.nbytes


@pytest.mark.filterwarnings("ignore:CUDA is not available, disabling CUDA profiling")
def test_a_step_on_a_gpu_without_its_graph_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way through a GPU's branches, on the CPU."""
    called: list[str] = []
    taken = {"memory_allocated": 2**20, "max_memory_allocated": 3 * 2**20}
    for name in ("init", "reset_peak_memory_stats", "synchronize", "set_sync_debug_mode", *taken):
        monkeypatch.setattr(torch.cuda, name, lambda *_, name=name: called.append(name) or taken.get(name))
    monkeypatch.setattr(step, "kind_of", lambda device: "cuda")
    monkeypatch.setattr(step, "WARM", {"cuda": 1})
    monkeypatch.setattr(step, "COUNTED", 1)
    experiment = experiment_of("quickstart")
    made = step.programs(experiment, "cpu", "float32")
    assert list(made) == ["acaikit", "acaikit, graph off", "by hand", "by hand, lean"]
    names = ("acaikit, graph off", "by hand, lean")
    found = {name: step.warmed(made[name], "cpu", "float32") for name in names}
    assert called[:2] == ["init", "reset_peak_memory_stats"]
    _, _, *rows = step.counts(found).splitlines()
    assert [row.split(" | ")[0] for row in rows] == [f"| {name}" for name in names]
    assert all(row.endswith("| 0.0 | 0.00 | 2 |  |") for row in rows)
    trainer = found[names[0]].trained
    trainer.stepper._replayed.recorder, trainer.stepper._replayed.obstacle = object(), "no way"
    assert found[names[0]].obstacle == "no way"


@pytest.mark.parametrize("given", [[], ["lines_acai_64", "svhn_acai_256"]])
def test_recipes_whose_share_is_known(
    given: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(share, "shares", lambda recipe, rounds: {share.TRAINING: recipe})
    monkeypatch.setattr(sys, "argv", ["share", *given])
    share.main()
    header = "|  | " + " | ".join(given or share.RECIPES) + " |"
    assert header in capsys.readouterr().out.splitlines()
    monkeypatch.setattr(sys, "argv", ["share", "quickstart"])
    with pytest.raises(SystemExit):
        share.main()
    assert "'quickstart' is none of lines_acai_64, " in capsys.readouterr().err
