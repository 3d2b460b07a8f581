from __future__ import annotations

from math import prod

import numpy as np
import pytest
import torch
from torch import Tensor

from acaikit.errors import UserError
from acaikit.nets import ConvEncoder, count_parameters
from acaikit.regularizers import VQEMA, Architecture
from acaikit.returned import unpack
from acaikit.rng import initialise
from acaikit.types import Extras, Step

LATENT = (2, 2, 1)
DIM, BATCH, ENTRIES, VECTORS, HIDDEN = prod(LATENT), 5, 12, 3, 7


def built(weight: float = 10.0, decay: float = 0.9) -> VQEMA:
    vq = VQEMA(weight, ENTRIES, VECTORS, HIDDEN, decay)
    vq.build(Architecture((1, 4, 2), LATENT, ConvEncoder()))
    initialise(vq, 0, "VQEMA")
    return vq.double()


def emit(vq: VQEMA, z: Tensor | None = None) -> tuple[Tensor, Tensor, Extras]:
    if z is None:
        z = torch.randn(BATCH, *LATENT, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    e, extras = unpack(vq.emit(z, None), "emit", z.shape)
    return z, e, extras


def step(z: Tensor, extras: Extras) -> Step:
    return Step(z, z, z, z, encode=torch.neg, decode=torch.neg, extras=extras).detached()


def numbers(layer: torch.nn.Module) -> tuple[np.ndarray, np.ndarray]:
    weight, bias = (p.detach().numpy() for p in layer.parameters())
    return weight, bias


def test_emit_in_numpy() -> None:
    vq = built()
    z, e, extras = emit(vq)
    codebook = vq.codebook.numpy()
    (w1, b1), (w2, b2), (w3, b3) = (numbers(layer) for layer in (vq.to_vectors, vq.from_vectors[1], vq.from_vectors[3]))
    for i in range(BATCH):
        u = (w1 @ z[i].numpy().ravel() + b1).reshape(VECTORS, DIM)
        index = [min(range(ENTRIES), key=lambda k: ((v - codebook[k]) ** 2).sum()) for v in u]
        q = codebook[index]
        hidden = np.maximum(w2 @ np.maximum(q.ravel(), 0) + b2, 0)
        np.testing.assert_allclose(extras["u"][i].detach().numpy(), u, rtol=1e-9)
        assert extras["index"][i].tolist() == index
        np.testing.assert_array_equal(extras["q"][i].numpy(), q)
        np.testing.assert_allclose(e[i].detach().numpy().ravel(), w3 @ hidden + b3, rtol=1e-9)
    assert len(set(extras["index"].flatten().tolist())) > 3


def test_quantisers_gradient_is_the_identity() -> None:
    """The gradient at u is what comes back from the decoder at q."""
    vq = built()
    _, e, extras = emit(vq)
    down = torch.randn_like(e)
    (at_u,) = torch.autograd.grad((e * down).sum(), extras["u"])
    (w2, b2), (w3, _) = numbers(vq.from_vectors[1]), numbers(vq.from_vectors[3])
    for i in range(BATCH):
        q = extras["q"][i].numpy().ravel()
        before = w2 @ np.maximum(q, 0) + b2
        back = (w3.T @ down[i].numpy().ravel()) * (before > 0)
        expected = (w2.T @ back) * (q > 0)
        np.testing.assert_allclose(at_u[i].numpy().ravel(), expected, rtol=1e-9)


@pytest.mark.parametrize("weight", [0.0, 1.0, 10.0])
def test_commitment_in_numpy(weight: float) -> None:
    vq = built(weight=weight)
    z, _, extras = emit(vq)
    u, q = extras["u"], extras["q"]
    loss = vq.model_loss(Step(z, z, z, z, encode=torch.neg, decode=torch.neg, extras=extras))
    difference = u.detach().numpy() - q.numpy()
    assert loss.item() == pytest.approx(weight * (difference**2).sum() / difference.size, rel=1e-12)
    (at_u,) = torch.autograd.grad(loss, u)
    np.testing.assert_allclose(at_u.numpy(), 2 * weight * difference / difference.size, rtol=1e-12)


def test_codebook_moves_by_moving_averages() -> None:
    vq = built(decay=0.9)
    codebook, counts = vq.codebook.numpy().copy(), np.ones(ENTRIES)
    sums = codebook.copy()
    for seed in range(3):
        z, _, extras = emit(vq, torch.randn(BATCH, *LATENT, generator=torch.Generator().manual_seed(seed)).double())
        vq.after_step(step(z, extras))
        u, index = extras["u"].detach().numpy().reshape(-1, DIM), extras["index"].numpy().ravel()
        for k in range(ENTRIES):
            mine = u[index == k]
            counts[k] = 0.9 * counts[k] + 0.1 * len(mine)
            sums[k] = 0.9 * sums[k] + 0.1 * mine.sum(0)
        n = counts.sum()
        codebook = sums / ((counts + 1e-5) / (n + ENTRIES * 1e-5) * n)[:, None]
        np.testing.assert_allclose(vq.counts.numpy(), counts, rtol=1e-12)
        np.testing.assert_allclose(vq.sums.numpy(), sums, rtol=1e-12)
        np.testing.assert_allclose(vq.codebook.numpy(), codebook, rtol=1e-12)


def test_codebook_is_learned_by_averages_alone() -> None:
    vq = built()
    assert {name for name, _ in vq.named_buffers()} == {"codebook", "counts", "sums"}
    dense = (DIM + 1) * VECTORS * DIM + (VECTORS * DIM + 1) * HIDDEN + (HIDDEN + 1) * DIM
    assert count_parameters(vq) == dense


def test_initial_codebook() -> None:
    vq = VQEMA(entries=4096, vectors=1, hidden=1)
    vq.build(Architecture((1, 4, 4), (4, 2, 2), ConvEncoder()))
    initialise(vq, 0, "VQEMA")
    assert vq.codebook.shape == (4096, 16)
    assert vq.codebook.square().mean().item() == pytest.approx(1 / 16, rel=0.03)
    assert abs(vq.codebook.mean().item()) < 0.25 * 4 / 256
    assert torch.equal(vq.sums, vq.codebook)
    assert torch.equal(vq.counts, torch.ones(4096))


def test_the_papers_sizes_are_the_defaults() -> None:
    vq = VQEMA()
    assert (vq.weight, vq.entries, vq.vectors, vq.hidden, vq.decay) == (10, 2**14, 10, 512, 0.999)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"entries": 0}, "VQEMA.entries must be a whole number of at least 1, not 0"),
        ({"vectors": 2.5}, "VQEMA.vectors must be a whole number of at least 1, not 2.5"),
        ({"hidden": -1}, "VQEMA.hidden must be a whole number of at least 1, not -1"),
        ({"weight": -0.1}, r"VQEMA.weight \(beta\) must be a number of at least 0, not -0.1"),
        ({"decay": 1.0}, r"VQEMA.decay must be a number in \[0, 1\), not 1.0"),
        ({"decay": -0.1}, r"VQEMA.decay must be a number in \[0, 1\), not -0.1"),
    ],
)
def test_arguments_out_of_range(argument: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        VQEMA(**argument)


def dead(vq: VQEMA) -> tuple[float, str | None]:
    z, _, extras = emit(vq)
    (sign,) = vq.health(step(z, extras)).values()
    return sign.value, sign.warning


@pytest.mark.parametrize("used", [1, 5, 6, 7, ENTRIES])
def test_dead_entries_are_those_hardly_ever_chosen(used: int) -> None:
    """Entries of about equal shares among those that are used at all; the others' counts decay to nothing."""
    vq = built(decay=0.9)
    z, _, extras = emit(vq)
    index = torch.arange(BATCH * VECTORS).remainder(used).view(BATCH, VECTORS)
    assert dead(vq) == (0, None)
    for moves in range(1, 101):
        vq.after_step(step(z, {**extras, "index": index}))
        if moves == 20:  # an entry that was never chosen has an eighth of its first count still
            assert dead(vq) == (0, None)
    value, warning = dead(vq)
    assert value == pytest.approx(1 - used / ENTRIES)
    assert (warning is not None) == (value > 0.5)
