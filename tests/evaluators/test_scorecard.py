from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from acaikit.data import Dataset, Digits, Disc, Lines, Rendered, Sinusoid, Split, Stream
from acaikit.data.base import Shuffled
from acaikit.errors import EvaluationError, EvaluationWarning, UserError
from acaikit.evaluators import path_scores
from acaikit.evaluators.base import Result, Trained
from acaikit.evaluators.columns import Column, Scene, flawless, floor
from acaikit.evaluators.columns import score as score_column
from acaikit.evaluators.counterfeits import counterfeits, dissolves
from acaikit.evaluators.factor import score_paths
from acaikit.evaluators.neighbours import Neighbours
from acaikit.evaluators.rows import ROWS, about
from acaikit.evaluators.scorecard import Scorecard
from acaikit.paths import lerp
from acaikit.paths.base import AnyPath
from acaikit.regularizers.acai import ACAI
from acaikit.regularizers.adversarial_prior import AdversarialPrior

STRAIGHT = ("lerp", "slerp", "nlerp")
COUNTERFEITS = ("cross_dissolve", "abrupt_switch", "collapsed")
RENDERED = {"lines": Lines(16, 16), "disc": Disc(16, 16, radius=2.5), "sinusoid": Sinusoid(32, 3)}

rendered = pytest.mark.parametrize("dataset", RENDERED.values(), ids=RENDERED)


class Fixed(Dataset):
    """A dataset of given training and test examples."""

    def __init__(self, train: Tensor, test: Tensor) -> None:
        self.shape, self._train, self._test = tuple(test.shape[1:]), train, test

    def train(self, batch_size: int, generator: Generator, device: torch.device | str = "cpu") -> Stream:
        return Shuffled(Split(self._train), batch_size, generator, device)

    def test(self) -> Split:
        return Split(self._test)


class Toy(nn.Module):
    """A stand-in for an autoencoder, whose encoder and decoder are any two functions."""

    def __init__(
        self, encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor], **critics: object
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.encode, self.decode, self.regularizers = encode, decode, critics


def trained(dataset: Dataset, encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor]) -> Trained:
    return Trained(Toy(encode, decode), None, dataset)  # type: ignore[arg-type]


def identity(dataset: Dataset) -> Trained:
    """The best compressor of nothing: its paths are cross-dissolves."""
    return trained(dataset, lambda x: x, lambda z: z)


def oracle(dataset: Rendered) -> Trained:
    """A model that knows the factor: the latent is the nearest reference's, on a circle as a point of the circle."""
    factor = dataset.factor
    grid = factor.grid(2000)
    images = nn.functional.normalize(dataset.render(grid).flatten(1), dim=1)

    def encode(x: Tensor) -> Tensor:
        values = grid[(x.flatten(1) @ images.T).argmax(1)].float()
        return torch.stack([values.cos(), values.sin()], 1) if factor.periodic else values[:, None]

    def decode(z: Tensor) -> Tensor:
        values = torch.atan2(z[:, 1], z[:, 0]) % (2 * math.pi) if factor.periodic else z[:, 0]
        return dataset.render(values.double())

    return trained(dataset, encode, decode)


def rows_of(result: Result, column: str) -> dict[str, float]:
    return {name.split("/")[0]: value for name, value in result.scores.items() if name.endswith(f"/{column}")}


@cache
def measured(name: str) -> Result:
    with torch.no_grad():
        return Scorecard(24, 16, STRAIGHT, neighbours=1000).evaluate(oracle(RENDERED[name]))


@pytest.mark.parametrize("name", RENDERED)
def test_counterfeits_lose_on_the_headline_against_perfect_paths_and_a_model_that_knows_the_factor(name: str) -> None:
    scores = measured(name).scores
    path = "lerp" if name == "disc" else "slerp"
    for good in (path, "perfect"):
        assert scores[f"headline/{good}"] > 0.8
        assert scores[f"ends/{good}"] > 0.98
        assert scores[f"middle/{good}"] > 0.98
    assert [scores[f"headline/{bad}"] for bad in COUNTERFEITS] == [0, 0, 0]
    assert scores[f"headline/{path}"] == pytest.approx(scores["headline/perfect"], abs=0.02)


@pytest.mark.parametrize("name", RENDERED)
def test_each_counterfeit_has_nothing_in_a_skill_of_its_own(name: str) -> None:
    scores = measured(name).scores
    for bad, skill in zip(COUNTERFEITS, ("middle", "evenness", "ends"), strict=True):
        assert scores[f"{skill}/{bad}"] == 0
    assert scores["ends/cross_dissolve"] == scores["ends/abrupt_switch"] == 1
    assert scores["evenness/cross_dissolve"] == pytest.approx(1, abs=1e-5)
    assert scores["middle/abrupt_switch"] == pytest.approx(1)


@rendered
def test_decoders_that_do_what_the_counterfeits_do_lose_too(dataset: Rendered) -> None:
    mean, examples = dataset.training(1000).data.mean(0), dataset.test().examples(slice(48))

    def encode(x: Tensor) -> Tensor:
        """Say which example it is: on a path between two, how much of each."""
        return (torch.cdist(x.flatten(1), examples.flatten(1)).argmin(1, keepdim=True) == torch.arange(48)).float()

    decoders = (
        lambda z: torch.einsum("be,e...->b...", z, examples),
        lambda z: examples[z.argmax(1)],
        lambda z: mean.expand(len(z), *mean.shape),
    )
    for decode, counterfeit in zip(decoders, COUNTERFEITS, strict=True):
        result = Scorecard(24, 16, ("lerp",), neighbours=1000).evaluate(trained(dataset, encode, decode))
        found, expected = rows_of(result, "lerp"), rows_of(result, counterfeit)
        # A rounding error is not yet a skill of exactly 0, and a cube root makes it larger.
        assert found.pop("headline") < 0.02 and expected.pop("headline") == 0
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5, nan_ok=True)


def test_on_digits_the_counterfeits_lose_against_a_model_that_was_trained_for_seconds() -> None:
    dataset = Digits(flat=True)
    x = dataset.training().examples(slice(None))
    with torch.enable_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
        decoder = nn.Sequential(nn.Linear(10, 128), nn.ReLU(), nn.Linear(128, 64))
        optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 3e-3)
        for _ in range(400):
            batch = x[torch.randint(len(x), (128,))]
            optimizer.zero_grad()
            (decoder(encoder(batch)) - batch).square().mean().backward()
            optimizer.step()
    scores = Scorecard(64, 16, STRAIGHT).evaluate(trained(dataset, encoder, decoder)).scores
    # Of a plain autoencoder lerp is hardly better than a toned dissolve.
    for path in ("slerp", "nlerp"):
        assert scores[f"headline/{path}"] > 0.35
    assert [scores[f"headline/{bad}"] for bad in COUNTERFEITS] == [0, 0, 0]
    assert scores["headline/perfect"] == 1


@pytest.mark.parametrize("dataset", [*RENDERED.values(), Digits()], ids=[*RENDERED, "digits"])
@pytest.mark.parametrize("s", [0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
def test_a_dissolve_through_a_tone_curve_gets_nothing_with_ends_that_are_met_or_sharpened(
    dataset: Dataset, s: float
) -> None:
    full = math.tanh(s)

    def tone(z: Tensor) -> Tensor:
        return torch.tanh(s * z) / full

    for encode in (lambda x: (full * x).atanh() / s, lambda x: x):
        result = Scorecard(24, 16, ("lerp",), neighbours=1000).evaluate(trained(dataset, encode, tone))
        scores = rows_of(result, "lerp")
        assert scores["ends"] > 0.3 and scores["evenness"] > 0.25
        assert scores["headline"] < 0.05
        assert result.scores["headline/cross_dissolve"] == 0
        assert result.scores["headline/perfect"] > 0.8


def test_the_floor_is_at_each_point_the_dissolve_that_is_nearest_to_the_data() -> None:
    near, t = Neighbours(Digits().training(300), "cpu"), torch.linspace(0, 1, 7)
    ends = Digits().test().examples(slice(10)).view(5, 2, 1, 8, 8)
    distances = torch.stack([near.distance(paths) for paths in dissolves(ends, t)])
    found = floor(ends, t, near)
    torch.testing.assert_close(found, distances.amin(0)[:, 1:-1])
    assert len(distances[:, :, 1:-1].argmin(0).unique()) > 1


def paths_scene(dataset: Dataset, pairs: int) -> Scene:
    """The scene of an evaluation, for image paths that no model decodes."""
    split = dataset.test()
    ends = split.examples(slice(2 * pairs)).view(2, pairs, *dataset.shape).transpose(0, 1)
    t, near = torch.linspace(0, 1, 16), Neighbours(dataset.training(2000), "cpu")
    real, dissolved = near.distance(ends).mean().item(), floor(ends, t, near).mean().item()
    return Scene(identity(dataset), ends, None, ends, t, near, real, dissolved)


@pytest.mark.parametrize(
    "dataset", [Digits(), RENDERED["lines"], RENDERED["sinusoid"]], ids=["digits", "lines", "waves"]
)
def test_a_dissolve_through_a_third_example_or_a_paler_one_gains_next_to_nothing(dataset: Dataset) -> None:
    scene = paths_scene(dataset, 24)
    x1, x2 = scene.ends.unbind(1)
    third = dataset.test().examples(slice(100, 124))
    half = torch.linspace(0, 1, 8)
    dissolve = lerp(x1, x2, scene.t)
    mean = scene.neighbours.mean
    pale = mean + (dissolve - mean) * (1 - torch.minimum(scene.t, 1 - scene.t)).view(-1, *[1] * len(dataset.shape))
    noisy = dissolve + 0.3 * torch.randn(dissolve.shape, generator=torch.Generator().manual_seed(0))
    jump = torch.where(
        ((scene.t > 0.4) & (scene.t < 0.6)).view(-1, *[1] * len(dataset.shape)), third[:, None], dissolve
    )
    for paths in (torch.cat([lerp(x1, third, half), lerp(third, x2, half)], 1), pale, noisy, jump):
        limit = 0.45 if paths is jump else 0.1
        assert score_column(Column(paths, None, paths), scene)["headline"] < limit
    real = score_column(Column(counterfeits(scene.ends, scene.t, mean)["abrupt_switch"], None, dissolve), scene)
    assert real["middle"] == pytest.approx(1)


@rendered
def test_every_row_is_that_of_its_function(dataset: Rendered) -> None:
    pairs, steps = 20, 7  # more paths than are decoded at a time
    model = oracle(dataset)
    result = Scorecard(pairs, steps, ("lerp",), neighbours=300).evaluate(model)
    x = dataset.test().examples(slice(2 * pairs))
    ends = torch.stack([x[:pairs], x[pairs:]], 1)
    z = torch.stack([model.model.encode(x[:pairs]), model.model.encode(x[pairs:])], 1)
    along = lerp(z[:, 0], z[:, 1], torch.linspace(0, 1, steps))
    images = torch.stack([model.model.decode(path) for path in along])
    found = rows_of(result, "lerp")
    for row in ("endpoint_mse", "evenness", "monotonicity", "length_ratio", "step_ratio"):
        expected = getattr(path_scores, row)(images, ends)
        np.testing.assert_allclose(result.arrays[f"{row}/lerp"], expected.numpy(), atol=1e-6)
        assert found[row] == pytest.approx(expected.mean().item(), abs=1e-6)
    factors = dataset.test_factors[: 2 * pairs].view(2, pairs).T
    for row, value in score_paths(images, dataset, factors).items():
        assert found[row] == pytest.approx(value, abs=1e-5)
    near = Neighbours(dataset.training(300), "cpu")
    real, middle = near.distance(ends).mean().item(), near.distance(images[:, 3]).mean().item()
    dissolved = floor(ends, torch.linspace(0, 1, steps), near).mean().item()
    ratio = middle / real if real > 0.01 * dissolved else math.nan
    assert found["nearest_ratio"] == pytest.approx(ratio, rel=1e-3, nan_ok=True)
    again = torch.stack([model.model.encode(path) for path in images])
    cycle = (again - along).norm(dim=2).mean() / (z[:, 0] - z[:, 1]).norm(dim=1).mean()
    assert found["cycle_error"] == pytest.approx(cycle.item(), abs=1e-6)
    blank = (near.mean - ends).square().mean().item()
    assert found["ends"] == pytest.approx(1 - found["endpoint_mse"] / blank, abs=1e-5)
    assert found["headline"] == pytest.approx(
        (found["ends"] * found["evenness"] * found["middle"]) ** (1 / 3), abs=1e-9
    )
    assert result.arrays["pairs"].tolist() == [[i, i + pairs] for i in range(pairs)]


def test_real_examples_that_have_one_next_to_them_are_no_unit() -> None:
    for neighbours, known in ((20, True), (3000, False)):
        scores = Scorecard(8, 5, ("lerp",), neighbours).evaluate(identity(RENDERED["disc"])).scores
        for column in ("lerp", "perfect", *COUNTERFEITS):
            assert math.isfinite(scores[f"nearest_ratio/{column}"]) == known
    assert Scorecard(8, 5, ("lerp",), 50).evaluate(identity(Digits())).scores["nearest_ratio/perfect"] == 1
    copies = torch.randint(2, (40, 3), generator=torch.Generator().manual_seed(0)).float()
    scene = paths_scene(Fixed(copies, copies), 3)
    assert scene.real == 0 and math.isnan(scene.unit)
    assert math.isnan(flawless(scene)["nearest_ratio"])


def test_an_even_path_has_two_middle_images() -> None:
    dataset = Digits()
    result = Scorecard(4, 4, ("lerp",), neighbours=300).evaluate(identity(dataset))
    x = dataset.test().examples(slice(8))
    near = Neighbours(dataset.training(300), "cpu")
    inside = lerp(x[:4], x[4:], torch.tensor([1 / 3, 2 / 3]))
    expected = near.distance(inside).mean(1) / near.distance(x).mean()
    np.testing.assert_allclose(result.arrays["nearest_ratio/lerp"], expected.numpy(), rtol=1e-4)


def test_columns_and_rows_in_order() -> None:
    names = list(Scorecard(3, 5, ("slerp", "lerp"), neighbours=50).evaluate(identity(Digits())).scores)
    assert list(dict.fromkeys(name.split("/")[1] for name in names)) == ["slerp", "lerp", "perfect", *COUNTERFEITS]
    rows = list(dict.fromkeys(name.split("/")[0] for name in names))
    assert rows == [row for row in ROWS if row in rows] and len(names) == 6 * len(rows)
    for row in dict.fromkeys(name.split("/")[0] for name in measured("disc").scores):
        assert about(row).better in ("higher", "lower", "one", "neither") and about(row).meaning
    assert about("doubt_ACAI") == ROWS["doubt"] and about("endpoint_error_px") == ROWS["endpoint_error"]
    with pytest.raises(KeyError):
        about("nothing")


def test_what_the_critic_says(tiny: Callable[..., Trained]) -> None:
    model = tiny(regularizers=[ACAI()])
    result = Scorecard(4, 6, ("lerp",), neighbours=50).evaluate(model)
    x = model.dataset.test().examples(slice(8))
    paths = model.model.interpolate(x[:4], x[4:], 6)
    critic = model.model.regularizers["ACAI"].critic
    expected = [critic(path[1:-1]).mean().item() for path in paths]
    np.testing.assert_allclose(result.arrays["doubt_ACAI/lerp"], expected, rtol=1e-4)
    switch = [(2 * critic(a[None]) + 2 * critic(b[None])).item() / 4 for a, b in zip(x[:4], x[4:], strict=True)]
    np.testing.assert_allclose(result.arrays["doubt_ACAI/abrupt_switch"], switch, rtol=1e-4)
    assert math.isfinite(result.scores["doubt_ACAI/collapsed"])
    assert not any(name.startswith("doubt") for name in Scorecard(2, 4, ("lerp",), 50).evaluate(tiny()).scores)


def test_a_critic_of_latents_is_shown_those_of_the_references(tiny: Callable[..., Trained]) -> None:
    model = tiny(regularizers=[AdversarialPrior()])
    result = Scorecard(4, 6, ("lerp",), neighbours=50).evaluate(model)
    x = model.dataset.test().examples(slice(8))
    z = model.model.encode(x)
    doubts = model.model.regularizers["AdversarialPrior"].doubt(z, x)
    expected = {"abrupt_switch": (doubts[:4] + doubts[4:]) / 2}
    inside = lerp(z[:4], z[4:], torch.linspace(0, 1, 6)[1:-1])
    expected["lerp"] = torch.stack([model.model.doubts(path)["AdversarialPrior"].mean() for path in inside])
    for column, doubt in expected.items():
        np.testing.assert_allclose(result.arrays[f"doubt_AdversarialPrior/{column}"], doubt.numpy(), rtol=1e-4)


def test_a_path_that_stands_still_is_left_out_of_what_it_has_no_answer_to() -> None:
    dataset = Fixed(blobs(50, 0), blobs(6, 1))
    still = dataset.test().data[[0, 3]]

    def stand(z: Tensor) -> Tensor:
        # The first pair's latents are on the line between its examples, and nothing else is.
        line = nn.functional.normalize(still[1] - still[0], dim=0)
        off = (z - still[0]) - ((z - still[0]) @ line)[:, None] * line
        return torch.where(off.norm(dim=1, keepdim=True) < 1e-4, still[0], z)

    result = Scorecard(3, 5, ("lerp",)).evaluate(trained(dataset, lambda x: x, stand))
    for row, value in {"step_ratio": math.nan, "length_ratio": math.nan, "evenness": 0, "monotonicity": 0}.items():
        np.testing.assert_allclose(result.arrays[f"{row}/lerp"], [value, 1, 1], rtol=1e-5)
        assert result.scores[f"{row}/lerp"] == pytest.approx(1 if math.isnan(value) else 2 / 3)


def test_it_changes_nothing_and_draws_from_no_global_generator(tiny: Callable[..., Trained]) -> None:
    model = tiny(regularizers=[ACAI()])
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    evaluator, state = Scorecard(20, 5, STRAIGHT, 50), torch.get_rng_state()
    first, second = evaluator.evaluate(model), evaluator.evaluate(model)
    np.testing.assert_equal(first.scores, second.scores)
    assert torch.get_rng_state().equal(state)
    assert all(value.equal(before[name]) for name, value in model.model.state_dict().items())


def blobs(count: int, seed: int, dimensions: int = 3) -> Tensor:
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))


def test_pairs_of_equal_examples_are_left_out_aloud() -> None:
    test = blobs(8, 1)
    test[5] = test[1]
    with pytest.warns(EvaluationWarning, match="1 of 4 pairs"):
        result = Scorecard(9, 4, ("lerp",)).evaluate(identity(Fixed(blobs(50, 0), test)))
    assert result.arrays["pairs"].tolist() == [[0, 4], [2, 6], [3, 7]]
    assert all(len(array) == 3 for array in result.arrays.values())
    assert math.isfinite(result.scores["length_ratio/lerp"])
    with pytest.raises(EvaluationError, match="each of 3 pairs are equal"):
        Scorecard(9, 4, ("lerp",)).evaluate(identity(Fixed(blobs(50, 0), torch.ones(6, 3))))


def test_examples_that_are_trained_on_too_are_not_their_own_neighbours() -> None:
    examples = blobs(40, 0)
    result = Scorecard(4, 5, ("lerp",)).evaluate(identity(Fixed(examples, examples)))
    others = Neighbours(Split(examples[8:]), "cpu")
    expected = others.distance(lerp(examples[:4], examples[4:8], torch.tensor([0.5]))).mean()
    assert result.scores["nearest_ratio/lerp"] == pytest.approx(
        (expected / others.distance(examples[:8]).mean()).item(), rel=1e-5
    )
    with pytest.raises(EvaluationError, match="no training examples"):
        Scorecard(20, 5, ("lerp",)).evaluate(identity(Fixed(examples, examples)))


def test_where_dissolves_are_as_real_as_examples_the_headline_is_unknown() -> None:
    """On a line segment, with examples rare at its ends, what lies between two examples is realer than they are."""
    train = blobs(2000, 0, 1) * torch.tensor([[1.0, 2.0, -1.0]])
    test = torch.tensor([[-3.0], [-3.1], [-3.2], [3.0], [3.1], [3.2]]) * torch.tensor([[1.0, 2.0, -1.0]])
    scores = Scorecard(3, 8, ("lerp",)).evaluate(identity(Fixed(train, test))).scores
    for column in ("lerp", "perfect", "cross_dissolve"):
        assert math.isnan(scores[f"headline/{column}"]) and math.isnan(scores[f"middle/{column}"])
    assert scores["headline/collapsed"] == scores["headline/abrupt_switch"] == 0
    assert scores["evenness/lerp"] == pytest.approx(1) and scores["ends/lerp"] == 1


def test_a_constant_encoder_gets_nothing_but_no_error() -> None:
    constant = trained(Digits(), lambda x: x.flatten(1)[:, :2] * 0, lambda z: torch.zeros(len(z), 1, 8, 8))
    scores = Scorecard(6, 5, ("lerp", "slerp", "nlerp")).evaluate(constant).scores
    for path in STRAIGHT:
        assert [scores[f"{row}/{path}"] for row in ("headline", "evenness", "middle", "monotonicity")] == [0, 0, 0, 0]
        assert all(math.isnan(scores[f"{row}/{path}"]) for row in ("cycle_error", "step_ratio", "length_ratio"))


def test_two_test_examples_are_enough() -> None:
    one, two = Fixed(blobs(9, 0), blobs(1, 1)), Fixed(blobs(9, 0), blobs(2, 1))
    evaluator = Scorecard(paths=("lerp",), steps=3)
    assert not evaluator.fits(identity(one))
    assert evaluator.fits(identity(two))
    assert evaluator.evaluate(identity(two)).arrays["pairs"].tolist() == [[0, 1]]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    dataset = Fixed(blobs(9, 0), blobs(8, 1))
    first = dataset.test().data[0]

    def spoil(x: Tensor) -> Tensor:
        return torch.where((x == first).all(1, keepdim=True), value, x)

    with pytest.raises(EvaluationError, match=r"lerp: 1 of 4 decoded paths hold NaN .* --step"):
        Scorecard(paths=("lerp",)).evaluate(trained(dataset, lambda x: x, spoil))
    with pytest.raises(EvaluationError, match=r"the latents of 1 of 4 pairs hold NaN"):
        Scorecard(paths=("lerp",)).evaluate(trained(dataset, spoil, lambda z: z))


def squared(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    return lerp(a, b, t**2)


def squared_2(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    return lerp(a, b, t**3)


def collapsed(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    return lerp(a, a, t)


def test_paths_of_ones_own_and_two_of_a_kind() -> None:
    evaluator = Scorecard(3, 4, ("lerp", squared, "lerp", squared), 50)
    names = evaluator.evaluate(identity(Digits())).scores
    assert [n.split("/")[1] for n in names][:4] == ["lerp", "squared", "lerp_2", "squared_2"]
    assert names["evenness/squared"] < names["evenness/lerp"]
    assert evaluator.protocol == {
        "evaluator": "Scorecard",
        "version": 2,
        "pairs": 3,
        "steps": 4,
        "neighbours": 50,
        "paths": ["lerp", f"{__name__}:squared", "lerp", f"{__name__}:squared"],
    }


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        ((squared, squared, squared_2), ["squared", "squared_3", "squared_2"]),
        ((squared_2, squared, squared), ["squared_2", "squared", "squared_3"]),
        ((squared, squared_2, squared_2, squared), ["squared", "squared_2", "squared_2_2", "squared_3"]),
        (("lerp", "lerp", "lerp"), ["lerp", "lerp_2", "lerp_3"]),
    ],
)
def test_no_two_paths_share_a_column(paths: tuple[AnyPath, ...], names: list[str]) -> None:
    scores = Scorecard(2, 4, paths, 20).evaluate(identity(Digits())).scores
    assert [n.split("/")[1] for n in scores if n.startswith("headline/")][: len(paths)] == names
    of = {path: scores[f"evenness/{name}"] for path, name in zip(paths, names, strict=True)}
    assert all(scores[f"evenness/{name}"] == of[path] for path, name in zip(paths, names, strict=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pairs": 0}, "Scorecard.pairs must be a whole number of at least 1"),
        ({"steps": 2}, "Scorecard.steps must be a whole number of at least 3"),
        ({"neighbours": 0}, "Scorecard.neighbours must"),
        ({"paths": ()}, "Scorecard.paths must list at least one path"),
        ({"paths": "lerp"}, "Scorecard.paths must list at least one path, such as .*, not 'lerp'"),
        ({"paths": ("lerp", "nowhere")}, "Scorecard.paths: .*nowhere"),
        ({"paths": (3,)}, "Scorecard.paths must be a path"),
        ({"paths": ("lerp", collapsed)}, "Scorecard.paths: 'collapsed' is a column of the scorecard's own"),
    ],
)
def test_arguments_that_make_no_sense(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Scorecard(**settings)  # type: ignore[arg-type]


def test_nothing_is_said_where_all_is_well() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Scorecard(3, 4, ("lerp",), 20).evaluate(identity(Digits()))
