from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.evaluations import write_evaluation
from acaikit.artifacts.metrics import Metrics
from acaikit.artifacts.rundir import RunDir
from acaikit.config import Config, read_recipe
from acaikit.engine import Trainer
from acaikit.errors import RunError
from acaikit.evaluators import ProbeAccuracy
from acaikit.evaluators.kmeans import KMeans
from acaikit.report.layout import lay_out
from acaikit.report.missing import command
from acaikit.report.results import tabulate
from acaikit.report.tables import reported
from acaikit.runs.expand import expand
from acaikit.runs.groups import group, read_runs
from acaikit.runs.opened import open_run
from acaikit.runs.session import Session, open_session

Recipe = Callable[..., Config]
Train = Callable[..., Session]
DIGESTS = {"test": "t"}
DATA = {"dataset": "MNIST", "digests": DIGESTS}
PROTOCOL = {"evaluator": "KMeans", "restarts": 1000, "data": DATA}


def write(
    path: Path,
    recipe: str = "mnist_acai_256",
    seed: int = 0,
    *bindings: str,
    samples: int = 2**24,
    budget: int = 2**24,
    data: dict = DIGESTS,
    device: str = "cpu",
    precision: str = "tf32",
) -> RunDir:
    """Write what a run leaves behind, without training it."""
    given = [*bindings, f"Experiment.seed = {seed}"]
    config = read_recipe(recipe, given)
    directory, run_id = RunDir(path), f"id of {path}"
    info = {"resolved": config.resolved, "sources": dict(config.sources), "overrides": given, "data": data}
    directory.write_run({"run_id": run_id, "seed": seed, "fingerprint": {"device": device}, **info})
    Metrics(directory.metrics, run_id).append(1, {"samples": samples, "probe/accuracy": 90.0 + seed})
    state = {"model": {}, "samples": samples, "budget": budget, "precision": precision}
    Checkpoints(directory.checkpoints, run_id).save(8, state)
    return directory


def evaluate(directory: RunDir, value: float, step: int = 8, protocol: dict = PROTOCOL, run_id: str | None = None):
    run_id = run_id or directory.read_run()["run_id"]
    return write_evaluation(directory.eval, "kmeans", step, run_id, {"accuracy": value}, protocol, {})


def read(*paths: Path, say=pytest.fail, results: Path | None = None):
    return read_runs(paths, say, results)


def test_what_a_real_run_reports(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    train(tmp_path / "r", recipe("acai", "Experiment.seed = 5"))
    (run,) = read(tmp_path / "r")
    opened = open_run(tmp_path / "r")
    assert (run.run_id, run.seed, run.samples, run.budget, run.finished) == (opened.info["run_id"], 5, 72, 72, True)
    expected = reported(opened.metrics(), aside=("loss/",))
    assert run.values.keys() == expected.keys()
    for score, (value,) in run.values.items():
        np.testing.assert_equal(value.value, expected[score]["median"])
    (value,) = run.values["factor/mean_distance"]
    assert value.of == 3
    assert value.protocol["pairs"] == 3
    assert value.protocol["data"] == {"dataset": "Lines", "height": 8, "width": 8, "test_size": 12}
    assert run.data == value.protocol["data"]
    assert value.protocol["evaluate_every"] == 24
    assert value.protocol["reported"] == "median of the last 20 evaluations"


def test_a_run_that_is_being_trained(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    class Looker:
        seen: list[tuple[int, bool, int]] = []  # noqa: RUF012

        def on_step(self, trainer: Trainer, losses: object) -> None:
            (run,) = read(tmp_path / "r")
            self.seen.append((run.samples, run.finished, len(run.values)))

        def on_row(self, *_: object) -> None:
            pass

    train(tmp_path / "r", recipe(), callbacks=[Looker()])
    assert [samples for samples, *_ in Looker.seen] == [0] * 4 + [24] * 4 + [48] * 4
    assert not any(finished for _, finished, _ in Looker.seen)
    (made,) = group(read(tmp_path / "r"))
    assert made.finished


def test_a_run_just_begun(tmp_path: Path, recipe: Recipe) -> None:
    with open_session(tmp_path / "r", config=recipe(), say=pytest.fail):
        (run,) = read(tmp_path / "r")
    assert (run.samples, run.budget, run.finished, dict(run.values)) == (0, 72, False, {})
    assert group([run])[0].name.endswith("(r: seed 0, at 0 of 72 samples)")


def test_runs_are_grouped_over_seeds(tmp_path: Path) -> None:
    for name, recipe, seed in [("a", "mnist_acai_256", 2), ("b", "lines_acai_64", 0), ("c", "mnist_acai_256", 1)]:
        write(tmp_path / name, recipe, seed)
    groups = group(read(*(tmp_path / name for name in "abc")))
    assert [(g.name, g.recipe, [run.seed for run in g.runs]) for g in groups] == [
        ("mnist_acai_256", "mnist_acai_256", [1, 2]),
        ("lines_acai_64", "lines_acai_64", [0]),
    ]
    assert [g.differences for g in groups] == [[], []]


def test_a_precision_that_was_asked_for_is_a_setting(tmp_path: Path) -> None:
    runs = [("cpu", "tf32"), ("cpu", "float32"), ("cpu", "bf16"), ("cuda", "tf32"), ("cuda", "float32")]
    for seed, (device, precision) in enumerate(runs):
        write(tmp_path / str(seed), seed=seed, device=device, precision=precision)
    groups = group(read(*(tmp_path / str(seed) for seed in range(len(runs)))))
    assert [(g.name, g.precision, [run.seed for run in g.runs]) for g in groups] == [
        ("mnist_acai_256", "float32 and tf32", [0, 1, 3]),  # the last by itself, and a CPU has no TF32
        ("mnist_acai_256, in bf16", "bf16", [2]),
        ("mnist_acai_256, in float32", "float32", [4]),
    ]


def test_a_run_of_before_precision_was_saved(tmp_path: Path) -> None:
    write(tmp_path / "a")
    directory = RunDir(tmp_path / "a")
    old = {"model": {}, "samples": 2**24, "budget": 2**24}
    Checkpoints(directory.checkpoints, directory.read_run()["run_id"]).save(9, old)
    (run,) = read(tmp_path / "a")
    assert (run.precision, run.asked) == ("float32", False)


def test_what_a_group_is_called(tmp_path: Path) -> None:
    write(tmp_path / "short", "mnist_acai_256", 0, "Experiment.samples = 640", samples=640, budget=640)
    write(tmp_path / "default", "mnist_acai_256", 0, "Experiment.batch_size = 64")
    write(tmp_path / "other", "mnist_acai_256", 1, "latent = 2")
    own = tmp_path / "own.gin"
    own.write_text("include 'data/mnist.gin'\ninclude 'model/acai.gin'\nlatent = 3\n")
    write(tmp_path / "own", str(own), 0, "ACAI.weight=1.0")
    groups = group(read(*(tmp_path / name for name in ("short", "default", "other", "own"))))
    assert [(g.name, g.recipe) for g in groups] == [
        ("mnist_acai_256, samples = 640", "mnist_acai_256"),
        ("mnist_acai_256", "mnist_acai_256"),
        ("mnist_acai_32", "mnist_acai_32"),
        ("own, ACAI.weight = 1.0", None),
    ]
    assert groups[0].differences == ["Experiment.samples: 16777216 -> 640"]


def test_a_budget_that_was_extended_counts(tmp_path: Path) -> None:
    write(tmp_path / "a", "mnist_acai_256", 0, "Experiment.samples = 640", samples=1280, budget=1280)
    write(tmp_path / "b", "mnist_acai_256", 1, "Experiment.samples = 1280", samples=1280, budget=1280)
    write(tmp_path / "c", "mnist_acai_256", 2, "Experiment.samples = 640", samples=640, budget=640)
    groups = group(read(*(tmp_path / name for name in "abc")))
    assert [[run.seed for run in g.runs] for g in groups] == [[0, 1], [2]]


def test_an_unfinished_run_is_on_its_own(tmp_path: Path) -> None:
    for seed in (0, 1):
        write(tmp_path / str(seed), seed=seed)
    write(tmp_path / "live", seed=0, samples=64_000)
    groups = group(read(*(tmp_path / name for name in ("0", "live", "1"))))
    assert [[run.path.name for run in g.runs] for g in groups] == [["0", "1"], ["live"]]
    assert groups[1].name == "mnist_acai_256 (live: seed 0, at 64,000 of 16,777,216 samples)"


def test_unfinished_runs_have_names_of_their_own(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b", "more/a")]
    for path in paths:
        write(path, samples=64)
    names = [made.name for made in group(read(*paths))]
    assert len(set(names)) == 3
    assert names[1] == "mnist_acai_256 (b: seed 0, at 64 of 16,777,216 samples)"


def test_lines_of_another_size_are_other_data(tmp_path: Path) -> None:
    sizes = [[], ["Lines.height = 16", "Lines.width = 16"], ["Lines.height = 16", "Lines.width = 16", "latent = 2"]]
    for name, bindings in zip("abc", sizes, strict=True):
        write(tmp_path / name, "lines_acai_64", 0, *bindings, data={})
    a, b, c = group(read(*(tmp_path / name for name in "abc")))
    assert a.data == {"dataset": "Lines", "height": 32, "width": 32, "test_size": 5000}
    assert a.data != b.data == c.data


def test_other_data_are_another_experiment(tmp_path: Path) -> None:
    write(tmp_path / "a", seed=0)
    info = {**RunDir(tmp_path / "a").read_run(), "run_id": "b", "seed": 1, "data": {"test": "u"}}
    RunDir(tmp_path / "b").write_run(info)
    Checkpoints(tmp_path / "b" / "checkpoints", "b").save(8, {"samples": 2**24, "budget": 2**24})
    groups = group(read(tmp_path / "a", tmp_path / "b"))
    assert [len(g.runs) for g in groups] == [1, 1]
    assert len({g.name for g in groups}) == 2


def test_a_run_given_twice_and_a_seed_twice(tmp_path: Path) -> None:
    write(tmp_path / "a", seed=3)
    write(tmp_path / "b", seed=3)
    assert len(read(tmp_path / "a", tmp_path / "a")) == 1
    with pytest.raises(RunError, match=r"a and .*b are both runs of mnist_acai_256 with seed 3"):
        group(read(tmp_path / "a", tmp_path / "b"))


def test_a_run_whose_plugin_is_gone_is_left_out_unless_all_are(tmp_path: Path) -> None:
    for name in ("gone", "here"):
        directory = write(tmp_path / name)
    gone = RunDir(tmp_path / "gone")
    info = gone.read_run()
    gone.run_file.unlink()
    gone.write_run({**info, "plugins": {"acai-gone": "1.0"}})
    notes: list[str] = []
    assert [run.path for run in read(gone.path, directory.path, say=notes.append)] == [directory.path]
    (note,) = notes
    assert note.startswith(f"{gone.path} began with acai-gone 1.0, which is not installed")
    with pytest.raises(RunError, match=r"began with acai-gone 1\.0"):
        read(gone.path)


def test_every_run_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path / "good")
    (tmp_path / "none").mkdir()
    broken = write(tmp_path / "broken").run_file
    broken.write_bytes(broken.read_bytes()[:-1])
    part = next(write(tmp_path / "torn").metrics.iterdir())
    part.write_bytes(b"")
    with pytest.raises(RunError) as caught:
        read(tmp_path / "none", tmp_path / "good", tmp_path / "broken", tmp_path / "torn")
    told = str(caught.value).splitlines()
    assert len(told) == 3
    assert all(name in line for name, line in zip(("none", "broken", "torn"), told, strict=True))


def test_a_broken_run_that_can_be_spared_is_passed_over_unless_all_are(tmp_path: Path) -> None:
    write(tmp_path / "good")
    broken = [tmp_path / name for name in ("b", "c")]
    for path in broken:
        write(path).run_file.write_bytes(b"x")
    said: list[str] = []
    (run,) = read_runs([tmp_path / "good", *broken], said.append, None, broken)
    assert run.path == tmp_path / "good"
    assert [
        line.endswith("; it is left out") and str(path) in line for line, path in zip(said, broken, strict=True)
    ] == [True] * 2
    with pytest.raises(RunError, match=r"b/run\.h5"):
        read_runs([tmp_path / "good", *broken], said.append, None, broken[1:])
    with pytest.raises(RunError, match=r"b/run\.h5(.|\n)*c/run\.h5"):
        read_runs(broken, said.append, None, broken)


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    directory = write(tmp_path / "a")
    (directory.checkpoints / "step-000000009.h5").write_bytes(b"no checkpoint")
    said: list[str] = []
    (run,) = read(tmp_path / "a", say=said.append)
    assert run.finished
    assert len(said) == 1 and "step 9 passed over" in said[0]


def test_evaluations_afterwards(tmp_path: Path) -> None:
    directory = write(tmp_path / "a")
    evaluate(directory, 96.0)
    evaluate(directory, 40.0, protocol={"evaluator": "KMeans", "restarts": 10})
    evaluate(directory, 1.0, protocol={"evaluator": "KMeans", "restarts": 5}, run_id="another")
    evaluate(directory, 90.0, step=4)
    (run,) = read(tmp_path / "a")
    assert {v.protocol["restarts"]: v.value for v in run.values["kmeans/accuracy"]} == {1000: 96.0, 10: 40.0}
    assert [v.of for v in run.values["kmeans/accuracy"]] == [None, None]


def test_an_outdated_evaluation_is_left_out(tmp_path: Path) -> None:
    evaluate(write(tmp_path / "a"), 90.0, step=4)
    said: list[str] = []
    (run,) = read(tmp_path / "a", say=said.append)
    assert "kmeans/accuracy" not in run.values
    assert "kmeans was measured at step 4, the run is at 8" in said[0]


def test_evaluations_in_another_folder(tmp_path: Path) -> None:
    directory = write(tmp_path / "a")
    other = RunDir(tmp_path / "out" / "a")
    evaluate(other, 96.0, run_id=directory.read_run()["run_id"])
    assert "kmeans/accuracy" not in read(tmp_path / "a")[0].values
    (value,) = read(tmp_path / "a", results=tmp_path / "out")[0].values["kmeans/accuracy"]
    assert value.value == 96.0


def test_a_score_of_training_is_taken_from_training(tmp_path: Path) -> None:
    directory = write(tmp_path / "a", seed=1)
    protocol = ProbeAccuracy().protocol | {"data": DATA}
    write_evaluation(directory.eval, "probe", 8, directory.read_run()["run_id"], {"accuracy": 7.0}, protocol, {})
    (value,) = read(tmp_path / "a")[0].values["probe/accuracy"]
    assert (value.value, value.of) == (91.0, 1)
    said = protocol | {"evaluate_every": 65536, "reported": "median of the last 20 evaluations"}
    assert value.protocol == said
    # Under another protocol, or of other data, it is another number.
    for other in (protocol | {"version": 0}, protocol | {"data": DATA | {"digests": {"test": "u"}}}):
        write_evaluation(directory.eval, "probe", 8, directory.read_run()["run_id"], {"accuracy": 8.0}, other, {})
    assert sorted(v.value for v in read(tmp_path / "a")[0].values["probe/accuracy"]) == [8.0, 8.0, 91.0]


def test_few_restarts_in_training_do_not_hide_many_afterwards(tmp_path: Path) -> None:
    own = ["Experiment.evaluators = [@KMeans()]", "KMeans.restarts = 2"]
    for seed in (0, 1):
        directory = write(tmp_path / str(seed), "mnist_acai_256", seed, *own)
        Metrics(directory.metrics, directory.read_run()["run_id"]).append(2, {"samples": 9, "kmeans/accuracy": 40.0})
        for restarts, value in ((2, 41.0), (1000, 95.17 + 2 * seed)):
            evaluate(directory, value, protocol=KMeans(restarts=restarts).protocol | {"data": DATA})
    (made,) = group(read(tmp_path / "0", tmp_path / "1"))
    for run in made.runs:
        assert [v.protocol["restarts"] for v in run.values["kmeans/accuracy"]] == [2, 1000]
        assert [v.value for v in run.values["kmeans/accuracy"]] == [40.0, 95.17 + 2 * run.seed]
    found = tabulate([made], ["kmeans/accuracy"], paper=True)
    assert [cell.mean for cell in found.cells.values()] == [40.0, pytest.approx(96.17)]
    assert list(found.published) == [(0, 1)] and not found.missing
    headings = lay_out(found).headings
    assert [heading.partition(" ")[0] for heading in headings[1:]] == [*["kmeans/accuracy"] * 2, "paper", "difference"]
    # To a seed without, the command that is shown would give its number, though the run's own restarts are 2.
    third = write(tmp_path / "2", "mnist_acai_256", 2, *own)
    Metrics(third.metrics, third.read_run()["run_id"]).append(2, {"samples": 9, "kmeans/accuracy": 40.0})
    found = tabulate(group(read(*(tmp_path / seed for seed in "012"))), ["kmeans/accuracy"], paper=True)
    (missing,) = found.missing
    assert [run.seed for run in missing.runs] == [2]
    assert command(missing) == f"acaikit eval --with KMeans --set KMeans.restarts=1000 {tmp_path / '2'}"


def test_prefixes_and_globs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x-s0", "x-s10", "x-s2", "x-more-s0"):
        write(Path("runs") / name)
    Path("runs/x-s3").mkdir()
    assert [p.name for p in expand("runs/x")] == ["x-s0", "x-s2", "x-s10"]
    assert [p.name for p in expand("runs/x-s2")] == ["x-s2"]
    assert [p.name for p in expand("runs/x-s?")] == ["x-s0", "x-s2"]
    assert [p.name for p in expand(str(tmp_path / "runs" / "*more*"))] == ["x-more-s0"]
    write(Path("runs/more/still/z-s2"))
    assert expand("**/?-s2") == [Path("runs/more/still/z-s2"), Path("runs/x-s2")]
    assert expand("runs/**more-s0") == [Path("runs/x-more-s0")]
    for text in ("runs/y", "none/x", "runs/y*", "runs/**y", "runs/[", ""):
        with pytest.raises(RunError):
            expand(text) and read(*expand(text))
