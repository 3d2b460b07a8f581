from __future__ import annotations

import pytest
import torch

from acaikit.errors import UserError
from acaikit.regularizers import LatentDropout


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 0.9])
def test_entries_are_dropped_or_scaled(p: float) -> None:
    z = torch.randn(500, 4, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    e = LatentDropout(p).emit(z, torch.Generator().manual_seed(0))
    kept = e != 0
    torch.testing.assert_close(e[kept], z[kept] / (1 - p))
    error = 4 * (p * (1 - p) / z.numel()) ** 0.5
    assert abs(kept.double().mean() - (1 - p)) <= error
    # Entry by entry: a channel of an image is not dropped as one.
    assert p == 0 or kept.view(500, -1).double().var(0).min() > 0.5 * p * (1 - p)
    assert p == 0 or len(kept[:, 0].flatten(1).unique(dim=0)) > 2


def test_mask_comes_from_the_given_generator() -> None:
    z = torch.ones(4, 2, 2, 2)
    first, same, other = (LatentDropout().emit(z, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_nothing_is_dropped_at_evaluation() -> None:
    z = torch.randn(4, 2, 2, 2)
    assert torch.equal(LatentDropout().emit(z, None), z)


def test_gradient_flows_through_kept_entries_alone() -> None:
    z = torch.ones(4, 2, 2, 2, requires_grad=True)
    e = LatentDropout(0.75).emit(z, torch.Generator().manual_seed(0))
    e.sum().backward()
    assert z.grad is not None
    assert torch.equal(z.grad, e)  # 4 where it was kept, 0 where it was dropped


def test_the_papers_share_is_the_default() -> None:
    assert LatentDropout().p == 0.5


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, float("nan")])
def test_p_must_be_a_share_below_one(p: float) -> None:
    with pytest.raises(UserError, match=rf"LatentDropout.p must be a number in \[0, 1\), not {p}"):
        LatentDropout(p)
