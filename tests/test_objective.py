from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations

import pytest
import torch
from torch import Generator, Tensor, nn

from acaikit.critics import DenseCritic, EncoderCritic
from acaikit.data import Lines
from acaikit.engine import Trainer, train
from acaikit.errors import UserError
from acaikit.experiment import Experiment
from acaikit.likelihoods import MSE, Bernoulli, Likelihood
from acaikit.nets import ConvDecoder, ConvEncoder, Linear
from acaikit.objective import answering_once, forward, players
from acaikit.regularizers import ACAI, KL, VQEMA, AdversarialPrior, Architecture, Denoising, LatentDropout, Regularizer
from acaikit.testing import check_regularizer
from acaikit.types import Step

Make = Callable[[], list[Regularizer]]


def vq() -> VQEMA:
    return VQEMA(entries=8, vectors=3, hidden=5)


MODELS: dict[str, Make] = {
    "baseline": list,
    "dropout": lambda: [LatentDropout()],
    "denoising": lambda: [Denoising()],
    "VAE": lambda: [KL()],
    "AAE": lambda: [AdversarialPrior()],
    "VQ-VAE": lambda: [vq()],
    "ACAI": lambda: [ACAI()],
    "VQ-VAE + dropout": lambda: [vq(), LatentDropout()],
    "all": lambda: [Denoising(), KL(), vq(), LatentDropout(), AdversarialPrior(), ACAI()],
}
every_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def trainer(
    regularizers: Sequence[Regularizer], *, probe: bool = True, likelihood: Likelihood | None = None
) -> Trainer:
    experiment = Experiment(
        dataset=Lines(8, 8, test_size=4),
        encoder=ConvEncoder(depth=3, scales=2, latent=2),
        decoder=ConvDecoder(depth=3, scales=2),
        likelihood=likelihood or MSE(),
        regularizers=regularizers,
        probe=probe,
        batch_size=6,
        learning_rate=1e-2,
    )
    return Trainer(experiment)


def gradients(trainer: Trainer, player: str) -> list[Tensor]:
    """One player's gradients on the first batch."""
    trainer.objective.backward(*trainer.stream.next(), trainer.noise)
    found = [p.grad for p in trainer.objective.players[player]]
    assert all(g is not None and g.any() for g in found)
    return [g for g in found if g is not None]


def same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_players_share_out_all_parameters() -> None:
    t = trainer([ACAI(), KL(), AdversarialPrior(), ACAI()])
    found = t.objective.players
    assert list(found) == ["model", "ACAI", "AdversarialPrior", "ACAI_2", "probe"]
    for name in ("ACAI", "AdversarialPrior", "ACAI_2"):
        assert same(found[name], list(t.model.regularizers[name].critic.parameters()))
    ids = [id(p) for parameters in found.values() for p in parameters]
    assert len(set(ids)) == len(ids)
    assert set(ids) == {id(p) for module in (t.model, t.probe) for p in module.parameters()}
    kl = [*t.model.regularizers["KL"].parameters()]
    assert {id(p) for p in kl} < {id(p) for p in found["model"]}


def test_frozen_parameters_belong_to_nobody() -> None:
    model = trainer([AdversarialPrior()]).model
    frozen = [next(model.encoder.parameters()), next(model.regularizers["AdversarialPrior"].critic.parameters())]
    for p in frozen:
        p.requires_grad_(False)
    playing = {id(p) for parameters in players(model, None).values() for p in parameters}
    assert playing == {id(p) for p in model.parameters()} - {id(p) for p in frozen}


class NoCritic(Regularizer):
    def own_loss(self, step: Step) -> Tensor:
        return step.z.mean()


class Idle(Regularizer):
    def __init__(self) -> None:
        super().__init__()
        self.critic = nn.Linear(2, 2)

    def after_step(self, step: Step) -> None: ...


class Untrainable(NoCritic):
    def __init__(self) -> None:
        super().__init__()
        self.critic = nn.Tanh()


class TheEncoderItself(ACAI):
    def build(self, architecture: Architecture) -> None:
        self.critic = EncoderCritic(architecture.encoder)


class Misspelled(Regularizer):
    def modle_loss(self, step: Step) -> Tensor:
        return step.z.mean()


class DoubtAlone(Regularizer):
    def doubt(self, z: Tensor, x: Tensor) -> Tensor:
        return z.flatten(1).norm(dim=1)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (NoCritic, "NoCritic defines own_loss, but there is nothing for it to train: set self.critic"),
        (Idle, "Idle has a critic, but no own_loss that trains it"),
        (Untrainable, "Untrainable.critic has no parameters to train: make its layers in build"),
        (TheEncoderItself, "TheEncoderItself.critic has weights of the encoder or decoder.*give it layers of its own"),
        (Misspelled, "Misspelled.modle_loss is no hook: did you mean model_loss?"),
        (DoubtAlone, "DoubtAlone writes none of the hooks corrupt, .*, after_step: it does nothing in training"),
    ],
)
def test_what_cannot_train_is_refused_before_training(part: type[Regularizer], message: str) -> None:
    with pytest.raises(UserError, match=message):
        trainer([part()])


class Helped(Regularizer):
    def prepared(self, step: Step) -> dict[str, Tensor]:
        return {"double": 2 * step.z}

    def prepare(self, step: Step, noise: Generator) -> dict[str, Tensor]:
        return self.prepared(step)


class BuildAlone(Regularizer):
    def build(self, architecture: Architecture) -> None:
        nn.utils.parametrizations.weight_norm(next(m for m in architecture.encoder.modules() if hasattr(m, "weight")))


@pytest.mark.parametrize("part", [Helped, BuildAlone])
def test_a_helper_nearly_called_like_a_hook_that_is_written_and_build_alone_are_well(part: type[Regularizer]) -> None:
    assert "model" in trainer([part()]).objective.players


LATENT = r"return a tensor of shape \[6, 2, 2, 2\]"
EXTRAS = r"as extras: return a dict of tensors, such as \{'mu': mu\}"
SCALAR = r"return the loss as a scalar tensor, such as x\.mean\(\)"


@pytest.mark.parametrize(
    ("hook", "returned", "message"),
    [
        ("corrupt", lambda x: None, r"returns None: return a tensor of shape \[6, 1, 8, 8\]"),
        ("posterior", lambda h: None, f"returns None: {LATENT}"),
        ("posterior", lambda h: (h, h, {}), f"returns a tuple: {LATENT}"),
        ("posterior", lambda h: (h, h), rf"returns a tensor of shape \[6, 2, 2, 2\] {EXTRAS}"),
        ("emit", lambda z: z.flatten(1), rf"returns a tensor of shape \[6, 8\]: {LATENT}"),
        ("emit", lambda z: (z, {"one": 1.0}), "returns 1.0 as the extra 'one': return a tensor"),
        ("prepare", lambda step: None, f"returns None {EXTRAS}"),
        ("model_loss", lambda step: None, f"returns None: {SCALAR}"),
        ("model_loss", lambda step: step.z.mean().item(), rf"returns -?[\d.e-]+: {SCALAR}"),
        ("own_loss", lambda step: step.z.flatten(1).mean(1), rf"returns a tensor of shape \[6\]: {SCALAR}"),
    ],
)
def test_what_a_hook_returns_is_checked(
    hook: str, returned: Callable[..., object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    t = trainer([ACAI()])
    monkeypatch.setattr(ACAI, hook, lambda self, given, noise=None: returned(given))
    with pytest.raises(UserError, match=rf"ACAI\.{hook} {message}"):
        t.step()


def test_an_own_loss_that_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    t = trainer([ACAI()], probe=False)
    monkeypatch.setattr(ACAI, "own_loss", lambda self, step: step.z.mean())
    with pytest.raises(UserError, match=r"ACAI/critic: no own_loss moves a weight: compute it by self\.critic"):
        t.step()


def test_what_networks_and_likelihoods_return_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    t = trainer([])
    monkeypatch.setattr(MSE, "loss", lambda self, output, x: (output - x).square().mean((1, 2, 3)))
    with pytest.raises(UserError, match=rf"MSE\.loss returns a tensor of shape \[6\]: {SCALAR}"):
        t.step()
    monkeypatch.setattr(ConvEncoder, "forward", lambda self, x: x)
    with pytest.raises(UserError, match=rf"ConvEncoder returns a tensor of shape \[6, 1, 8, 8\]: {LATENT}"):
        t.step()


class Counting(DenseCritic):
    """Counts how often it is asked."""

    asked = 0

    def forward(self, x: Tensor) -> Tensor:
        self.asked += 1
        return super().forward(x)


def test_a_critic_answers_once() -> None:
    critic, x = Counting((3,)), torch.rand(2, 4)
    critic.build((4,))
    with answering_once([critic]):
        first, again, other = critic(x), critic(x), critic(x.clone())
        with torch.no_grad():
            bare = critic(x)
        assert first is again and critic.asked == 3
    assert torch.equal(first, other) and first.requires_grad and not bare.requires_grad
    assert critic(x) is not critic(x)
    assert "forward" not in vars(critic)


def test_an_answer_that_was_changed_in_place_is_none() -> None:
    critic, x = Counting((3,)), torch.rand(2, 4)
    critic.build((4,))
    with torch.no_grad(), answering_once([critic]):
        first = critic(x).clone()
        critic(x).mul_(2)
        assert torch.equal(critic(x), first)
        x.mul_(2)
        assert not torch.equal(critic(x), first)


def test_answering_once_ends_with_an_error_and_keeps_what_was_there() -> None:
    critic = Counting()
    critic.forward = patched = lambda x: x  # type: ignore[method-assign]

    def fail() -> None:
        with answering_once([critic, critic]):
            assert critic.forward is not patched
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert critic.forward is patched


def test_acai_asks_its_critic_twice_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """About the mixes, which both losses are about, and about the blend."""
    t = trainer([ACAI(critic=(critic := EncoderCritic(ConvEncoder(2, 1, 1))))])
    asked = []
    forward = type(critic).forward
    monkeypatch.setattr(type(critic), "forward", lambda self, x: asked.append(len(x)) or forward(self, x))
    t.step()
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (list, []),
        (lambda: [LatentDropout(), Denoising()], []),
        (lambda: [KL(), vq()], ["KL", "VQEMA"]),
        (lambda: [ACAI(), KL(), ACAI()], ["ACAI", "KL", "ACAI_2", "ACAI/critic", "ACAI_2/critic"]),
    ],
)
@pytest.mark.parametrize("probe", [True, False])
def test_names_of_the_losses(make: Make, names: list[str], probe: bool) -> None:
    losses = trainer(make(), probe=probe).step()
    assert list(losses) == ["reconstruction", *names, *["probe"] * probe]
    assert all(loss.dim() == 0 and not loss.requires_grad and loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize("likelihood", [MSE(), Bernoulli()])
def test_reconstruction_is_held_against_the_clean_data(likelihood: Likelihood) -> None:
    t = trainer([Denoising(), LatentDropout()], likelihood=likelihood)
    x, _ = t.stream.next()
    before = x.clone()
    run = forward(t.model, x, t.noise, want_code=False)
    step = run.views["Denoising"]
    assert torch.equal(step.x, before)
    assert not torch.allclose(step.h, t.model.encoder(x))
    output = step.x_hat if isinstance(likelihood, MSE) else torch.logit((step.x_hat + 1) / 2)
    torch.testing.assert_close(run.terms["reconstruction"], likelihood.loss(output, x), rtol=1e-4, atol=1e-4)
    assert run.code is None


class Affine(Regularizer):
    """Scales and shifts whatever passes, so that the order of two shows; keeps what it sees."""

    emit_draws = False

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.scale, self.shift = scale, shift

    def corrupt(self, x: Tensor, noise: Generator | None) -> Tensor:
        return self.scale * x + self.shift

    def posterior(self, h: Tensor, noise: Generator | None) -> tuple[Tensor, dict[str, Tensor]]:
        return self.scale * h + self.shift, {"before": h}

    def emit(self, z: Tensor, noise: Generator | None) -> tuple[Tensor, dict[str, Tensor]]:
        return self.scale * z + self.shift, {"emitted": z}

    def prepare(self, step: Step, noise: Generator) -> dict[str, Tensor]:
        return {"again": step.decode(step.z), "clean": step.encode(step.x)}


def test_data_meet_the_regularizers_in_order() -> None:
    t = trainer([Affine(2, 0), Affine(1, 1)])
    x, _ = t.stream.next()
    run = forward(t.model, x, t.noise, want_code=True)
    first, second = run.views.values()
    h = t.model.encoder(2 * x + 1)
    torch.testing.assert_close(first.h, h)
    torch.testing.assert_close(first.z, 2 * h + 1)
    torch.testing.assert_close([first.before, second.before], [h, 2 * h])
    torch.testing.assert_close([first.emitted, second.emitted], [first.z, 2 * first.z])
    torch.testing.assert_close(first.x_hat, t.model.decoder(2 * first.z + 1))
    torch.testing.assert_close(second.again, first.x_hat)
    torch.testing.assert_close(second.clean, 2 * t.model.encoder(x) + 1)
    torch.testing.assert_close(run.code, 2 * t.model.encoder(x) + 1)


def test_extras_are_private() -> None:
    t = trainer([KL(), ACAI(), vq()])
    run = forward(t.model, t.stream.next()[0], t.noise, want_code=False)
    assert {name: set(view.extras) for name, view in run.views.items()} == {
        "KL": {"mu", "log_var"},
        "ACAI": {"alpha", "x_mix"},
        "VQEMA": {"u", "q", "index"},
    }


@every_model
def test_the_probe_reads_the_models_code(make: Make) -> None:
    t = trainer(make())
    t.step()
    seen: list[Tensor] = []
    assert t.probe is not None
    t.probe.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x, y = t.stream.next()
    code = t.model.code(x)
    losses, _ = t.objective.backward(x, y, t.noise)
    assert len(seen) == 1 and not seen[0].requires_grad
    torch.testing.assert_close(seen[0], code)
    assert y is not None
    expected = -t.probe(code).log_softmax(1)[torch.arange(6), y].mean()
    torch.testing.assert_close(losses["probe"], expected)


@every_model
def test_training_without_the_probe_is_the_same_to_the_bit(make: Make) -> None:
    probed, plain = trainer(make()), trainer(make(), probe=False)
    for _ in range(3):
        losses = [t.step() for t in (probed, plain)]
        assert losses[0].keys() - losses[1].keys() == {"probe"}
        assert all(torch.equal(losses[0][name], loss) for name, loss in losses[1].items())
    one, other = probed.model.state_dict(), plain.model.state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


PARTS: dict[str, Callable[[], Regularizer]] = {
    "ACAI": ACAI,
    "AdversarialPrior": AdversarialPrior,
    "Denoising": Denoising,
    "KL": KL,
    "LatentDropout": LatentDropout,
    "VQEMA": vq,
}


@pytest.mark.parametrize(("name", "other"), [pair for pair in permutations(PARTS, 2) if pair[0] != "VQEMA"])
def test_a_regularizer_never_changes_the_draws_of_another(name: str, other: str) -> None:
    make, make_other = PARTS[name], PARTS[other]
    alone, *together = (trainer(parts) for parts in ([make()], [make(), make_other()], [make_other(), make()]))
    start = alone.noise[name].get_state()
    for _ in range(3):
        for t in (alone, *together):
            t.step()
        for t in together:
            assert torch.equal(t.noise[name].get_state(), alone.noise[name].get_state())
            assert torch.equal(t.data_order.get_state(), alone.data_order.get_state())
    assert not torch.equal(start, alone.noise[name].get_state())


def test_noise_is_drawn_in_every_decoding() -> None:
    """What a second player decodes passes through dropout too, with a mask of its own."""
    t = trainer([LatentDropout(), Affine(1, 0)])
    step = forward(t.model, t.stream.next()[0], t.noise, want_code=False).views["Affine"]
    assert not torch.allclose(step.again, step.x_hat)
    assert not torch.allclose(step.again, t.model.decoder(step.z))


def test_model_losses_do_not_move_critics() -> None:
    parts = [[AdversarialPrior(weight=w), ACAI(weight=w)] for w in (0.0, 1000.0)]
    for player in ("AdversarialPrior", "ACAI"):
        assert same(*(gradients(trainer(each), player) for each in parts))
    assert not same(*(gradients(trainer(each), "model") for each in parts))


def test_own_losses_do_not_move_the_model() -> None:
    first, second = (trainer([ACAI(gamma=gamma)]) for gamma in (0.0, 1.0))
    one, other = gradients(first, "model"), gradients(second, "model")
    assert same(one, other)
    assert not same(*([p.grad for p in t.objective.players["ACAI"]] for t in (first, second)))


class Inner(Regularizer):
    """Its own layer sits beside its critic, and both losses use both."""

    def build(self, architecture: Architecture) -> None:
        self.ours = Linear(8, 8)
        self.critic = DenseCritic(hidden=())
        self.critic.build((8,))

    def model_loss(self, step: Step) -> Tensor:
        return self.critic(self.ours(step.z.flatten(1))).mean()

    def own_loss(self, step: Step) -> Tensor:
        return 1000 * self.critic(self.ours(step.z.flatten(1))).square().mean()


def test_a_regularizers_own_layers_move_with_the_model() -> None:
    t = trainer([Inner()])
    x, y = t.stream.next()
    t.objective.backward(x, y, t.noise)
    part = t.model.regularizers["Inner"]
    z = t.model.encoder(x).flatten(1)
    for loss, layer in (
        (part.critic(part.ours(z)).mean(), part.ours),
        (1000 * part.critic(part.ours(z)).square().mean(), part.critic),
    ):
        parameters = list(layer.parameters())
        expected = torch.autograd.grad(loss, parameters)
        torch.testing.assert_close([p.grad for p in parameters], list(expected))


class CriticInThePath(Inner):
    """Its critic also says what the decoder reads."""

    def posterior(self, h: Tensor, noise: Generator | None) -> Tensor:
        return h * (1 + self.critic(h.flatten(1)).view(-1, 1, 1, 1))


def test_own_losses_do_not_move_other_critics() -> None:
    alone, beside = trainer([CriticInThePath()]), trainer([CriticInThePath(), AdversarialPrior()])
    assert same(*(gradients(t, "CriticInThePath") for t in (alone, beside)))


def test_layers_frozen_in_training_stay() -> None:
    t = trainer([ACAI()])
    t.step()
    for frozen in (t.model.encoder, t.model.regularizers["ACAI"].critic):
        frozen.requires_grad_(False)
        before = {name: value.clone() for name, value in frozen.state_dict().items()}
        t.step()
        assert same(list(before.values()), list(frozen.state_dict().values()))


class Penalty(ACAI):
    """Differentiates by a tensor of the step (WGAN-GP)."""

    def own_loss(self, step: Step) -> Tensor:
        (slope,) = torch.autograd.grad(self.critic(step.x_mix).sum(), step.x_mix, create_graph=True)
        return super().own_loss(step) + (slope.flatten(1).norm(dim=1) - 1).square().mean()


def test_a_gradient_penalty() -> None:
    check_regularizer(Penalty)
    assert not same(*(gradients(trainer([part]), part.__class__.__name__) for part in (ACAI(), Penalty())))


class Clamped(ACAI):
    def own_loss(self, step: Step) -> Tensor:
        step.x_hat.clamp_(-1, 1)
        return super().own_loss(step)


class Keeping(Regularizer):
    last: Tensor | None = None

    def model_loss(self, step: Step) -> Tensor:
        before, self.last = self.last, step.z
        return step.z.mean() if before is None else (step.z - before).square().mean()


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Clamped, "a network or a hook of Clamped changes in place what a gradient needs: .* after_step moves buffers"),
        (Keeping, "a network or a hook of Keeping uses a tensor of an earlier step with the graph behind it, or calls"),
    ],
)
def test_what_hooks_may_not_do_is_told(part: type[Regularizer], message: str) -> None:
    t = trainer([part()])
    with pytest.raises(UserError, match=message):
        train(t)


def test_backward_adds_to_the_gradients_and_leaves_the_weights() -> None:
    t = trainer([AdversarialPrior(), LatentDropout()])
    x, y = t.stream.next()
    weights = {name: value.clone() for name, value in t.model.state_dict().items()}
    states = {name: g.get_state() for name, g in t.noise.items()}
    once: list[Tensor] = []
    for _ in range(2):
        for name, g in t.noise.items():
            g.set_state(states[name])
        _, views = t.objective.backward(x, y, t.noise)
        parameters = [p for each in t.objective.players.values() for p in each]
        once = once or [p.grad.clone() for p in parameters]
    torch.testing.assert_close([p.grad for p in parameters], [2 * g for g in once])
    assert all(torch.equal(weights[name], value) for name, value in t.model.state_dict().items())
    assert all(p.requires_grad for p in parameters)
    assert not any(
        value.requires_grad for value in (*views["AdversarialPrior"].extras.values(), views["LatentDropout"].z)
    )
