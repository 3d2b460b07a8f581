"""Runs read for a table, and grouped by experiment. Neither models nor data are loaded, and nothing is written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.evaluations import SHORT, Evaluation, protocol_hash, read_evaluations
from acaikit.artifacts.faults import BrokenFile, MissingFile
from acaikit.artifacts.metrics import read_metrics
from acaikit.artifacts.rundir import RunDir
from acaikit.config import Config, build, read_recipe
from acaikit.config.resolve import Difference, Key, differences, write
from acaikit.config.syntax import OVERRIDE, Binding, Where, parse
from acaikit.errors import RunError, UserError
from acaikit.evaluators.base import Evaluator
from acaikit.experiment import Experiment
from acaikit.fingerprint import precision_on
from acaikit.recipes import shipped
from acaikit.registry import find
from acaikit.report.measured import REPORTED, Group, RunResults, Value, check_seeds
from acaikit.report.tables import LAST, LOSSES, reported
from acaikit.runs.provenance import AbsentPlugin, began_with, data_protocol

Say = Callable[[str], None]

NOTHING = Config({}, {})


def read_runs(
    paths: Iterable[Path], say: Say, results: Path | None = None, expendable: Container[Path] = ()
) -> list[RunResults]:
    """Read runs, each once.

    Parameters
    ----------
    paths : iterable of Path
        Run directories.
    say : callable
        Takes a line about what was passed over.
    results : Path, optional
        Another folder of evaluations, as ``acaikit eval --out`` fills it.
    expendable : container of Path
        Those that are passed over, unless all are, where they can't be read.

    Raises
    ------
    RunError
        With every run that can't be read. One whose plugin is not installed is as if it were expendable.
    """
    found: dict[str, RunResults] = {}
    faults: list[str] = []
    passed: list[str] = []
    for path in paths:
        try:
            run = _read(path, say, results)
        except UserError as error:
            spared = isinstance(error, AbsentPlugin) or path in expendable
            (passed if spared else faults).append(str(error))
            continue
        first = found.setdefault(run.run_id, run)
        if first.path.resolve() != path.resolve():
            say(f"{path} is a copy of {first.path}, and counts once")
    if faults or (passed and not found):
        raise RunError("\n".join([*faults, *passed]))
    for line in passed:
        say(f"{line}; it is left out")
    return list(found.values())


def group(runs: Iterable[RunResults]) -> list[Group]:
    """Group runs by experiment: by everything but the seed, in the order in which the experiments come.

    A precision that was asked for counts as a setting. A run that is not finished is a group of its own.

    Raises
    ------
    RunError
        If two finished runs of an experiment have the same seed.
    """
    alike: dict[Any, list[RunResults]] = defaultdict(list)
    for run in runs:
        alone = None if run.finished else run.run_id
        precision = run.precision if run.asked else None
        alike[_identity(run.config), protocol_hash(run.data), precision, alone].append(run)
    groups = [_named(sorted(members, key=lambda run: run.seed)) for members in alike.values()]
    names = [group.name for group in groups]
    for place, (identity, made) in enumerate(zip(alike, groups, strict=True)):
        if names.count(made.name) > 1:  # another recipe, folder of that name, or other data
            of = [sorted(identity[0]), *identity[1:]]
            groups[place] = replace(made, tag=f"{made.tag} [{protocol_hash({'of': of})[:SHORT]}]")
        check_seeds(groups[place])
    return groups


def _read(path: Path, say: Say, results: Path | None) -> RunResults:
    directory = RunDir(path)
    info = directory.read_run()
    config = began_with(path, info)
    experiment: Experiment = build(config)
    step, samples, budget, chosen = progress(directory, info["run_id"], experiment.samples, say)
    device = info.get("fingerprint", {}).get("device", "cpu")
    precision = precision_on(device, chosen)
    run = RunResults(
        path,
        info["run_id"],
        info["seed"],
        _without_seed(config, budget),
        [name for name in info["sources"] if not name.startswith(OVERRIDE)],
        [*info["overrides"], *([f"Experiment.samples = {budget}"] if budget != experiment.samples else [])],
        data_protocol(experiment.dataset, info.get("data", {})),
        samples,
        budget,
        {},
        precision,
        precision != precision_on(device),
    )
    in_training = _metrics(directory, experiment, run.data)
    folders = [directory.eval, *([RunDir(results / path.resolve().name).eval] if results is not None else [])]
    afterwards = _evaluations(run, folders, step, say)
    return replace(run, values=_joined(in_training, afterwards))


def _joined(
    in_training: Mapping[str, Sequence[Value]], afterwards: Mapping[str, Sequence[Value]]
) -> dict[str, list[Value]]:
    """Return the values of each score, without those of one evaluation that training reports the median of."""
    joined = {score: [*values] for score, values in in_training.items()}
    for score, values in afterwards.items():
        known = {value.without(*REPORTED) for value in in_training.get(score, ())}
        joined.setdefault(score, []).extend(value for value in values if value.sha256 not in known)
    return joined


class Progress(NamedTuple):
    """What the newest checkpoint says of a run."""

    step: int
    samples: int
    budget: int
    precision: str = "tf32"


def progress(directory: RunDir, run_id: str, budget: int, say: Say) -> Progress:
    """Return what the newest checkpoint says; of a run without one, its beginning."""
    checkpoints = Checkpoints(directory.checkpoints, run_id)
    for step in reversed(checkpoints.steps()):
        try:
            state = checkpoints.peek(step)
            told = {name: state[name] for name in ("precision",) if name in state}  # acaikit didn't save it at first
            return Progress(step, int(state["samples"]), int(state["budget"]), **told)
        except MissingFile:  # pruned by the running training since it was listed
            continue
        except (BrokenFile, KeyError, TypeError, ValueError) as error:
            say(f"checkpoint of step {step} passed over: {error}")
    return Progress(0, 0, budget)


def _metrics(directory: RunDir, experiment: Experiment, data: Mapping[str, Any]) -> dict[str, list[Value]]:
    """Return what was measured in training, signs of health too, with the protocol made of the run's own settings."""
    own = {evaluator.key: evaluator for evaluator in experiment.evaluators}
    return {
        score: [Value(row["median"], _in_training(own.get(score.partition("/")[0]), experiment, data), int(row["n"]))]
        for score, row in reported(read_metrics(directory.metrics), aside=(LOSSES,)).items()
    }


def _in_training(evaluator: Evaluator | None, experiment: Experiment, data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **(evaluator.protocol if evaluator is not None else {}),
        "data": data,
        "evaluate_every": experiment.evaluate_every,
        "reported": f"median of the last {LAST} evaluations",
    }


def _evaluations(run: RunResults, folders: Sequence[Path], step: int, say: Say) -> dict[str, list[Value]]:
    """Return what ``acaikit eval`` measured: of each evaluator and protocol the newest, if of the newest checkpoint."""
    newest: dict[tuple[str, str], Evaluation] = {}
    for folder in folders:
        for found in read_evaluations(folder, say):
            kind = (found.name, found.protocol_sha256)
            if found.run_id == run.run_id and (kind not in newest or newest[kind].step <= found.step):
                newest[kind] = found
    values: dict[str, list[Value]] = defaultdict(list)
    for found in newest.values():
        if found.step < step:
            say(f"{run.path}: {found.name} was measured at step {found.step}, the run is at {step}: it is left out")
            continue
        for score, value in found.scores.items():
            values[f"{found.name}/{score}"].append(Value(value, found.protocol))
    return values


@cache
def _of_experiment(parameter: str) -> Key:
    return "", find("Experiment").full_name, parameter


def _without_seed(config: Config, budget: int | None = None) -> Config:
    """Return a config without its seed; with a budget, that of a run, which ``resume --samples`` may have raised."""
    bindings = {key: binding for key, binding in config.bindings.items() if key != _of_experiment("seed")}
    if budget is not None:
        key = _of_experiment("samples")
        bindings[key] = Binding(*key, budget, Where("run.h5", 1))
    return Config(bindings, config.sources)


def _identity(config: Config) -> frozenset[Difference]:
    """Return every setting that isn't its default: equal where two configs have no differences."""
    return frozenset(differences(config, NOTHING))


@cache
def _shipped() -> dict[frozenset[Difference], str]:
    return {_identity(_without_seed(read_recipe(name))): name for name in shipped()}


def _named(runs: Sequence[RunResults]) -> Group:
    """Return the group of runs of one experiment under its name."""
    run = runs[0]
    stems = [Path(name).stem for name in run.sources]
    recipe = _shipped().get(_identity(run.config)) or next((stem for stem in stems if stem in shipped()), None)
    if recipe is None:
        given = [b for text in run.overrides for b in parse(text, "--set") if isinstance(b, Binding)]
        changed = {b.label: write(b.value) for b in given if b.label != "Experiment.seed"}
        different = []
    else:
        different = list(differences(_without_seed(read_recipe(recipe)), run.config))
        changed = {difference.label: difference.after for difference in different}
    tag = f", in {run.precision}" if run.asked else ""
    if not run.finished:
        tag += f" ({run.path.resolve().name}: seed {run.seed}, at {run.progress})"
    return Group(recipe or stems[0], recipe, list(map(str, different)), runs, changed, tag)
