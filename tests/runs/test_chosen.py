from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from acaikit.config import read_bindings
from acaikit.errors import ConfigError, UserError
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
