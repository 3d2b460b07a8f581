from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from acaikit.data import Dataset, Lines, Split, Stream
from acaikit.data.base import Shuffled
from acaikit.engine import Trainer, train
from acaikit.errors import UserError
from acaikit.evaluators.base import Evaluator, Result, Trained
from acaikit.evaluators.probe import ProbeAccuracy
from acaikit.evaluators.reconstruction import Reconstruction
from acaikit.experiment import Experiment
from acaikit.nets import ConvDecoder, ConvEncoder
from acaikit.regularizers import ACAI, KL, VQEMA, AdversarialPrior, Denoising, LatentDropout, Regularizer
from acaikit.rng import generator
from acaikit.types import Scores, Step


class Images(Dataset):
    """Ten random images; batches of four cross the ends of epochs."""

    shape = (1, 4, 4)
    classes = 3

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        draw = torch.Generator().manual_seed(0)
        data = 2 * torch.rand(10, *self.shape, generator=draw, dtype=torch.float64) - 1
        self.split = Split(data.to(dtype), torch.randint(3, (10,), generator=draw))

    def train(self, batch_size: int, generator: Generator, device: torch.device | str = "cpu") -> Stream:
        return Shuffled(self.split, batch_size, generator, device)

    def test(self) -> Split:
        return self.split


def trainer(*regularizers: Regularizer, **changes: Any) -> Trainer:
    given: dict[str, Any] = {
        "dataset": Images(),
        "encoder": ConvEncoder(depth=2, scales=1, latent=2),
        "decoder": ConvDecoder(depth=2, scales=1),
        "batch_size": 4,
        "learning_rate": 1e-2,
        "samples": 40,
        "evaluate_every": 12,
    }
    return Trainer(Experiment(regularizers=regularizers, **(given | changes)))


def everything() -> list[Regularizer]:
    vq = VQEMA(entries=8, vectors=2, hidden=5)
    return [Denoising(), KL(), vq, LatentDropout(), AdversarialPrior(), ACAI()]


class Recorder:
    """A callback that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str | int] = []
        self.losses: list[dict[str, Tensor]] = []
        self.rows: list[tuple[int, dict[str, float], Scores]] = []

    def on_step(self, trainer: Trainer, losses: dict[str, Tensor]) -> None:
        self.told.append(trainer.samples)
        self.losses.append(losses)

    def on_row(self, trainer: Trainer, losses: dict[str, float], scores: Scores) -> None:
        self.told.append("row")
        self.rows.append((trainer.samples, losses, scores))


def flat(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [leaf for key in tree for leaf in (key, *flat(tree[key]))]
    if isinstance(tree, list | tuple):
        return [leaf for item in tree for leaf in flat(item)]
    return [tree.tolist() if isinstance(tree, Tensor | np.ndarray) else tree]


def same_state(one: Trainer, other: Trainer) -> bool:
    return flat(one.state_dict()) == flat(other.state_dict())


class NumpyAdam:
    """Adam as its paper writes it (Kingma and Ba 2014, algorithm 1), betas 0.9 and 0.999, epsilon 1e-8."""

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate, self.t, self.m, self.v = learning_rate, 0, 0.0, 0.0

    def update(self, weight: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * gradient
        self.v = 0.999 * self.v + 0.001 * gradient**2
        m_hat, v_hat = self.m / (1 - 0.9**self.t), self.v / (1 - 0.999**self.t)
        return weight - self.learning_rate * m_hat / (v_hat**0.5 + 1e-8)


def test_training_is_the_slow_obvious_one() -> None:
    """ACAI, AAE and the probe by hand: one torch.autograd.grad per player at the same weights, nothing detached."""
    parts = [AdversarialPrior(weight=0.7), ACAI(weight=0.5, gamma=0.2)]
    fast = trainer(*parts, dataset=Images(torch.float64), seed=3)
    assert fast.probe is not None
    for module in (fast.model, fast.probe):
        module.double()

    model, probe = copy.deepcopy(fast.model), copy.deepcopy(fast.probe)
    f, g = model.encoder, model.decoder
    d, judge = model.regularizers["ACAI"].critic, model.regularizers["AdversarialPrior"].critic
    parameters = {
        "model": [*f.parameters(), *g.parameters()],
        "ACAI": list(d.parameters()),
        "AdversarialPrior": list(judge.parameters()),
        "probe": list(probe.parameters()),
    }
    adams = {player: [NumpyAdam(1e-2) for _ in each] for player, each in parameters.items()}
    order, for_acai, for_prior = (generator(3, name) for name in ("data", "ACAI", "AdversarialPrior"))
    split = Images(torch.float64).split
    shuffled = torch.cat([torch.randperm(10, generator=order) for _ in range(2)])

    for batch in shuffled[:16].split(4):
        x, y = split.data[batch], split.labels[batch]
        z = f(x)
        x_hat = g(z)
        n = torch.randn(z.shape, generator=for_prior, dtype=torch.float64)
        u = torch.rand(4, generator=for_acai, dtype=torch.float64)
        alpha = torch.minimum(u, 1 - u).view(4, 1, 1, 1)
        x_mix = g(alpha * z + (1 - alpha) * z[[3, 2, 1, 0]])
        to_one, to_zero = (-judge(z).sigmoid().log()).mean(), (-(1 - judge(z).sigmoid()).log()).mean()
        losses = {
            "model": ((x - x_hat) ** 2).mean() + 0.7 * to_one + 0.5 * (d(x_mix) ** 2).mean(),
            "ACAI": ((d(x_mix) - alpha.view(4)) ** 2).mean() + (d(0.2 * x + 0.8 * x_hat) ** 2).mean(),
            "AdversarialPrior": to_zero + (-judge(n).sigmoid().log()).mean(),
            "probe": F.nll_loss(probe(z).log_softmax(1), y),
        }
        found = {
            player: torch.autograd.grad(losses[player], parameters[player], retain_graph=True) for player in losses
        }
        for player, adam in adams.items():
            for a, weight, gradient in zip(adam, parameters[player], found[player], strict=True):
                weight.data = torch.from_numpy(a.update(weight.detach().numpy(), gradient.numpy()))

        reported = fast.step()
        assert reported["ACAI/critic"].item() == pytest.approx(losses["ACAI"].item(), rel=1e-9)
        assert reported["probe"].item() == pytest.approx(losses["probe"].item(), rel=1e-9)
        model_loss = sum(reported[name].item() for name in ("reconstruction", "AdversarialPrior", "ACAI"))
        assert model_loss == pytest.approx(losses["model"].item(), rel=1e-9)
        for mine, theirs in ((model, fast.model), (probe, fast.probe)):
            torch.testing.assert_close(
                dict(mine.named_parameters()), dict(theirs.named_parameters()), rtol=1e-8, atol=1e-10
            )


def test_optimizers_are_the_papers() -> None:
    optimizers = trainer(ACAI(), learning_rate=1e-4).optimizers
    assert set(optimizers) == {"model", "ACAI", "probe"}
    for optimizer in optimizers.values():
        (group,) = optimizer.param_groups
        assert isinstance(optimizer, torch.optim.Adam)
        assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (1e-4, (0.9, 0.999), 1e-8, 0)
        assert not group["amsgrad"]


@pytest.mark.parametrize("seed", [0, 1])
def test_training_depends_on_the_seed_alone(seed: int) -> None:
    torch.manual_seed(1)
    one = trainer(*everything(), seed=seed)
    torch.manual_seed(2)
    other, reseeded = trainer(*everything(), seed=seed), trainer(*everything(), seed=seed + 1)
    for t in (one, other, reseeded):
        for _ in range(3):
            t.step()
    assert same_state(one, other)
    assert not same_state(one, reseeded)


@pytest.mark.parametrize("make", [list, everything], ids=["baseline", "everything"])
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_a_resumed_run_is_the_same_to_the_bit(make: Callable[[], list[Regularizer]], steps: int) -> None:
    straight, told = trainer(*make()), Recorder()
    train(straight, [told], stop=lambda: straight.steps >= steps)
    saved = copy.deepcopy(straight.state_dict())
    train(straight, [told])

    resumed, told_again = trainer(*make(), seed=1, samples=400), Recorder()
    resumed.load_state_dict(saved)
    assert (resumed.steps, resumed.samples, resumed.budget) == (steps, 4 * steps, 40)
    train(resumed, [told_again])
    assert same_state(straight, resumed)
    assert told_again.rows == told.rows[-len(told_again.rows) :]
    assert [row[0] for row in told.rows] == [12, 24, 36, 40]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda: trainer(ACAI(), encoder=ConvEncoder(2, 1, 3)), id="another latent"),
        pytest.param(lambda: trainer(AdversarialPrior()), id="another regularizer"),
        pytest.param(lambda: trainer(), id="a regularizer less"),
        pytest.param(lambda: trainer(ACAI(), KL()), id="a regularizer more"),
        pytest.param(lambda: trainer(ACAI(), probe=True), id="a probe more"),
    ],
)
def test_the_state_of_another_experiment_is_refused(other: Callable[[], Trainer]) -> None:
    saved = trainer(ACAI(), probe=False).state_dict()
    with pytest.raises(UserError, match="the checkpoint doesn't fit the experiment: "):
        other().load_state_dict(saved)


@pytest.mark.parametrize(
    ("samples", "batch_size", "evaluate_every"),
    [
        (12, 4, 4),
        (12, 4, 12),
        (12, 4, 100),
        (13, 4, 6),
        (30, 4, 10),
        (30, 7, 10),
        (9, 4, 1),
        (1, 4, 1),
        (20, 5, 7),
        (30, 10, 4),
        (18, 3, 10),
    ],
)
def test_evaluation_falls_where_a_multiple_is_passed_and_at_the_end(
    samples: int, batch_size: int, evaluate_every: int
) -> None:
    told = Recorder()
    train(trainer(samples=samples, batch_size=batch_size, evaluate_every=evaluate_every), [told])
    expected: list[str | int] = []
    shown, due = 0, evaluate_every
    while shown < samples:
        shown += batch_size
        expected.append(shown)
        if shown >= due or shown >= samples:
            expected.append("row")
        while due <= shown:
            due += evaluate_every
    assert told.told == expected


def test_a_state_says_what_its_last_step_was_trained_under() -> None:
    stopped, resumed = trainer(), trainer()
    now = stopped.state_dict()["fingerprint"]
    assert now["threads"] == torch.get_num_threads()
    then = now | {"threads": now["threads"] + 1, "torch": "2.6.0"}
    resumed.load_state_dict(stopped.state_dict() | {"fingerprint": then})
    assert resumed.state_dict()["fingerprint"] == resumed.trained_under == then
    resumed.step()
    assert resumed.state_dict()["fingerprint"] == now


def test_rows_hold_the_mean_losses_since_the_row_before() -> None:
    t, told = trainer(*everything(), samples=28), Recorder()
    train(t, [told])
    assert [row[0] for row in told.rows] == [12, 24, 28]
    for (_, means, _), rows in zip(told.rows, (told.losses[:3], told.losses[3:6], told.losses[6:]), strict=True):
        expected = {name: np.mean([row[name].item() for row in rows]) for name in rows[0]}
        assert means == pytest.approx(expected, rel=1e-6)
    assert t.mean_losses() == {}


@pytest.mark.parametrize("steps", [0, 1, 3, 9])
def test_a_stop_falls_between_two_steps(steps: int) -> None:
    stopped, told = trainer(*everything()), Recorder()
    train(stopped, [told], stop=lambda: stopped.steps >= steps)
    assert (stopped.steps, stopped.samples, stopped.finished) == (steps, 4 * steps, False)

    by_hand = trainer(*everything())
    for n in range(steps):
        by_hand.step()
        if (n + 1) % 3 == 0:
            by_hand.mean_losses()
    assert same_state(stopped, by_hand)

    straight, told_straight = trainer(*everything()), Recorder()
    train(straight, [told_straight])
    train(stopped, [told])
    assert same_state(stopped, straight)
    assert (told.told, told.rows) == (told_straight.told, told_straight.rows)


def test_a_finished_run_stays_as_it_is() -> None:
    t, told = trainer(samples=9), Recorder()
    train(t)
    assert (t.finished, t.steps, t.samples) == (True, 3, 12)
    train(t, [told])
    assert (t.steps, told.told) == (3, [])


class Weighing(Evaluator):
    """Scores the mean weight of the encoder's first layer."""

    key = "weighing"

    def __init__(self, wanted: bool = True) -> None:
        self.wanted = wanted

    def fits(self, trained: Trained) -> bool:
        return self.wanted

    def evaluate(self, trained: Trained) -> Result:
        assert self.wanted and not torch.is_grad_enabled() and not trained.model.training
        weight = next(trained.model.encoder.parameters())
        return Result({"mean": weight.mean().item(), "size": weight.numel()})


def test_scores_carry_the_evaluators_key() -> None:
    assert trainer(evaluators=[Weighing(wanted=False)]).evaluate() == {}
    t = trainer(evaluators=[Weighing(), ProbeAccuracy(), Reconstruction()])
    assert list(t.evaluate()) == ["weighing/mean", "weighing/size", "probe/accuracy", "reconstruction/mse"]
    assert list(trainer(evaluators=[ProbeAccuracy(), Weighing()], probe=False).evaluate()) == [
        "weighing/mean",
        "weighing/size",
    ]


def test_rows_hold_the_scores_of_their_step() -> None:
    t, told = trainer(evaluators=[Weighing()], samples=24), Recorder()
    train(t, [told])
    assert told.rows[-1][2] == t.evaluate()
    assert told.rows[0][2] != t.evaluate()


def test_evaluation_changes_nothing() -> None:
    evaluators = [Weighing(), ProbeAccuracy(), Reconstruction()]
    often, never = (trainer(*everything(), evaluators=evaluators) for _ in range(2))
    for _ in range(3):
        often.evaluate()
        assert same_state(often, never)
        assert often.model.training
        for t in (often, never):
            t.step()


class Watching(Regularizer):
    """Notes what `after_step` sees."""

    def after_step(self, step: Step) -> None:
        self.weight = next(self.watched.parameters()).clone()
        self.seen, self.grad = step, torch.is_grad_enabled()


def test_after_step_comes_after_every_optimizer_and_without_gradients() -> None:
    t = trainer(Watching())
    part = t.model.regularizers["Watching"]
    part.watched = t.model.encoder
    for _ in range(2):
        before = next(t.model.encoder.parameters()).clone()
        t.step()
        after = next(t.model.encoder.parameters())
        assert torch.equal(part.weight, after) and not torch.equal(after, before)
        assert not part.grad and not part.seen.z.requires_grad


def test_data_without_labels_train_without_a_probe() -> None:
    class Unlabelled(Images):
        classes = None

        def __init__(self) -> None:
            super().__init__()
            self.split = Split(self.split.data)

    t = trainer(ACAI(), dataset=Unlabelled())
    assert t.probe is None
    assert list(t.step()) == ["reconstruction", "ACAI", "ACAI/critic"]


@pytest.mark.parametrize("batch", [5, (torch.zeros(4, 4, 4), None), (torch.zeros(4, 1, 4, 4), 3)])
def test_a_stream_that_gives_no_batch(batch: object, monkeypatch: pytest.MonkeyPatch) -> None:
    t = trainer()
    monkeypatch.setattr(t.stream, "next", lambda: batch)
    with pytest.raises(UserError, match=r"Images's stream must give \(x, y\): x of shape \[B, 1, 4, 4\], y of"):
        t.step()


def test_lines_train() -> None:
    t = trainer(dataset=Lines(8, 8, test_size=16), samples=2000, batch_size=20, evaluate_every=1000)
    told = Recorder()
    train(t, [told])
    first, second = (losses["reconstruction"] for _, losses, _ in told.rows)
    assert second < first


def test_one_experiment_makes_any_number_of_trainers() -> None:
    first = trainer(ACAI(), KL())
    first.step()
    kept = {name: value.clone() for name, value in first.model.state_dict().items()}
    second = Trainer(first.experiment)
    second.step()
    assert all(torch.equal(kept[name], value) for name, value in first.model.state_dict().items())
    assert all(torch.equal(kept[name], value) for name, value in second.model.state_dict().items())


def global_draws() -> list[float]:
    return [torch.rand(()).item(), np.random.rand(), random.random(), random.gauss(0, 1)]


def test_a_run_seeds_the_global_generators_and_draws_from_none() -> None:
    trainer(*everything(), seed=3)
    before = global_draws()
    trainer(*everything(), seed=4)
    assert all(a != b for a, b in zip(before, global_draws(), strict=True))
    train(trainer(*everything(), seed=3))
    assert global_draws() == before


def test_the_global_generators_are_restored() -> None:
    straight = trainer()
    global_draws()
    saved = copy.deepcopy(straight.state_dict())
    expected = global_draws()
    trainer(seed=1).load_state_dict(saved)
    assert global_draws() == expected


def draws(t: Trainer) -> list[Any]:
    """What a trainer draws next: batches over the end of an epoch, each regularizer's noise, the global generators."""
    batches = [t.stream.next()[0] for _ in range(4)]
    noise = [torch.rand(3, generator=g) for g in t.noise.values()]
    return [*(flat([*batches, *noise])), *global_draws()]


def test_what_follows_a_rewind_is_another_draw_and_always_the_same() -> None:
    """However it came to the rewind: killed and resumed, it is the same one."""
    t = trainer(ACAI(), LatentDropout())
    for _ in range(3):
        t.step()
    saved = copy.deepcopy(t.state_dict())
    found = []
    for rewinds in (None, 1, 2, 2, 3):
        again = trainer(ACAI(), LatentDropout())
        again.load_state_dict(copy.deepcopy(saved))
        again.stray(rewinds)
        assert again.rewinds == (rewinds or 1)
        found.append(draws(again))
    t.step()
    t.stray()
    assert found[0] == found[1] == draws(t) and found[2] == found[3]
    fresh = trainer(ACAI(), LatentDropout())
    fresh.load_state_dict(saved)
    for one, other in ((found[1], found[2]), (found[1], found[4]), (found[1], draws(fresh))):
        assert all(a != b for a, b in zip(one, other, strict=True))


def test_a_run_that_was_rewound_is_resumed_to_the_bit() -> None:
    straight = trainer(*everything())
    straight.step()
    straight.stray(2)
    straight.step()
    saved = copy.deepcopy(straight.state_dict())
    train(straight)
    resumed = trainer(*everything(), seed=1)
    resumed.load_state_dict(saved)
    assert resumed.rewinds == 2
    train(resumed)
    assert same_state(straight, resumed)
