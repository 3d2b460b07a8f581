"""The pictures of a run: what the model makes of test examples, and of the space between them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from acaikit.artifacts.publish import make_folder
from acaikit.evaluators.base import Evaluator, Trained
from acaikit.evaluators.interpolation import Interpolation
from acaikit.evaluators.reconstruction import Reconstruction
from acaikit.report import figures


def draw(trained: Trained, folder: Path, title: str, evaluators: Sequence[Evaluator] = ()) -> list[Path]:
    """Draw ``interpolation.png`` and ``reconstruction.png``; return the files that were written.

    Parameters
    ----------
    trained : Trained
        The model and its dataset.
    folder : Path
        Where to write; made where it is missing.
    title : str
        Which run and moment this is.
    evaluators : sequence of Evaluator
        The recipe's own: where an `Interpolation` is among them, its settings hold.

    Returns
    -------
    list of Path
        Empty where the data are no images of 1 or 3 channels, or the model's output is not finite.
    """
    shape = trained.dataset.shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        return []
    own = [evaluator for evaluator in evaluators if isinstance(evaluator, Interpolation)]
    interpolation = own[0] if own else Interpolation()
    with trained.evaluating():
        paths = interpolation.evaluate(trained).arrays["paths"]
        shown = Reconstruction().evaluate(trained).arrays
    if not (np.isfinite(paths).all() and np.isfinite(shown["reconstructions"]).all()):
        return []
    make_folder(folder)
    files = [folder / "interpolation.png", folder / "reconstruction.png"]
    figures.interpolation(paths, files[0], title=f"Interpolation ({interpolation.path}) · {title}")
    figures.reconstruction(shown["originals"], shown["reconstructions"], files[1], title=f"Reconstruction · {title}")
    return files
