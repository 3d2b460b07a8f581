from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from acaikit.errors import UserError
from acaikit.paths import Geodesic, Landscape, LikelyPath, ModelPath, Path, lerp, slerp
from acaikit.registry import OURS, parts
from acaikit.testing import NotConforming, check_path

FACTORIES: dict[str, Callable[[], ModelPath]] = {
    "Geodesic": lambda: Geodesic(points=4, iterations=2),
    "LikelyPath": lambda: LikelyPath(points=4, iterations=2),
}


@pytest.mark.parametrize("data", ["images", "sequences", "vectors"])
@pytest.mark.parametrize(
    "part", [p for p in parts() if p.kind == "paths" and p.distribution == OURS], ids=lambda part: part.name
)
def test_every_registered_path_conforms(part: Any, data: str) -> None:
    check_path(FACTORIES.get(part.name, part.load()), data)


def test_a_path_or_what_makes_it() -> None:
    check_path(slerp, "vectors")
    check_path(lambda: slerp, "vectors")
    with pytest.raises(UserError, match="can't check on 'image': did you mean images"):
        check_path(slerp, data="image")


def nested() -> Any:
    def inside(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        return lerp(a, b, t)

    return inside


class KeepsAFunction(ModelPath):
    def __init__(self) -> None:
        self.along = lerp

    def over(self, landscape: Landscape) -> Path:
        return self.along


def points_first(a: Tensor, b: Tensor, t: Tensor) -> Any:
    return lerp(a, b, t).transpose(0, 1)


def single_precision(a: Tensor, b: Tensor, t: Tensor) -> Any:
    return lerp(a, b, t).float()


def in_numpy(a: Tensor, b: Tensor, t: Tensor) -> Any:
    return lerp(a, b, t).numpy()


def backward(a: Tensor, b: Tensor, t: Tensor) -> Any:
    return lerp(b, a, t)


def short(a: Tensor, b: Tensor, t: Tensor) -> Any:
    return lerp(a, b, 0.999 * t)


def unguarded_slerp(a: Tensor, b: Tensor, t: Tensor) -> Any:
    cosine = torch.cosine_similarity(a.flatten(1), b.flatten(1))
    w, t = cosine.clamp(-1, 1).acos()[:, None], t[None, :].to(a)
    weights = ((1 - t) * w).sin() / w.sin(), (t * w).sin() / w.sin()
    return sum(weight[..., None] * end.unsqueeze(1) for weight, end in zip(weights, (a, b), strict=True))


def jumps_between_opposites(a: Tensor, b: Tensor, t: Tensor) -> Any:
    opposite = (a + b).flatten(1).norm(dim=1) == 0
    return lerp(a, torch.where(opposite[:, None], -b, b), t)


def round_the_batch(a: Tensor, b: Tensor, t: Tensor) -> Any:
    bow = (t * (1 - t)).view(1, -1, 1).to(a) * (b - a).mean()
    return lerp(a, b, t) + bow


def evened(a: Tensor, b: Tensor, t: Tensor) -> Any:
    """Spaces its points evenly, whatever t says."""
    return lerp(a, b, torch.linspace(0, 1, len(t)) if len(t) > 1 else t)


def changes_its_end(a: Tensor, b: Tensor, t: Tensor) -> Any:
    b -= a
    return a.unsqueeze(1) + t.view(1, -1, 1).to(a) * b.unsqueeze(1)


def drawn(a: Tensor, b: Tensor, t: Tensor) -> Any:
    return lerp(a, b, t) + 1e-7 * torch.randn(1, 1, 1)


class Learns(ModelPath):
    """Moves a little further each time it is asked."""

    def over(self, landscape: Landscape) -> Path:
        asked = []

        def along(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
            asked.append(1)
            return lerp(a, b, t) * (1 + 1e-6 * (len(asked) - 1))

        return along


class NeedsGradients(ModelPath):
    def over(self, landscape: Landscape) -> Path:
        def along(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
            z = a.detach().requires_grad_()
            slope = landscape.decode(z).sum()
            bent = torch.autograd.grad(slope, z)[0] if slope.requires_grad else torch.zeros_like(a)
            return lerp(a, b, t) + (t * (1 - t)).view(1, -1, 1).to(a) * bent.unsqueeze(1)

        return along


def elsewhere(a: Tensor, b: Tensor, t: Tensor) -> Any:
    return lerp(a, b, t) * torch.ones(())


class NeedsLatents(ModelPath):
    def over(self, landscape: Landscape) -> Path:
        mean = landscape.latents().mean(0)

        def along(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
            return lerp(a, b, t) + (t * (1 - t)).view(1, -1, 1).to(a) * mean.to(a)

        return along


class SaysSo(NeedsLatents):
    """Conforms."""

    def over(self, landscape: Landscape) -> Path:
        if landscape.latents is None:
            raise UserError("SaysSo needs training latents")
        return super().over(landscape)


def test_what_conforms() -> None:
    check_path(SaysSo, "vectors")


def two_ends(a: Tensor, b: Tensor) -> Tensor:
    return a + b


FAULTY: list[tuple[Any, str]] = [
    (two_ends, "two_ends needs a, b: a path is a function of a, b and t"),
    (lambda: 3, r"int is no path whose name tells what it does: write a function \(a, b, t\) at the top of a module"),
    (lambda: "slerp", "'slerp' is a path's name: give the path itself"),
    (nested, "inside is no path whose name tells what it does"),
    (KeepsAFunction, "what KeepsAFunction keeps as attributes .* is not JSON .*: keep what is no parameter under"),
    (points_first, r"gives torch.float32 \[16, 3, 8\] for a and b of torch.float32 \[3, 8\] .* not .* \[3, 16, 8\]"),
    (single_precision, r"gives torch.float32 \[3, 16, 8\] for a and b of torch.float64"),
    (in_numpy, "in_numpy gives a ndarray for a and b"),
    (backward, "backward must be at a where t = 0, and at b where t = 1"),
    (short, "short must be at a where t = 0, and at b where t = 1$"),
    (unguarded_slerp, "unguarded_slerp is not finite between ends that are equal: look for a division by zero"),
    (jumps_between_opposites, "must be at a where t = 0, and at b where t = 1, where they are opposite too"),
    (round_the_batch, r"depends on the other pairs: .* flatten from the second on \(flatten\(1\)\)"),
    (evened, "where evened is at t depends on the other values of t"),
    (changes_its_end, "changes_its_end changes a, b or t: leave out in-place steps"),
    (drawn, "drawn draws from torch's global generator, or seeds it: a path is deterministic"),
    (Learns, "Learns is another path each time: it must not depend on chance"),
    (NeedsGradients, r"another path each time: .* gradients are on \(torch.enable_grad\(\) switches them on\)"),
    (elsewhere, "elsewhere makes a tensor on the default device, .* give it device=a.device"),
    (NeedsLatents, r"raises TypeError where the model is known, and no data \(.*\): landscape.latents is None there"),
]


@pytest.mark.parametrize(("path", "message"), FAULTY, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_rule_is_named(path: Any, message: str) -> None:
    with pytest.raises(NotConforming, match=message):
        check_path(path, "vectors")
