from __future__ import annotations

import torch
from torch import nn

from acaikit.adam import Adam


def train(kind: type[torch.optim.Adam], steps: int, fused: bool) -> tuple[nn.Linear, torch.optim.Adam]:
    torch.manual_seed(0)
    layer, x = nn.Linear(3, 2), torch.randn(5, 3)
    optimizer = kind(layer.parameters(), 0.1, fused=fused)
    for _ in range(steps):
        optimizer.zero_grad()
        layer(x).square().mean().backward()
        optimizer.step()
    return layer, optimizer


def test_the_steps_are_torchs() -> None:
    for fused in (True, False):
        (mine, own), (torchs, plain) = train(Adam, 4, fused), train(torch.optim.Adam, 4, fused)
        assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), torchs.parameters(), strict=True))
        assert str(own.state_dict()) == str(plain.state_dict())
        assert not own.state[mine.weight]["exp_avg"].requires_grad


def test_a_state_goes_from_one_to_the_other() -> None:
    (mine, own), (torchs, plain) = train(Adam, 3, True), train(torch.optim.Adam, 5, True)
    own.load_state_dict(plain.state_dict())
    assert str(own.state_dict()) == str(plain.state_dict())
    assert torch.equal(own.state[mine.bias]["exp_avg"], plain.state[torchs.bias]["exp_avg"])
