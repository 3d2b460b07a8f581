"""The interpolation scorecard: several kinds of path, beside a perfect one and three counterfeits."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from acaikit import checks
from acaikit.data.base import Split
from acaikit.data.rendered import Rendered
from acaikit.errors import EvaluationError, EvaluationWarning, UserError
from acaikit.evaluators.base import Evaluator, Result, Trained
from acaikit.evaluators.columns import PATHS, Column, Scene, flawless, floor, in_parts, score
from acaikit.evaluators.counterfeits import counterfeits, perfect
from acaikit.evaluators.neighbours import Neighbours, without
from acaikit.paths import lerp
from acaikit.paths.base import AnyPath, check, described
from acaikit.progress import progress

REFERENCES = ("perfect", "cross_dissolve", "abrupt_switch", "collapsed")
"""The columns that paths are read by."""


class Scorecard(Evaluator):
    """Scores decoded paths between test examples, beside paths made of the true examples of the same pairs.

    The first `pairs` test examples are joined with the next `pairs`. There is a column for each of `paths`, and four to
    read them by, which the same functions score: ``perfect``, examples drawn along the true factor where it is known,
    and elsewhere the best that a score can be, NaN where nobody knows; ``cross_dissolve``, ``abrupt_switch`` and
    ``collapsed``, see `counterfeits`. `rows.ROWS` says what each row means and which direction is better. A single row
    proves little: a dissolve is as even and as monotonous as can be, a switch as real.

    The headline is the geometric mean of three skills in [0, 1]. Each is 0 for one of the counterfeits by construction:

    - ``ends``: 1 - MSE of the path's ends / MSE of the mean training example (0 for ``collapsed``);
    - ``evenness``: mean step / largest step, scaled so that a single jump is 0 (``abrupt_switch``, and whatever doesn't
      move);
    - ``middle``: (dissolve - path) / (dissolve - ends) in terms of the mean distance to the nearest training example,
      see `Neighbours`, over all images between the ends (0 for ``cross_dissolve``, 1 where these are as real as the
      path's own ends). The dissolve is that of the path's own ends and, at each t, the one that is nearest to the
      training examples out of the plain one and two through tone curves, see `dissolves`: a decoder that saturates
      restores a dissolve's contrast, and has learned nothing of what lies between.

    A perfect path has 1 in the first and about 1 in the last; its evenness is below 1 where equal steps of the factor
    are no equal steps of the image, as with thin lines on few pixels. ``middle``, and with it the headline, is NaN
    where a dissolve of the true examples is as real as they are, as in a linear subspace: there a dissolve can't be
    told from a good path. What collapses or jumps gets 0 even so.

    The geodesic of the pull-back metric tends to a dissolve, and to 0 in ``middle``: it is as short as can be in the
    space of images, where the shortest way is the straight line. The freer the decoder, the nearer it comes.

    What the headline does not punish:

    - a dissolve, toned or not, that hurries through its middle: it is half a switch, and has a headline of up to 0.5;
    - a dissolve whose contrast is raised by a factor instead of a tone curve: up to 0.35, and up to 0.6 on `Sinusoid`,
      where a dissolve lacks nothing but contrast;
    - a detour with a real example at every step: one test example after another at random has a headline of up to 0.95,
      and is found out by ``monotonicity``, about 0.2, and ``length_ratio``, N or more. A detour through one other
      example gains nothing in ``middle`` with dissolves on both sides, and one that jumps there and back has a headline
      of up to 0.4, as it loses ``evenness``;
    - training examples learned by heart;
    - images between the ends that are averages of examples that are alike, and more so than the ends: they lie nearer
      to the training examples than a real one does. Blur that is the same all along gains nothing;
    - a decoder that almost ignores its input is at most at the cube root of ``ends``, which is not quite 0.

    Other rows: ``cycle_error`` is the mean ``|encode(decode(z)) - z|`` over the mean distance between the two latents
    of a pair; for the counterfeits it is that of a decoder that would draw them along ``lerp``. ``doubt_NAME`` is what
    the critic NAME holds against a path between its ends, see `Regularizer.doubt`; references are judged by their
    images and by the latents that these are encoded to, so that ``abrupt_switch`` says what real examples get.
    ``nearest_ratio`` is the distance of the image at t nearest to 1/2 (of the two images, where N is even) over that of
    the pairs' own examples. It depends on `neighbours`: the denser the training examples, the nearer is one to a real
    image. It is NaN where the pairs' own distance is at most 1% of that of their dissolves, as where examples are drawn
    on the fly. Where examples are drawn from a known factor, the scores of `factor.score_paths` follow. A row is the
    mean over the paths that have the score, NaN where none has it.

    Training examples that equal one of the pairs' are left out of the comparison. So are pairs of equal examples; an
    `EvaluationWarning` says how many.

    Parameters
    ----------
    pairs : int
        Number of paths; fewer where there are fewer test examples.
    steps : int
        N, images per path, both ends included.
    paths : sequence of str, callable or ModelPath
        The paths' registered names, or the paths themselves.
    neighbours : int
        How many training examples are compared with, from the first on.

    Raises
    ------
    UserError
        If `pairs` or `neighbours` is below 1, `steps` below 3, `paths` is no sequence of paths, or one of these is
        called like a column to read them by.
    """

    key = "scorecard"
    version = 2
    needs = "two test examples or more"

    def __init__(
        self,
        pairs: int = 64,
        steps: int = 16,
        paths: Sequence[AnyPath] = ("lerp", "slerp", "nlerp", "Geodesic", "LikelyPath"),
        neighbours: int = 10_000,
    ) -> None:
        checks.whole("Scorecard.pairs", pairs, at_least=1)
        checks.whole("Scorecard.steps", steps, at_least=3)
        checks.whole("Scorecard.neighbours", neighbours, at_least=1)
        if not isinstance(paths, list | tuple) or not paths:
            raise UserError(f"Scorecard.paths must list at least one path, such as ('lerp',), not {checks.said(paths)}")
        for path in paths:
            check("Scorecard.paths", path)
        for name in _names(paths):
            if name in REFERENCES:
                raise UserError(f"Scorecard.paths: {name!r} is a column of the scorecard's own; rename the path")
        self.pairs, self.steps, self.paths, self.neighbours = pairs, steps, paths, neighbours

    @property
    def protocol(self) -> dict[str, Any]:
        """The evaluator's parameters, its paths by name and parameters of their own."""
        return super().protocol | {"paths": [described(path) for path in self.paths]}

    def fits(self, trained: Trained) -> bool:
        """A path needs two test examples."""
        return len(trained.dataset.test()) > 1

    def evaluate(self, trained: Trained) -> Result:
        """Return the scores, ``ROW/COLUMN``.

        Returns
        -------
        Result
            Arrays: ``pairs``, int64 ``[P, 2]``, the test examples that were joined; and ``ROW/COLUMN``, float64
            ``[P]``, of each row that has a value per path.

        Raises
        ------
        EvaluationError
            If no pair has two different examples, no training example is left to compare with, or latents or decoded
            images are not finite.
        """
        split = trained.dataset.test()
        index = self._pairs(split)
        scene = self._scene(trained, split, index)
        table: dict[str, dict[str, float | Tensor]] = {}
        with progress("scoring paths", len(self.paths) + len(REFERENCES)) as advance:
            for name, column in self._columns(scene):
                table[name] = flawless(scene) if column is None else score(column, scene)
                advance(1)
        rows = list(dict.fromkeys(row for column in table.values() for row in column))
        cells = {f"{row}/{name}": column.get(row, math.nan) for row in rows for name, column in table.items()}
        return Result(
            {name: value.nanmean().item() if isinstance(value, Tensor) else value for name, value in cells.items()},
            {"pairs": index.numpy()} | {n: v.cpu().numpy() for n, v in cells.items() if isinstance(v, Tensor)},
        )

    def _pairs(self, split: Split) -> Tensor:
        count = min(self.pairs, len(split) // 2)
        differ = (split.examples(slice(count)) != split.examples(slice(count, 2 * count))).flatten(1).any(1)
        if not differ.any():
            raise EvaluationError(f"the two test examples of each of {count:,} pairs are equal: no path leads anywhere")
        if equal := count - int(differ.sum()):
            warnings.warn(
                f"scorecard: {equal:,} of {count:,} pairs are left out, as their two test examples are equal",
                EvaluationWarning,
                stacklevel=3,
            )
        first = torch.arange(count)[differ]
        return torch.stack([first, first + count], 1)

    def _scene(self, trained: Trained, split: Split, index: Tensor) -> Scene:
        dataset = trained.dataset
        ends = split.examples(index.flatten(), trained.device).view(*index.shape, *dataset.shape)
        latents = in_parts(trained.model.encode, ends)
        _finite(latents, "the latents of", "pairs")
        neighbours = Neighbours(without(dataset.training(self.neighbours), ends.flatten(0, 1)), trained.device)
        t = torch.linspace(0, 1, self.steps, device=trained.device)
        real = neighbours.distance(ends).mean().item()
        dissolved = floor(ends, t, neighbours).mean().item()
        factors = dataset.test_factors[index] if isinstance(dataset, Rendered) else None
        return Scene(trained, ends, factors, latents, t, neighbours, real, dissolved)

    def _columns(self, scene: Scene) -> Iterator[tuple[str, Column | None]]:
        """Make one column after another; None stands for a perfect path that can't be drawn."""
        (a, b), t = scene.latents.unbind(1), scene.t
        for name, path in zip(_names(self.paths), self.paths, strict=True):
            along = scene.trained.path(path)
            parts = zip(torch.split(a, PATHS), torch.split(b, PATHS), strict=True)
            z = torch.cat([along(*part, t) for part in parts])
            images = in_parts(scene.trained.model.decode, z)
            _finite(images, f"{name}:", "decoded paths")
            yield name, Column(images, z, z)
        if scene.factors is None:
            yield "perfect", None
        else:
            dataset = scene.trained.dataset
            assert isinstance(dataset, Rendered)
            images = perfect(dataset, scene.factors, t)
            yield "perfect", Column(images, None, scene.encode(images))
        for name, images in counterfeits(scene.ends, t, scene.neighbours.mean).items():
            yield name, Column(images, lerp(a, b, t), scene.encode(images))


def _names(paths: Sequence[AnyPath]) -> list[str]:
    """Name each path, the second of a name "NAME_2" and so on, or the next number that is no other path's name."""
    own = [path if isinstance(path, str) else getattr(path, "__name__", type(path).__name__) for path in paths]
    names: list[str] = []
    for name in own:
        numbered = (f"{name}_{number}" for number in itertools.count(2))
        names.append(next(n for n in numbered if n not in {*own, *names}) if name in names else name)
    return names


def _finite(values: Tensor, whose: str, what: str) -> None:
    broken = int((~values.isfinite()).flatten(1).any(1).sum())
    if broken:
        raise EvaluationError(
            f"{whose} {broken:,} of {len(values):,} {what} hold NaN or infinity: the model has diverged; measure an "
            f"earlier checkpoint with --step"
        )
