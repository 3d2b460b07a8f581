from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from acaikit.config import Config, build, read_bindings, read_recipe, sketch
from acaikit.config.build import Builder
from acaikit.config.faults import Gaps
from acaikit.config.sketch import StandIn
from acaikit.errors import ConfigError
from acaikit.recipes import shipped
from acaikit.registry import find

Install = Callable[..., Path]
SMALL = ["Experiment.dataset = @Lines()", "Experiment.encoder = @ConvEncoder()", "Experiment.decoder = @ConvDecoder()"]
SMALL += ["ConvEncoder.scales = 2", "ConvDecoder.scales = 2"]
TWO = {
    "two/parts.py": "import two.counted\nclass Open:\n    def __init__(self, x=1, **more): ...\n"
    "from functools import partial\nMade = partial(Open, 2)\nclass Asks:\n    def __init__(self, n: int | None = None):"
    "\n        raise RuntimeError('built')\n",
    "two/counted.py": "",
}


def faults(config: Config) -> list[str]:
    """What stand-ins alone find."""
    builder = Builder(config, Gaps(), StandIn)
    builder.build("Experiment")
    return [str(fault) for fault in builder.faults]


def test_no_recipe_that_acaikit_brings_has_a_fault_but_what_is_the_users_to_give() -> None:
    found = {name: faults(read_recipe(name)) for name in shipped()}
    assert {name.split("_")[0] for name, said in found.items() if said} == {"arrays", "images"}
    assert all("is yours to give" in fault for said in found.values() for fault in said)


def test_what_is_bound_and_what_is_not() -> None:
    made = sketch(read_bindings([*SMALL, "Experiment.samples = %n", "n = 64", "Lines.width = 16"]))
    assert (made.samples, made.batch_size, made.evaluators) == (64, "64", "()")
    assert (made.dataset.width, made.dataset.height) == (16, "32")


@pytest.mark.parametrize(
    "wrong",
    [
        "Lines.hieght = 16",
        "bug/Lines.height = 16",
        "Lines.height = %sacles",
        "KL.weight = 1.0",
        "budget = 5",
        "Experiment.seed = '3'",
        "Experiment.samples = 1e3",
        "Experiment.probe = 1",
        "Experiment.samples = -5",
        "Experiment.batch_size = 0",
        "Experiment.learning_rate = 0",
        "Experiment.regularizers = 3",
        "Experiment.regularizers = @KL()",
        "Lines.height = None",
        "Experiment.likelihood = @slerp",
        "Experiment.regularizers = [@ACAI()]\nACAI.critic = @EncoderCritic()",
    ],
)
def test_a_fault_is_told_as_building_tells_it(wrong: str) -> None:
    config = read_bindings([*SMALL, *wrong.split("\n")])
    assert faults(config)
    with pytest.raises(ConfigError) as quick:
        sketch(config)
    with pytest.raises(ConfigError) as thorough:
        build(config)
    assert str(quick.value) == str(thorough.value)


@pytest.mark.parametrize("odd", ["Lines.height = -1", "Experiment.likelihood = @Lines()"])
def test_what_only_a_part_finds_is_left_to_it(odd: str) -> None:
    """So says the help of ``acaikit show``."""
    config = read_bindings([*SMALL, odd])
    assert faults(config) == []
    with pytest.raises(ConfigError):
        build(config)


def test_parts_of_others_are_imported_only_where_their_source_does_not_tell(install: Install) -> None:
    points = {"Open": "two.parts:Open", "Made": "two.parts:Made", "Asks": "two.parts:Asks"}
    install("acai-two", "1", {"evaluators": points}, TWO)
    of_two = "Experiment.evaluators = [@Open(), @Asks()]"
    assert faults(read_bindings([*SMALL, of_two, "Open.anything = 3", "Asks.n = 2"])) == []
    assert "must be int | None" in faults(read_bindings([*SMALL, of_two, "Asks.n = 'two'"]))[0]
    assert "two.parts" not in sys.modules
    StandIn(find("Made"))
    assert "two.counted" in sys.modules


def test_where_the_source_misleads_building_is_right(install: Install) -> None:
    source = """
from acaikit.evaluators import Reconstruction
class Late(Reconstruction):
    key = "late"
    def __init__(self): super().__init__()
def init(self, more=1): Reconstruction.__init__(self)
setattr(Late, "__init__", init)
"""
    install("acai-late", "1", {"evaluators": {"Late": "late:Late"}}, {"late.py": source})
    config = read_bindings([*SMALL, "Experiment.evaluators = [@Late()]", "Late.more = 2"])
    assert "has no parameter 'more'" in faults(config)[0]
    assert sketch(config).samples == 2**24
