from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from acaikit.config import build, read_bindings, read_recipe, read_resolved
from acaikit.config.syntax import Where
from acaikit.errors import ConfigError

BASE = """
Experiment.dataset = @Lines()
Experiment.encoder = @ConvEncoder()
Experiment.decoder = @ConvDecoder()
Experiment.regularizers = [@ACAI()]
Experiment.evaluators = [@FactorBenchmark(), @Reconstruction()]
Experiment.samples = 1024
Experiment.seed = 3
Lines.height = 16
Lines.width = 16
Lines.test_size = %examples
ConvEncoder.depth = %depth
ConvEncoder.scales = 2
ConvDecoder.depth = %depth
ConvDecoder.scales = 2
ACAI.weight = 0.5
ACAI.gamma = 0.2
ACAI.critic = @big/EncoderCritic()
big/EncoderCritic.encoder = @big/ConvEncoder()
big/ConvEncoder.depth = 4
big/ConvEncoder.latent = 8
FactorBenchmark.path = 'slerp'
FactorBenchmark.pairs = %examples
Reconstruction.examples = %examples
examples = 100
depth = 4
"""

INSTEAD = {
    "Experiment.dataset = @Lines()": ["Experiment.dataset = @Lnies()", "Experiment.datset = @Lines()"],
    "Experiment.regularizers = [@ACAI()]": [
        "Experiment.regularizers = [@ACIA()]",
        "Experiment.regularizers = [@acai()]",
        "Experiment.regularizers = [@ACAI()",
        "Experiment.regularizers = [ACAI()]",
        "Experiment.regularizers = [@ACAI(), @Line()]",
        "Experiment.regularizers = @ACAI()",
        "Experimnt.regularizers = [@ACAI()]",
    ],
    "Experiment.evaluators = [@FactorBenchmark(), @Reconstruction()]": [
        "Experiment.evaluators = [@FactorBenchmrk(), @Reconstruction()]",
        "Experiment.evaluators = [@FactorBenchmark(), @Reconstruction()",
        "Experiment.evaluators = [@FactorBenchmark(), @Reconstruction()))",
        "Experiment.evaluatros = [@FactorBenchmark(), @Reconstruction()]",
    ],
    "Experiment.samples = 1024": [
        "Experiment.samples = 2**10",
        "Experiment.samples = '1024'",
        "Experiment.samples = 0",
        "Experiment.samples = %gin.REQUIRED",
        "Experiment.samples = %exampls",
    ],
    "Experiment.seed = 3": ["Experiment.seed = -1", "Experiment.sede = 3"],
    "Lines.height = 16": [
        "Lines.height = 3",
        "Lines.hieght = 16",
        "Line.height = 16",
        "Lines.height = 16 pixels",
        "Lines height = 16",
    ],
    "Lines.test_size = %examples": ["Lines.test_size = %exmaples", "Lines.test_size = 0"],
    "ConvEncoder.scales = 2": ["ConvEncoder.scales = two", "ConvEncoder.scales = 0", "ConvEncoder.scale = 2"],
    "ACAI.weight = 0.5": ["ACAI.weight = '0.5'", "ACAI.weight = -1", "ACAI.wieght = 0.5", "ACAI.weight 0.5"],
    "ACAI.gamma = 0.2": ["ACAI.gamma = 2", "acai.gamma = 0.2", "ACAI.gamma = (0.2"],
    "ACAI.critic = @big/EncoderCritic()": ["ACAI.critic = @big/EncodrCritic()", "ACAI.crtic = @big/EncoderCritic()"],
    "big/EncoderCritic.encoder = @big/ConvEncoder()": [
        "big/EncoderCritic.encoder = @big/ConvEncodr()",
        "bgi/EncoderCritic.encoder = @big/ConvEncoder()",
        "big/EncoderCritic.encodr = @big/ConvEncoder()",
    ],
    "big/ConvEncoder.depth = 4": ["bigg/ConvEncoder.depth = 4", "big/ConvEncoder.depth = 0"],
    "FactorBenchmark.path = 'slerp'": [
        "FactorBenchmark.path = slerp",
        "FactorBenchmark.path = 'slerp",
        "FactorBenchmark.path = f'slerp'",
    ],
    "examples = 100": ["exampels = 100", "examples = hundred"],
    "depth = 4": ["dpeth = 4", "depth = four", "depth 4"],
}
"""What may stand for a line of BASE; each is one mistake."""
UNCLOSED = [
    "Experiment.regularizers = [@ACAI()",
    "Experiment.evaluators = [@FactorBenchmark(), @Reconstruction()",
    "ACAI.gamma = (0.2",
]
ILLEGIBLE = ["Lines height = 16", "ACAI.weight 0.5", "depth 4"]
MORE = ["KL.weight = 1.0", "elsewhere = 1", "import os", "include 'r.gin'", "Experiment.batch_size = null", "a/b = 1"]
"""Lines that may be added; each is one mistake."""


def faults(text: str, *overrides: str) -> list[str]:
    Path("r.gin").write_text(text)
    with pytest.raises(ConfigError) as caught:
        build(read_recipe("r.gin", overrides))
    return caught.value.faults


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_base_has_no_fault() -> None:
    Path("r.gin").write_text(BASE)
    build(read_recipe("r.gin"))


@pytest.mark.parametrize("written", [w for instead in INSTEAD.values() for w in instead])
def test_each_mistake_is_one_fault_at_its_line(written: str) -> None:
    (line,) = (line for line, instead in INSTEAD.items() if written in instead)
    lines = [written if known == line else known for known in BASE.split("\n")]
    (fault,) = faults("\n".join(lines))
    assert fault.startswith(f"r.gin:{lines.index(written) + 1}: ")


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_several_mistakes_are_as_many_faults_at_their_lines(data: st.DataObject) -> None:
    """No fault hides another, and none is reported for what only follows from another."""
    mended = data.draw(st.sets(st.sampled_from(sorted(INSTEAD)), max_size=5))
    instead = {line: data.draw(st.sampled_from(INSTEAD[line])) for line in sorted(mended)}
    lines = data.draw(st.permutations([instead.get(line, line) for line in BASE.strip().split("\n")]))
    for line in data.draw(st.lists(st.sampled_from(MORE), unique=True, max_size=3)):
        lines.insert(data.draw(st.integers(0, len(lines))), line)
        instead[line] = line
    # What begins no statement could as well belong to the bracket before it.
    assume(not any(one in UNCLOSED and two in ILLEGIBLE for one, two in pairwise(lines)))
    if instead:
        expected = sorted(lines.index(written) + 1 for written in instead.values())
        assert [int(fault.split(":")[1]) for fault in faults("\n".join(lines))] == expected


def test_what_follows_from_a_missing_file_is_no_fault() -> None:
    told = faults("include 'mdoel.gin'\nExperiment.dataset = @Lines()\nLines.height = 3\ndepth = 4\nACAI.wieght = 1\n")
    assert [fault.split(": ")[0] for fault in told] == ["r.gin:1", "r.gin:3", "r.gin:5"]


def test_a_statement_that_cannot_be_read_is_one_fault() -> None:
    (fault,) = faults(BASE.replace("Lines.test_size = %examples", "Liness.size = far_away("))
    assert fault.startswith("r.gin:11: the bracket (")


def test_files_that_include_one_another_in_a_long_chain() -> None:
    for i in range(1, 30):
        Path(f"{i}.gin").write_text(f"include '{i + 1}.gin'\n")
    assert faults("include '1.gin'\n") == [f"{Path.cwd()}/20.gin:1: more than 20 files include one another"]


def test_a_recipe_and_all_that_it_includes_has_a_limited_length() -> None:
    for i in range(3):
        Path(f"{i}.gin").write_text("# comment\n" * 2000)
    told = faults("include '0.gin'\ninclude '1.gin'\ninclude '2.gin'\n")
    said = "can't be read: a recipe and all that it includes has 32,768 bytes at most"
    assert told == [f"r.gin:{line}: {Path.cwd()}/{line - 1}.gin {said}" for line in (2, 3)]


def test_with_a_part_that_nobody_knows_no_part_is_said_to_be_unread() -> None:
    text = BASE.replace("[@ACAI()]", "[@Something()]")
    assert faults(text) == [
        fault for fault in faults(text) if fault.startswith("r.gin:5: no part is called 'Something'")
    ]


def test_faults_come_in_the_order_of_files_and_lines() -> None:
    Path("below.gin").write_text("\nACIA.weight = 1\nKL.weight = 1\n")
    told = faults(f"elsewhere = 1\ninclude 'below.gin'\nimport os\n{BASE}", "x 5", "y = 1")
    places = [fault.split(": ")[0].removeprefix(f"{Path.cwd()}/") for fault in told]
    assert places == ["r.gin:1", "r.gin:3", "below.gin:2", "below.gin:3", "--set 'x 5'", "--set 'y = 1'"]


def test_a_report_names_a_hundred_faults_and_counts_the_rest() -> None:
    told = faults("import os\n" * 150)
    assert len(told) == 101 and told[-1].endswith("this and 50 more faults")


def test_a_value_that_several_parts_refuse_is_one_fault() -> None:
    (fault,) = faults(BASE.replace("\ndepth = 4", "\ndepth = 0"))
    said = "ConvEncoder.depth must be a whole number of at least 1, not 0"
    assert fault == f"r.gin:26: {said} (ConvEncoder.depth is %depth at r.gin:12)"


def test_bindings_alone_are_checked_as_far_as_they_go() -> None:
    with pytest.raises(ConfigError) as caught:
        read_bindings(["KMeans.restarts 5", "KMeens.restarts = 5", "KMeans.restrats = 5", "Latents.x = %y"])
    assert [fault.split(": ")[1] for fault in caught.value.faults] == [
        "`KMeans.restarts 5` can't be read",
        "no part is called 'KMeens'",
        "KMeans has no parameter 'restrats'",
        "Latents has no parameter 'x'; known",
        "no macro is called 'y'",
    ]


@pytest.mark.parametrize("path", ["@slerp()", "@slerp", "@paths.slerp()"])
def test_a_path_is_named_by_a_text(tmp_path: Path, path: str) -> None:
    file = tmp_path / "r.gin"
    file.write_text(BASE.replace("FactorBenchmark.path = 'slerp'", f"FactorBenchmark.path = {path}"))
    with pytest.raises(ConfigError) as caught:
        build(read_recipe(str(file)))
    line = 1 + file.read_text().splitlines().index(f"FactorBenchmark.path = {path}")
    assert str(caught.value) == f"{file}:{line}: a path is named by a text: write 'slerp' instead of @slerp"


def test_bindings_of_another_file_stand_above_a_resolved_recipe() -> None:
    config = read_resolved("x = 1\ny = 1\n", "r", [("x = 2", Where("s.gin", 7))])
    assert [(b.parameter, b.value, str(b.where)) for b in config.bindings.values()] == [
        ("x", 2, "s.gin:7"),
        ("y", 1, "r:2"),
    ]
    with pytest.raises(ConfigError, match=r"^s\.gin:8: x is bound a second time; the first is s\.gin:7"):
        read_resolved("", "r", [("x = 2", Where("s.gin", 7)), ("x = 2", Where("s.gin", 8))])
    with pytest.raises(ConfigError, match=r"^r:1: x is bound differently"):
        read_resolved("x = 1\n", "r", [("x = 2", Where("r", 3))])


def test_lines_are_counted_from_the_first() -> None:
    with pytest.raises(ConfigError, match=r"^s\.gin:8: "):
        read_resolved("", "r", [("x = 1\ny = [1,\nz = 2", Where("s.gin", 7))])
