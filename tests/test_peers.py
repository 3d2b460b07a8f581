from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from torch import Tensor

from acaikit.data import Lines
from acaikit.engine import Trainer
from acaikit.experiment import Experiment
from acaikit.nets import ConvDecoder, ConvEncoder, count_parameters
from acaikit.regularizers import ACAI, KL, VQEMA, AdversarialPrior, Regularizer
from benchmarks.peers import __main__ as peers

PLAYERS = {"model": "model", "critic": "ACAI", "probe": "probe"}
"""What the two programs call a player."""
LATENT = (3, 4, 4)


def small(*regularizers: Regularizer) -> Experiment:
    return Experiment(Lines(16, 16), ConvEncoder(4, 2, 3), ConvDecoder(4, 2), regularizers=regularizers, batch_size=6)


def authors(*sizes: int):
    pytest.importorskip("tensorflow", reason="tensorflow-cpu is not installed")
    from benchmarks.peers.authors import Graph

    return Graph(*sizes, threads=1)


def in_tensorflow(weight: Tensor, variable) -> np.ndarray:
    """Return weights [out, in, height, width] as [height, width, in, out]; the probe reads a whole latent so."""
    if weight.dim() == 1:
        return weight.detach().numpy()
    kernel = weight.detach() if weight.dim() == 4 else weight.detach().unflatten(1, LATENT)
    return kernel.permute(2, 3, 1, 0).reshape(tuple(variable.shape)).numpy()


def test_the_authors_graph_computes_what_acaikit_does() -> None:
    graph = authors(1, 16, 4, 2, 3, 10)
    trainer = Trainer(small(ACAI()))
    x, y = trainer.stream.next()
    losses, views = trainer.objective.backward(x, y, trainer.noise)
    ours = {name: trainer.objective.players[PLAYERS[name]] for name in PLAYERS}
    session = graph.session
    for name, variables in graph.players.items():
        for variable, weight in zip(variables, ours[name], strict=True):
            session.run(variable.initializer, {variable.initializer.inputs[1]: in_tensorflow(weight, variable)})
    fed = {graph.x: x.permute(0, 2, 3, 1).numpy(), graph.y: y.numpy(), graph.alpha: views["ACAI"].alpha.numpy()}
    theirs, gradients = session.run([graph.losses, graph.gradients], fed)
    assert theirs["model"] == pytest.approx((losses["reconstruction"] + losses["ACAI"]).item(), rel=1e-4)
    assert theirs["critic"] == pytest.approx(losses["ACAI/critic"].item(), rel=1e-4)
    assert theirs["probe"] == pytest.approx(losses["probe"].item(), rel=1e-4)
    for name, found in gradients.items():
        for gradient, variable, weight in zip(found, graph.players[name], ours[name], strict=True):
            expected = in_tensorflow(weight.grad, variable)
            np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_the_authors_graph_has_the_papers_sizes_and_moves_every_weight() -> None:
    graph = authors(1, 32, 16, 4, 16, 10)
    sizes = dict.fromkeys(("encoder", "decoder", "critic", "probe"), 0)
    for variable in (v for variables in graph.players.values() for v in variables):
        sizes[variable.name.partition("/")[0]] += int(np.prod(variable.shape))
    assert sizes == {"encoder": 627_472, "decoder": 313_985, "critic": 627_472, "probe": 650}
    before = graph.session.run(graph.players)
    graph.step(np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 1)), np.array([3, 4]))
    after = graph.session.run(graph.players)
    assert all((a != b).any() for name in before for a, b in zip(before[name], after[name], strict=True))


@pytest.mark.parametrize("regularizer", [KL(), AdversarialPrior(), VQEMA(entries=8, vectors=3, hidden=5)])
def test_pythaes_models_have_as_many_weights_as_ours(regularizer: Regularizer) -> None:
    pytest.importorskip("pythae", reason="pythae is not installed")
    from benchmarks.peers.pythae import model

    experiment = small(regularizer)
    assert count_parameters(model(experiment)) == count_parameters(experiment.build()[0])


def test_without_the_peers_there_is_a_table_of_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = {"ours:program": 0, "eager:program": 0}

    @contextmanager
    def child(program: str, *_: object) -> Iterator[Callable[[], None]]:
        def train() -> None:
            turns[program] += 1

        yield train

    monkeypatch.setattr(peers, "child", child)
    monkeypatch.setattr(peers, "missing", lambda: ["pythae", "tensorflow-cpu"])
    rows = [row for recipe in ("lines_acai_64", "lines_vae_64") for row in peers.compare(recipe, 3, 2, 1)]
    assert [row[:2] for row in rows] == [
        ["lines_acai_64", "acaikit"],
        ["lines_acai_64", "eager PyTorch by hand"],
        ["lines_vae_64", "acaikit"],
    ]
    warm = 1
    assert turns == {"ours:program": 2 * (warm + 3), "eager:program": warm + 3}
