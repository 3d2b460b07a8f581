from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from acaikit.errors import UserError
from acaikit.paths import Landscape, ModelPath, Path, described, lerp, resolve, slerp
from acaikit.paths.base import check
from acaikit.paths.geodesic import Geodesic
from acaikit.registry import parts

LANDSCAPE = Landscape(lambda z: 2 * z)


class Jump(ModelPath):
    """Stays at the one end, then is at the other."""

    def __init__(self, at: float = 0.5) -> None:
        self.at, self._kept = at, "for itself"

    def over(self, landscape: Landscape) -> Path:
        assert landscape is LANDSCAPE
        return self._walk

    def _walk(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        return torch.where((t < self.at).view(1, -1, 1), a.unsqueeze(1), b.unsqueeze(1))


def test_resolve() -> None:
    assert resolve("slerp", LANDSCAPE) is slerp
    assert resolve(lerp, LANDSCAPE) is lerp
    jump = resolve(Jump(0.3), LANDSCAPE)
    found = jump(torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([0.2, 0.4]))
    assert torch.equal(found, torch.tensor([[[0.0, 0.0], [1.0, 1.0]]]))


def test_a_registered_class_is_made_with_its_defaults() -> None:
    a, b, t = torch.zeros(1, 2), torch.ones(1, 2), torch.linspace(0, 1, 3)
    assert torch.equal(resolve("Geodesic", LANDSCAPE)(a, b, t), Geodesic().over(LANDSCAPE)(a, b, t))


def test_unknown_name() -> None:
    with pytest.raises(UserError, match=r"no path is called 'slurp': did you mean slerp"):
        resolve("slurp", LANDSCAPE)
    with pytest.raises(UserError, match=r"X\.path: no path is called 'slurp'"):
        check("X.path", "slurp")


@pytest.mark.parametrize("path", ["lerp", "LikelyPath", lerp, Jump()])
def test_what_is_a_path(path: object) -> None:
    check("X.path", path)


@pytest.mark.parametrize(
    "path", [Jump, None, 3, lambda a, b, t: lerp(a, b, t), partial(lerp, t=0), Jump().over(LANDSCAPE)]
)
def test_what_is_none(path: object) -> None:
    with pytest.raises(UserError, match=r"X\.path must be a path"):
        check("X.path", path)


def test_described() -> None:
    assert described("slerp") == "slerp"
    assert described(slerp) == "slerp"
    assert described(Jump(0.25)) == {"path": "Jump", "version": 1, "at": 0.25}


@pytest.mark.parametrize("name", [part.name for part in parts() if part.kind == "paths"])
def test_every_registered_path_goes_from_end_to_end(name: str) -> None:
    a, b = (torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    found = resolve(name, Landscape(torch.sin, lambda: torch.cat([a, b])))(a, b, torch.linspace(0, 1, 5))
    assert found.shape == (2, 5, 3, 2)
    assert torch.equal(found[:, 0], a) and torch.equal(found[:, -1], b)
