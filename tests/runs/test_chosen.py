from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from acaikit import registry
from acaikit.config import read_bindings
from acaikit.errors import ConfigError, Note, UserError
from acaikit.evaluators import Evaluator, FactorBenchmark, Interpolation, ProbeAccuracy, Reconstruction
from acaikit.paths import Geodesic
from acaikit.runs.chosen import choose

OWN = [FactorBenchmark(pairs=3, steps=5), Reconstruction(limit=7)]


def chosen(asked: Sequence[str], *bindings: str, protocol: str | None = None) -> list[dict[str, Any]]:
    return [evaluator.protocol for evaluator in choose(OWN, asked, protocol, read_bindings(bindings))]


def test_nothing_asked_for_is_what_the_run_has() -> None:
    assert choose(OWN, [], None, read_bindings([])) == OWN


@pytest.mark.parametrize(
    "name", ["factor", "FactorBenchmark", "evaluators.FactorBenchmark", "acaikit.evaluators.FactorBenchmark"]
)
def test_an_evaluator_goes_by_its_key_and_its_names(name: str) -> None:
    assert choose(OWN, [name], None, read_bindings([])) == OWN[:1]


def test_settings_are_the_runs_own_then_the_defaults() -> None:
    assert chosen(["interpolation", "factor"]) == [Interpolation().protocol, OWN[0].protocol]


def test_a_binding_stands_above_the_runs_own_settings() -> None:
    (found,) = chosen(["factor"], "FactorBenchmark.steps = 9")
    assert (found["pairs"], found["steps"]) == (3, 9)
    assert chosen([], "Reconstruction.limit = 2")[1]["limit"] == 2


def test_a_binding_may_make_a_part_of_its_own() -> None:
    (found,) = chosen(["factor"], "FactorBenchmark.path = @Geodesic()", "Geodesic.points = %n", "n = 6")
    assert found["path"]["path"] == "Geodesic" and found["path"]["points"] == 6
    assert found["pairs"] == 3
    assert isinstance(
        choose([], ["factor"], None, read_bindings(["FactorBenchmark.path = @Geodesic()"]))[0].path, Geodesic
    )


def test_twice_the_same_is_measured_once() -> None:
    assert len(choose([], ["probe", "ProbeAccuracy"], None, read_bindings([]))) == 1


KEYED = """
from acaikit.evaluators import Evaluator
class Base(Evaluator):
    key = "base"
    def __init__(self, share=0.5): self.share = share
    def fits(self, trained): return True
    def evaluate(self, trained): ...
"""


@pytest.fixture
def plugins(install: Callable[..., Path]) -> Path:
    """Evaluators with a key of ours, with a key that two of them have, and with one that their source doesn't say."""
    files = {
        "keyed.py": KEYED,
        "ones.py": "from keyed import Base\nclass Probe(Base):\n    key = 'probe'\n"
        "class Same(Base):\n    key = 'same'\nclass Heir(Base): ...\n",
        "twos.py": "from keyed import Base\nclass Same(Base):\n    key = 'same'\n",
        "broken.py": "open(__file__ + '.seen', 'w').close()\n1 / 0",
    }
    install("acai-broken", "1.0", {"evaluators": {"Broken": "broken:Broken", "Odd": "no entry point"}}, files)
    install("acai-one", "1.0", {"evaluators": {name: f"ones:{name}" for name in ("Probe", "Same", "Heir")}})
    return install("acai-two", "2.0", {"evaluators": {"Twin": "twos:Same"}})


def test_a_key_of_ours_keeps_its_meaning_and_the_other_is_named(plugins: Path) -> None:
    said = "probe is ProbeAccuracy here; for the other of this key say acai_one.evaluators.Probe (from acai-one 1.0)"
    with pytest.warns(Note, match=f"^{re.escape(said)}$"):
        (found,) = choose([], ["probe"], None, read_bindings([]))
    assert isinstance(found, ProbeAccuracy)
    (found,) = choose([], ["Probe"], None, read_bindings([]))
    assert type(found).__module__ == "ones"
    with pytest.raises(UserError, match="ProbeAccuracy and Probe have one key, 'probe', by which results are stored"):
        choose([], ["ProbeAccuracy", "Probe"], None, read_bindings([]))


def test_a_key_that_two_plugins_have_is_ambiguous(plugins: Path) -> None:
    with pytest.raises(UserError) as caught:
        choose([], ["same"], None, read_bindings([]))
    assert str(caught.value) == (
        "the key 'same' is ambiguous: say acai_one.evaluators.Same (from acai-one 1.0) or "
        "acai_two.evaluators.Twin (from acai-two 2.0)"
    )


def test_a_key_that_no_source_says_is_found_by_importing(plugins: Path) -> None:
    (found,) = choose([], ["base"], None, read_bindings([]))
    assert type(found).__name__ == "Heir"


def test_the_part_of_an_evaluator_is_found_without_importing_others(plugins: Path) -> None:
    """Its class may have been made in another module than the entry point names."""
    site = plugins / "front.py"
    site.write_text("from ones import Heir as Front")
    (plugins / "acai_two-2.0.dist-info" / "entry_points.txt").write_text("[acaikit.evaluators]\nFront = front:Front\n")
    (plugins / "acai_one-1.0.dist-info" / "entry_points.txt").write_text("")
    registry.installed.cache_clear()
    front = registry.load("evaluators", "Front")()
    (found,) = choose([front], [], None, read_bindings(["Front.share = 0.25"]))
    assert type(found) is type(front) and found.share == 0.25
    assert not (plugins / "broken.py.seen").exists()


def test_a_protocol_may_put_another_in_its_place() -> None:
    strict = choose([ProbeAccuracy()], ["probe", "reconstruction"], "strict", read_bindings([]))
    assert [evaluator.key for evaluator in strict] == ["linear_probe", "reconstruction"]
    paper = choose([], ["probe", "kmeans"], "paper", read_bindings([]))
    assert [evaluator.key for evaluator in paper] == ["probe", "kmeans"]


def test_settings_reach_what_a_protocol_puts_in_place() -> None:
    bindings = ["KMeans.iterations = 7", "StrictKMeans.seeds = 3"]
    (found,) = chosen(["kmeans"], *bindings, protocol="strict")
    assert (found["evaluator"], found["iterations"], found["seeds"]) == ("StrictKMeans", 7, 3)


@pytest.mark.parametrize(
    ("asked", "bindings", "error", "message"),
    [
        (["prob"], [], UserError, "no evaluator is called 'prob': did you mean probe"),
        (["Probeaccuracy"], [], UserError, "did you mean ProbeAccuracy"),
        (
            ["probe"],
            ["Reconstruction.limit = 3"],
            UserError,
            "Reconstruction.limit is read by none of what is measured",
        ),
        (["probe"], ["Reconstruction.limits = 3"], UserError, "is read by none of what is measured (ProbeAccuracy)"),
        (["reconstruction"], ["Reconstruction.limits = 3"], ConfigError, "did you mean limit"),
        (["reconstruction"], ["Reconstruction.limit = 0"], ConfigError, "must be a whole number of at least 1"),
        (["reconstruction"], ["n = 3"], UserError, "n is read by none of what is measured"),
    ],
)
def test_mistakes(asked: list[str], bindings: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        chosen(asked, *bindings)
    assert message in str(raised.value)


PLUGIN = """
from acaikit.evaluators import Evaluator, Result


class Four(Evaluator):
    key = "four"

    def fits(self, trained):
        return True

    def evaluate(self, trained):
        return Result({"value": 4.0})
"""


def test_plugins_are_found_and_broken_ones_are_in_nobodys_way(install: Callable[..., Path]) -> None:
    install("acai-four", "1.0", {"evaluators": {"Four": "four:Four"}}, {"four.py": PLUGIN})
    install("acai-broken", "1.0", {"evaluators": {"Broken": "nowhere:Broken"}})
    for name in ("four", "Four"):
        (evaluator,) = choose(OWN, [name], None, read_bindings([]))
        assert isinstance(evaluator, Evaluator) and evaluator.key == "four"
    with pytest.raises(UserError, match=r"Broken .* can't be imported"):
        choose(OWN, ["Broken"], None, read_bindings([]))
