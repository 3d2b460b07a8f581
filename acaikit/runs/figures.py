"""The figures of runs, finished or still training: one function for each kind.

Each draws to `file`, which ends in .png, .pdf or .svg and is replaced if it is there. Where there is nothing to draw,
because what was asked for doesn't exist or a model's numbers are not finite, it raises `UserError`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acaikit.artifacts.evaluations import Evaluation, read_evaluations
from acaikit.errors import EvaluationError, EvaluationWarning, UserError
from acaikit.report import curves as training
from acaikit.report import figures, latent_map, scorecard_plot, shown
from acaikit.report.figures import shorten
from acaikit.report.names import short_names
from acaikit.report.page import Page, save
from acaikit.runs.opened import OpenRun
from acaikit.runs.provenance import check_data
from acaikit.types import Shape

Runs = Sequence[OpenRun]


def strips(
    runs: Runs, file: Path, *, pair: shown.Pair | None = None, pairs: int = 1, steps: int = 16, path: str = "lerp"
) -> None:
    """Draw one strip for each run, all between the same two test examples, below their cross-dissolve (figure 3).

    Parameters
    ----------
    runs : sequence of OpenRun
        Their test examples are the same.
    file : Path
        Where to draw.
    pair : tuple of int, optional
        Two test examples, counted from 0; left out, `pairs` pairs are spread over the test set.
    pairs, steps : int
        How many pairs, and images on each path.
    path : str
        The path's registered name.
    """
    shape = _shape(runs[0])
    chosen = shown.pairs_of(_tested(runs[0]), pairs, pair)
    both = shown.ends(runs[0].trained, chosen)
    for run in runs[1:]:
        _check_same(runs[0], run, chosen, both)
    t = torch.linspace(0, 1, steps, device=both.device).view(-1, *[1] * (both.dim() - 2))
    decoded = [((1 - t) * both[:, :1] + t * both[:, 1:]).cpu().numpy()]
    for run in runs:
        with _naming(run):
            decoded.append(shown.between(run.trained, both, steps, path))
    seen, notes = shown.as_seen(np.stack(decoded, 1).reshape(len(chosen), -1, steps, *shape), shape)
    labels = _labels(runs)
    notes += _key(labels, runs)
    pages: list[Page] = []
    for rows, (i, j), words in zip(seen, chosen, _joined(runs[0], chosen), strict=True):
        title = f"Interpolation ({path}) · {type(runs[0].experiment.dataset).__name__} test examples {i:,} and {j:,}"
        last = len(pages) == len(chosen) - 1
        page = figures.strips(
            rows[1:], title=f"{title} · {words}", labels=labels, notes=notes * last, data_space=rows[0]
        )
        pages.append(page)
    save(pages, file)


def interpolation(
    runs: Runs, file: Path, *, pair: shown.Pair | None = None, pairs: int = 8, steps: int = 16, path: str = "lerp"
) -> None:
    """Draw decoded paths between pairs of test examples, a block of rows for each run (figures 5 to 10).

    Parameters are those of `strips`.
    """
    pages: list[Page] = []
    for run in runs:
        shape = _shape(run)
        chosen = shown.pairs_of(_tested(run), pairs, pair)
        with _naming(run):
            paths = shown.between(run.trained, shown.ends(run.trained, chosen), steps, path)
        seen, notes = shown.as_seen(paths.reshape(*paths.shape[:2], *shape), shape)
        title = " · ".join([f"Interpolation ({path})", _about(run), *notes])
        pages.append(figures.interpolation(seen, title=title, labels=_joined(run, chosen)))
    save(pages, file)


def samples(runs: Runs, file: Path, *, examples: int = 64, seed: int = 0) -> None:
    """Draw what random latents decode to, a grid for each run (figure 4).

    Parameters
    ----------
    runs, file
        As for `strips`.
    examples, seed : int
        How many, and the seed they are drawn with.
    """
    pages = []
    for run in runs:
        shape = _shape(run)
        with _naming(run):
            made, words = shown.sampled(run.trained, examples, seed)
        seen, notes = shown.as_seen(made.reshape(-1, *shape), shape)
        pages.append(figures.samples(seen, None, (), title=" · ".join([words, _about(run), *notes])))
    save(pages, file)


def reconstruction(runs: Runs, file: Path, *, examples: int = 32) -> None:
    """Draw test examples, spread over all, with what each model makes of them, a block for each run.

    Parameters
    ----------
    runs, file
        As for `strips`.
    examples : int
        How many.
    """
    pages = []
    for run in runs:
        shape = _shape(run)
        with _naming(run):
            both = shown.reconstructed(run.trained, examples)
        (x, notes), (x_hat, _) = (shown.as_seen(values.reshape(-1, *shape), shape) for values in both)
        pages.append(figures.reconstruction(x, x_hat, title=" · ".join(["Reconstruction", _about(run), *notes])))
    save(pages, file)


def latents(runs: Runs, file: Path, *, examples: int = 2000, seed: int = 0) -> None:
    """Draw the codes of test examples in two dimensions, by PCA and by t-SNE, coloured by label where there are labels.

    Parameters
    ----------
    runs, file
        As for `strips`.
    examples, seed : int
        How many, spread over the test set, and the seed of t-SNE.
    """
    maps = []
    for run in runs:
        _check_data(run)
        codes, labels = shown.coded(run.trained, examples)
        with _naming(run):
            maps.append(latent_map.flatten(codes, labels, run.experiment.dataset.class_names, seed))
    count = " and ".join(dict.fromkeys(f"{len(found.pca):,}" for found in maps))
    title, notes = _headed(f"Codes of {count} test examples", runs)
    latent_map.latent_map(maps, file, title=title, names=_labels(runs), notes=notes)


def curves(runs: Runs, file: Path, *, scores: Sequence[str] = ()) -> None:
    """Draw losses and scores against training examples, as far as the checkpoint that each run is opened at.

    Parameters
    ----------
    runs, file
        As for `strips`.
    scores : sequence of str
        Which columns, by name or with a wildcard; all, if empty.
    """
    tables = []
    for run in runs:
        table = run.metrics()
        rows = table["step"] <= run.step
        kept = {name: column[rows] for name, column in table.items()}
        tables.append(kept | {"samples": kept.get("samples", np.empty(0))})
    named = dict(zip(_labels(runs), tables, strict=True))
    title, notes = _headed("Training", runs)
    training.curves(named, file, title=title, notes=notes, scores=scores)


def scorecard(runs: Runs, file: Path) -> None:
    """Draw each run's newest scorecard, as far as the checkpoint that the run is opened at."""
    cards = [_scorecard(run) for run in runs]
    named = dict(zip(_labels(runs), (card.scores for card in cards), strict=True))
    if len({card.protocol_sha256 for card in cards}) > 1:
        warnings.warn("the scorecards were measured under different protocols", EvaluationWarning, stacklevel=2)
    steps = " and ".join(dict.fromkeys(f"{card.step:,}" for card in cards))
    title, notes = _headed(f"Scorecard at step {steps}", runs)
    scorecard_plot.scorecard(named, file, title=title, notes=notes)


def _scorecard(run: OpenRun) -> Evaluation:
    """Return the newest scorecard as far as the checkpoint."""
    broken: list[str] = []
    found = [e for e in read_evaluations(run.directory.eval, broken.append) if e.name == "scorecard"]
    there = [e for e in found if e.step <= run.step]
    if not there:
        remedy = f"{run.path} has no scorecard up to step {run.step}: make one with acaikit eval --scorecard {run.path}"
        raise UserError("\n".join([remedy, *broken]))
    return max(there, key=lambda e: e.step)


def _check_data(run: OpenRun) -> None:
    check_data(run.path, run.info, run.experiment.dataset)


def _shape(run: OpenRun) -> Shape:
    """Return the shape in which a run's examples are drawn."""
    _check_data(run)
    return shown.check_drawable(run.experiment.dataset)


def _tested(run: OpenRun) -> int:
    return len(run.experiment.dataset.test())


def _check_same(first: OpenRun, run: OpenRun, chosen: NDArray[np.int64], both: Tensor) -> None:
    """Raise `UserError` where another run's test examples are not those of the first."""
    one, other = (f"{type(r.experiment.dataset).__name__} of shape {r.experiment.dataset.shape}" for r in (first, run))
    if one != other:
        raise UserError(f"strips need one dataset, but {first.path} is of {one} and {run.path} of {other}")
    _check_data(run)
    if chosen.max() >= _tested(run) or not torch.equal(shown.ends(run.trained, chosen), both):
        raise UserError(f"strips need the same test examples, but those of {first.path} and {run.path} differ")


@contextmanager
def _naming(run: OpenRun) -> Iterator[None]:
    """Say which run it is whose numbers can't be drawn."""
    try:
        yield
    except EvaluationError as error:
        raise EvaluationError(f"{run.path}: {error}") from None


def _name(run: OpenRun) -> str:
    return run.path.resolve().name


def _about(run: OpenRun) -> str:
    return f"{_name(run)} · {run.samples:,} samples"


def _labels(runs: Runs) -> list[str]:
    """Return what the runs are called beside each other, all different; two of one name by their folders too."""
    names = [_name(run) for run in runs]
    if len(set(names)) < len(names):
        names = [str(run.path) for run in runs]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise UserError(f"{' and '.join(twice)} can be drawn only once in a figure")
    return short_names(names)


def _key(labels: Sequence[str], runs: Runs) -> list[str]:
    """Return a line for each run that says what its label stands for."""
    return [f"{label}: {_about(run)}" for label, run in zip(labels, runs, strict=True)]


def _headed(what: str, runs: Runs) -> tuple[str, list[str]]:
    """Return a heading, and the notes that say which runs it speaks of where there are several."""
    if len(runs) == 1:
        return f"{what} · {_about(runs[0])}", []
    labels = _labels(runs)
    return f"{what} · {', '.join(labels)}", _key(labels, runs)


def _joined(run: OpenRun, chosen: NDArray[np.int64]) -> list[str]:
    """Return the classes of the examples of each pair, "4 → 7", or their positions where there are no labels."""
    labels, names = run.experiment.dataset.test().labels, run.experiment.dataset.class_names
    if labels is None:
        return [f"{i:,} → {j:,}" for i, j in chosen]
    called = [[names[k] if k < len(names) else str(k) for k in pair] for pair in labels.cpu()[chosen].tolist()]
    return [f"{shorten(first, 12)} → {shorten(second, 12)}" for first, second in called]


KINDS = {draw.__name__: draw for draw in (strips, interpolation, samples, reconstruction, latents, curves, scorecard)}
"""What can be drawn, by the name that the command line gives it."""
