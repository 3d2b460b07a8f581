"""The figures of runs, finished or still training: one function for each kind.

Each draws to `file`, which ends in .png, .pdf or .svg and is replaced if it is there. Where there is nothing to draw,
because what was asked for doesn't exist or a model's numbers are not finite, it raises `UserError`.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acaikit.artifacts.evaluations import SHORT, Evaluation, read_evaluation
from acaikit.artifacts.rundir import RunDir
from acaikit.errors import EvaluationError, EvaluationWarning, RunError, UserError
from acaikit.report import curves as training
from acaikit.report import figures, latent_map, pictures, scorecard_plot, shown
from acaikit.report.names import about, names, short_names
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
    shape, labels = _shape(runs[0]), _labels(runs)
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
    pages: list[Page] = []
    for rows, (i, j), words in zip(seen, chosen, pictures.joined(runs[0].experiment.dataset, chosen), strict=True):
        title = f"Interpolation ({path}) · {type(runs[0].experiment.dataset).__name__} test examples {i:,} and {j:,}"
        if len(pages) == len(chosen) - 1:
            notes = [*notes, *_key(runs, _abouts(runs))]
        pages.append(
            figures.strips(rows[1:], title=f"{title} · {words}", labels=labels, notes=notes, data_space=rows[0])
        )
    save(pages, file)


def interpolation(
    runs: Runs, file: Path, *, pair: shown.Pair | None = None, pairs: int = 8, steps: int = 16, path: str = "lerp"
) -> None:
    """Draw decoded paths between pairs of test examples, a block of rows for each run (figures 5 to 10).

    Parameters are those of `strips`.
    """
    pages = []
    for run, words in zip(runs, _abouts(runs), strict=True):
        _shape(run)
        chosen = shown.pairs_of(_tested(run), pairs, pair)
        with _naming(run):
            paths = shown.between(run.trained, shown.ends(run.trained, chosen), steps, path)
        pages.append(pictures.interpolation(run.experiment.dataset, paths, chosen, path, words))
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
    for run, words in zip(runs, _abouts(runs), strict=True):
        shape = _shape(run)
        with _naming(run):
            made, what = shown.sampled(run.trained, examples, seed)
        seen, notes = shown.as_seen(made.reshape(-1, *shape), shape)
        pages.append(figures.samples(seen, None, (), title=" · ".join([what, words, *notes])))
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
    for run, words in zip(runs, _abouts(runs), strict=True):
        _shape(run)
        with _naming(run):
            both = shown.reconstructed(run.trained, examples)
        pages.append(pictures.reconstruction(run.experiment.dataset, both, words))
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
    maps, labels = [], _labels(runs)
    for run in runs:
        _check_data(run)
        codes, classes = shown.coded(run.trained, examples)
        with _naming(run):
            maps.append(latent_map.flatten(codes, classes, run.experiment.dataset.class_names, seed))
    count = " and ".join(dict.fromkeys(f"{len(found.pca):,}" for found in maps))
    title, notes = _headed(f"Codes of {count} test examples", runs, _abouts(runs))
    latent_map.latent_map(maps, file, title=title, names=labels, notes=notes)


def curves(runs: Runs, file: Path, *, scores: Sequence[str] = ()) -> None:
    """Draw losses and scores against training examples, as far as the checkpoint that each run is opened at.

    Parameters
    ----------
    runs, file
        As for `strips`.
    scores : sequence of str
        Which columns, by name or with a wildcard; all but ``health/*``, if empty.
    """
    tables = []
    for run in runs:
        table = run.metrics()
        rows = table["step"] <= run.step
        kept = {name: column[rows] for name, column in table.items()}
        tables.append(kept | {"samples": kept.get("samples", np.empty(0))})
    named = dict(zip(_labels(runs), tables, strict=True))
    title, notes = _headed("Training", runs, _abouts(runs))
    training.curves(named, file, title=title, notes=notes, scores=scores, remarks=_units(runs))


def scorecard(runs: Runs, file: Path, *, results: Path | None = None) -> None:
    """Draw each run's newest scorecard, as far as the checkpoint that the run is opened at.

    Of several at one step, which differ in their protocol, it is the one that was written last.

    Parameters
    ----------
    runs, file
        As for `strips`.
    results : Path, optional
        Another folder of evaluations, as ``acaikit eval --out`` fills it.
    """
    found = [_scorecards(run, results) for run in runs]
    cards = [same[-1] for same in found]
    if len({card.protocol_sha256 for card in cards}) > 1:
        warnings.warn("the scorecards were measured under different protocols", EvaluationWarning, stacklevel=2)
    labels = _labels(runs)
    words = [f"{name} · step {card.step:,}" for name, card in zip(_names(runs), cards, strict=True)]
    title, notes = _headed("Scorecard", runs, words)
    measured: dict[str, list[str]] = defaultdict(list)
    for label, same in zip(labels, found, strict=True):
        measured[_protocol(same)].append(label)
    notes += [f"Protocol {protocol}: {', '.join(of)}" for protocol, of in measured.items()]
    paths = [path for card in cards for path in card.protocol.get("paths", ())]
    named = dict(zip(labels, (card.scores for card in cards), strict=True))
    order = [path if isinstance(path, str) else path["path"] for path in paths]
    scorecard_plot.scorecard(named, file, title=title, notes=notes, paths=order)


def _scorecards(run: OpenRun, results: Path | None) -> list[Evaluation]:
    """Return the run's scorecards of the newest step as far as the checkpoint, in the order they were written in."""
    places = [run.directory, *([RunDir(results / run.path.resolve().name)] if results is not None else [])]
    found: list[tuple[int, int, Evaluation]] = []
    for file in (file for place in places for file in sorted(place.eval.glob("scorecard-*.h5"))):
        try:
            card = read_evaluation(file)
        except RunError as error:
            warnings.warn(str(error), EvaluationWarning, stacklevel=3)
            continue
        if card.name == "scorecard" and card.run_id == run.info["run_id"] and card.step <= run.step:
            found.append((card.step, file.stat().st_mtime_ns, card))
    if not found:
        raise UserError(
            f"{run.path} has no scorecard up to step {run.step}: make one with acaikit eval --scorecard {run.path}, or "
            f"say with --results where acaikit eval --out put it"
        )
    found.sort(key=lambda entry: entry[:2])
    return [card for step, _, card in found if step == found[-1][0]]


def _protocol(cards: Sequence[Evaluation]) -> str:
    """Return the hash of the last card's protocol, and say which others its step was measured under before."""
    last, *others = dict.fromkeys(card.protocol_sha256[:SHORT] for card in reversed(cards))
    return f"{last} (written after {' and '.join(others)})" if others else last


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


def _names(runs: Runs) -> list[str]:
    """Return what the runs are called, all different."""
    return names([run.path for run in runs])


def _labels(runs: Runs) -> list[str]:
    """Return what the runs are called beside each other, in short."""
    return short_names(_names(runs))


def _abouts(runs: Runs) -> list[str]:
    return [about(name, run.samples) for name, run in zip(_names(runs), runs, strict=True)]


def _key(runs: Runs, words: Sequence[str]) -> list[str]:
    """Return a line for each run that says what its label stands for."""
    return [f"{label}: {told}" for label, told in zip(_labels(runs), words, strict=True)]


def _headed(what: str, runs: Runs, words: Sequence[str]) -> tuple[str, list[str]]:
    """Return a heading that tells the words of a run; of several their labels, and notes with the words of each."""
    if len(runs) == 1:
        return f"{what} · {words[0]}", []
    return f"{what} · {', '.join(_labels(runs))}", _key(runs, words)


def _units(runs: Runs) -> dict[str, str]:
    """Return a remark on the loss that each likelihood has in its own unit, where the runs' likelihoods differ."""
    used = [type(run.experiment.likelihood).__name__ for run in runs]
    if len(set(used)) == 1:
        return {}
    told = ", ".join(f"{label} {name}" for label, name in zip(_labels(runs), used, strict=True))
    return {"loss/reconstruction": f"In the unit of each run's own likelihood, not to be compared: {told}."}


KINDS = {draw.__name__: draw for draw in (strips, interpolation, samples, reconstruction, latents, curves, scorecard)}
"""What can be drawn, by the name that the command line gives it."""
