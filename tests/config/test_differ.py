from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from acaikit.config import Config, read_recipe
from acaikit.config.differ import differ
from acaikit.errors import ConfigError

Read = Callable[[str], Config]
BASE = "Experiment.encoder = @ConvEncoder()\nExperiment.regularizers = [@ACAI()]\n"


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a recipe's text."""

    def read(text: str) -> Config:
        file = tmp_path / "r.gin"
        file.write_text(text)
        return read_recipe(str(file))

    return read


@pytest.mark.parametrize(
    "other",
    [
        f"{BASE}ConvEncoder.depth = 4\nACAI.weight = 1\n",
        f"{BASE}ConvEncoder.depth = %d\nACAI.weight = %w\nd = %e\ne = 4\nw = 1\n",
        f"{BASE}ConvEncoder.depth = 4\nACAI.weight = 1\nACAI.gamma = 0.2\nExperiment.probe = True\n",
        f"{BASE.replace('[@ACAI()]', '%regularizers')}regularizers = [%own]\nown = @ACAI()\n"
        "ConvEncoder.depth = 4\nACAI.weight = 1\n",
        f"{BASE.replace('@', '@acaikit.').replace('.Conv', '.encoders.Conv').replace('.ACAI', '.regularizers.ACAI')}"
        "encoders.ConvEncoder.depth = 4\nACAI.weight = 1\n",
    ],
)
def test_to_say_the_same_in_other_words_is_no_difference(read: Read, other: str) -> None:
    assert differ(read(f"{BASE}ConvEncoder.depth = 4\nACAI.weight = 1\n"), read(other)) == []


def test_what_differs(read: Read) -> None:
    one = read(f"{BASE}Experiment.samples = %n\nACAI.weight = %w\nn = 5\nw = 0.25\nConvEncoder.depth = 4\n")
    two = read(
        "Experiment.encoder = @MLPEncoder()\nExperiment.regularizers = %all\n"
        "all = [@big/KL(), @KL]\nbig/KL.weight = 2\n"
    )
    assert differ(one, two) == [
        ("Experiment.encoder", "@ConvEncoder()", "@MLPEncoder()"),
        ("Experiment.regularizers", "[@ACAI()]", "[@big/KL(), @KL]"),
        ("Experiment.samples", "5", "16777216"),
        ("ConvEncoder.depth", "4", "–"),
        ("ACAI.weight", "0.25", "–"),
        ("big/KL.weight", "–", "2"),
    ]
    assert differ(two, one) == [(label, after, before) for label, before, after in differ(one, two)]


def test_the_scope_that_a_macro_makes_counts_where_something_is_bound_in_it(read: Read) -> None:
    same = f"{BASE}own/ACAI.weight = 2\n"
    (difference,) = differ(read(same), read(f"{same.replace('[@ACAI()]', '[%own]')}own = @ACAI()\n"))
    assert difference == ("Experiment.regularizers", "[@ACAI()]", "[@own/ACAI()]")


def test_what_is_required_or_defined_nowhere_stays(read: Read) -> None:
    assert differ(read("Arrays.path = %gin.REQUIRED\n"), read("Arrays.path = %nowhere\n")) == [
        ("Arrays.path", "%gin.REQUIRED", "%nowhere")
    ]


def test_macros_in_a_circle_are_told(read: Read) -> None:
    with pytest.raises(ConfigError, match=r"r.gin:[23]: the macro '[ab]' is defined by itself"):
        differ(read("ACAI.weight = %a\na = [%b]\nb = %a\n"), read(""))


def test_a_parameter_that_its_part_lacks_is_told(read: Read) -> None:
    with pytest.raises(ConfigError) as caught:
        differ(read(f"{BASE}ACAI.wieght = 1\n"), read(BASE))
    assert [fault.partition("r.gin:")[2] for fault in caught.value.faults] == [
        "3: ACAI has no parameter 'wieght': did you mean weight?"
    ]
