from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from acaikit.config import read_recipe, read_resolved
from acaikit.config.faults import report
from acaikit.config.reader import Reader
from acaikit.config.resolve import differences, names, write
from acaikit.config.syntax import Macro, Reference, label
from acaikit.errors import ConfigError, UserError

Write = Callable[..., Path]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write recipes into the working directory, `_` in a keyword standing for `/`; return the first one's path."""
    monkeypatch.chdir(tmp_path)

    def make(**texts: str) -> Path:
        paths = [Path(f"{name.replace('_', '/')}.gin") for name in texts]
        for path, text in zip(paths, texts.values(), strict=True):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return paths[0]

    return make


def values(path: Path | str, *overrides: str) -> dict[str, object]:
    """What each macro and each binding, by its full name, amounts to."""
    config = read_recipe(str(path), overrides)
    return {label(*key): binding.value for key, binding in config.bindings.items()}


def faults(path: Path | str, *overrides: str) -> list[str]:
    """What is wrong with a recipe before anything is built."""
    reader = Reader()
    reader.file(Path(path))
    for text in overrides:
        reader.override(text)
    reader.settle()
    return report(reader.faults, reader.sources).faults


def test_names_become_full_everywhere(recipe: Write) -> None:
    path = recipe(
        r="a/ACAI.critic = @b/DenseCritic()\nlikelihoods.MSE.x = [1, {'k': (@KL, %m)}]\nm = @acaikit.paths.lerp\n"
    )
    kl = Reference("acaikit.regularizers.KL", "", call=False)
    assert values(path) == {
        "a/acaikit.regularizers.ACAI.critic": Reference("acaikit.critics.DenseCritic", "b", call=True),
        "acaikit.likelihoods.MSE.x": [1, {"k": (kl, Macro("m"))}],
        "m": Reference("acaikit.paths.lerp", "", call=False),
    }
    assert names(read_recipe(str(path))) == {
        "acaikit.critics.DenseCritic",
        "acaikit.likelihoods.MSE",
        "acaikit.paths.lerp",
        "acaikit.regularizers.ACAI",
        "acaikit.regularizers.KL",
    }


def test_every_unknown_name_is_reported_with_its_line_and_the_nearest(recipe: Write) -> None:
    path = recipe(r="ACIA.weight = 1\n\nKL.weight = 1\nExperiment.regularizers = [@Denosing(), {'a': @ConvEncodre}]\n")
    found = faults(path, "Latentdropuot.p = 0.1")
    assert found == [
        "r.gin:1: no part is called 'ACIA': did you mean ACAI?",
        "r.gin:4: no part is called 'Denosing': did you mean Denoising?",
        "r.gin:4: no part is called 'ConvEncodre': did you mean ConvEncoder or ConvDecoder?",
        "--set 'Latentdropuot.p = 0.1': no part is called 'Latentdropuot': did you mean LatentDropout or Latents?",
    ]


def test_bindings_stand_above_those_of_included_files_wherever_they_are(recipe: Write) -> None:
    path = recipe(
        r="m = 1\ninclude 'a.gin'\nn = 1\n", a="include 'b.gin'\nn = 2\nm = 2\no = 2\n", b="m = 3\no = 3\np = 3"
    )
    assert values(path) == {"m": 1, "n": 1, "o": 2, "p": 3}
    assert list(read_recipe(str(path)).sources) == ["r.gin", str(Path.cwd() / "a.gin"), str(Path.cwd() / "b.gin")]


def test_files_of_equal_rank_must_agree(recipe: Write) -> None:
    path = recipe(r="include 'a.gin'\ninclude 'b.gin'\n", a="m = 1\nn = [2]\n", b="n = [2]\n\nm = 2\n")
    (fault,) = faults(path)
    a, b = Path.cwd() / "a.gin", Path.cwd() / "b.gin"
    said = f"m is bound differently in files of equal rank: {a}:1 says 1; {b}:3 says 2"
    assert fault == f"{a}:1: {said}: bind it in the file that includes them"


def test_a_file_above_settles_what_files_below_disagree_about(recipe: Write) -> None:
    path = recipe(r="include 'a.gin'\ninclude 'b.gin'\nm = 3\n", a="m = 1\n", b="m = 2\n")
    assert values(path) == {"m": 3}


def test_a_binding_is_written_once_per_file(recipe: Write) -> None:
    (fault,) = faults(recipe(r="ACAI.weight = 1\nacaikit.regularizers.ACAI.weight = 1\n"))
    assert re.fullmatch(
        r"r\.gin:2: ACAI\.weight is bound a second time; the first is r\.gin:1: keep one of them", fault
    )


FILES = ("r", "a", "b", "c", "d")
EDGES = [(above, below) for i, above in enumerate(FILES) for below in FILES[i + 1 :]]


@given(edges=st.sets(st.sampled_from(EDGES)), bound=st.dictionaries(st.sampled_from(FILES), st.integers(1, 2)))
@example(edges={("r", "a"), ("a", "c"), ("c", "d"), ("r", "b"), ("b", "c")}, bound={"b": 1, "d": 2})
@settings(deadline=None, max_examples=200)
def test_precedence_against_the_slow_definition(
    tmp_path_factory: pytest.TempPathFactory, edges: set[tuple[str, str]], bound: dict[str, int]
) -> None:
    folder = tmp_path_factory.mktemp("recipes")
    for name in FILES:
        lines = [f"include '{below}.gin'" for above, below in sorted(edges) if above == name]
        (folder / f"{name}.gin").write_text("\n".join([*lines, f"m = {bound[name]}" if name in bound else ""]))
    reaches = set(edges)
    for middle, above, below in product(FILES, repeat=3):
        if {(above, middle), (middle, below)} <= reaches:
            reaches.add((above, below))
    there = {name for name in bound if name == "r" or ("r", name) in reaches}
    top = {bound[name] for name in there if not any((above, name) in reaches for above in there)}
    if len(top) > 1:
        assert "files of equal rank" in faults(folder / "r.gin")[0]
    else:
        assert set(values(folder / "r.gin").values()) == top


def test_includes_are_relative_to_the_including_file_then_the_recipe_root(recipe: Write) -> None:
    path = recipe(
        r="include 'sub/a.gin'\ninclude 'model/vae.gin'\n",
        sub_a="include 'b.gin'\n",
        sub_b="m = 'beside'\n",
        b="m = 'in the working directory'\n",
    )
    assert values(path)["m"] == "beside"
    assert values(path)["acaikit.regularizers.KL.weight"] == 1.0
    recipe(model_vae="m = 'of the same name as a shipped one'\n")
    path.write_text("include 'model/vae.gin'\n")
    assert values(path) == {"m": "of the same name as a shipped one"}


def test_includes_do_not_depend_on_the_working_directory(
    recipe: Write, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recipe(r="include 'a.gin'\n", a="m = 1\n").resolve()
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert values(path) == {"m": 1}


@pytest.mark.parametrize("written", ["../outside.gin", "{outside}", "link.gin", "sub/../../outside.gin"])
def test_includes_outside_are_refused(tmp_path: Path, written: str) -> None:
    outside = tmp_path / "outside.gin"
    outside.write_text("m = 1\n")
    inside = tmp_path / "inside"
    (inside / "sub").mkdir(parents=True)
    (inside / "link.gin").symlink_to(outside)
    (inside / "r.gin").write_text(f"\ninclude '{written.format(outside=outside)}'\n")
    (fault,) = faults(inside / "r.gin")
    assert fault.startswith(f"{inside / 'r.gin'}:2: include ")
    assert fault.endswith(f"lies outside {inside} and acaikit's own recipes: put a copy beside the recipe")


@pytest.mark.parametrize("written", ["nowhere.gin", "", ".", "sub", "a" * 5000, r"a\0b"])
def test_an_include_that_is_no_file(recipe: Write, written: str) -> None:
    path = recipe(r=f"include '{written}'\n", sub_x="")
    (fault,) = faults(path)
    assert fault.startswith("r.gin:1: include ")


@pytest.mark.parametrize("name", ["r", "./r", "sub/../r"])
def test_a_file_that_includes_itself(recipe: Write, name: str) -> None:
    assert "a circle of includes" in faults(recipe(r=f"include '{name}.gin'\n", sub_x=""))[0]


def test_a_circle_of_includes_is_shown_as_a_chain(recipe: Write) -> None:
    path = recipe(r="include 'a.gin'\n", a="\ninclude 'b.gin'\n", b="include 'a.gin'\n")
    a, b = Path.cwd() / "a.gin", Path.cwd() / "b.gin"
    (fault,) = faults(path)
    assert fault.endswith(f"a circle of includes: {a} includes {b} includes {a}")


@pytest.mark.parametrize(
    ("content", "said"), [(b"m = 1\n\xff\xfe", "can't be read"), (b"m = '\xe9'", "can't be read"), (b"\x00", "r.gin:1")]
)
def test_a_file_that_is_no_text(recipe: Write, content: bytes, said: str) -> None:
    path = recipe(r="")
    path.write_bytes(content)
    assert said in faults(path)[0]


def test_byte_order_mark_and_windows_line_ends(recipe: Write) -> None:
    path = recipe(r="")
    path.write_bytes("\ufeffm = 1\r\nn = 'é'\r\n".encode())
    assert values(path) == {"m": 1, "n": "é"}


def test_overrides_stand_above_everything(recipe: Write) -> None:
    path = recipe(r="include 'a.gin'\nACAI.weight = 1\nm = 1\n", a="ACAI.gamma = 0.1\n")
    assert values(path, "ACAI.weight=2", "  m = [3]", "ACAI.gamma=%m", "x/KL.weight=4") == {
        "acaikit.regularizers.ACAI.weight": 2,
        "acaikit.regularizers.ACAI.gamma": Macro("m"),
        "x/acaikit.regularizers.KL.weight": 4,
        "m": [3],
    }


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("", "--set '': there is no binding in it; write for example --set ACAI.weight=1.0"),
        ("# nothing", "there is no binding in it"),
        ("ACAI.weight", "--set 'ACAI.weight': `ACAI.weight` can't be read"),
        ("include 'model/acai.gin'", "model/acai.gin'\": a binding is expected, not an include"),
        ("import os", "--set 'import os': `import os` is refused"),
        ("path=slerp", "--set 'path=slerp': `path=slerp` can't be read: a text needs quotes"),
        ("ACIA.weight=1", "--set 'ACIA.weight=1': no part is called 'ACIA': did you mean ACAI?"),
    ],
)
def test_overrides_that_are_no_bindings(recipe: Write, override: str, said: str) -> None:
    assert said in faults(recipe(r=""), "m = 1", override)[0]


def test_overrides_that_disagree(recipe: Write) -> None:
    (fault,) = faults(recipe(r=""), "m=1", "m=2")
    said = "m is bound differently on the command line: --set 'm=1' says 1; --set 'm=2' says 2: keep one of them"
    assert fault == f"--set 'm=1': {said}"


def test_resolved_is_one_text_that_says_the_same(recipe: Write) -> None:
    path = recipe(
        r="include 'a.gin'\nExperiment.samples = %n\n",
        a="n = 5\na/ACAI.weight = 1e-4\nACAI.critic = @b/DenseCritic()\nKL.weight = {'k': (1,), None: [@MSE, -2]}\n",
    )
    config = read_recipe(str(path), ["n = 6"])
    again = read_resolved(config.resolved)
    assert "include" not in config.resolved
    assert "samples = %n" in config.resolved
    assert {key: b.value for key, b in again.bindings.items()} == {key: b.value for key, b in config.bindings.items()}
    assert again.resolved == config.resolved
    assert list(differences(config, again)) == []


def test_resolved_does_not_depend_on_order(recipe: Write) -> None:
    one = read_recipe(str(recipe(r="m = 1\nACAI.weight = 1\nn = 2\n"))).resolved
    assert one == read_recipe(str(recipe(r="n = 2\nACAI.weight = 1\nm = 1\n"))).resolved


def test_resolved_recipes_include_nothing() -> None:
    with pytest.raises(ConfigError, match=r"run\.h5:2: a resolved recipe has no includes"):
        read_resolved("m = 1\ninclude 'model/acai.gin'\n", "run.h5")


def test_differences_name_both_values() -> None:
    a, b = (
        read_resolved(text)
        for text in (
            "m = 1\nACAI.weight = 0.5\nn = 1\nKL.weight = 1.0\n",
            "m = 1\nACAI.weight = 1.0\no = 2\nACAI.gamma = 0.1\n",
        )
    )
    assert set(map(str, differences(a, b))) == {
        "ACAI.weight: 0.5 -> 1.0",
        "ACAI.gamma: 0.2 -> 0.1",
        "n: 1 -> (unset)",
        "o: (unset) -> 2",
    }
    assert list(differences(a, a)) == []


word = st.sampled_from(["acaikit.paths.lerp", "acaikit.regularizers.KL"])
scope = st.sampled_from(["", "a", "a/b"])
leaf = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    st.binary(),
    st.builds(Reference, word, scope, st.booleans()),
    st.builds(Macro, st.sampled_from(["m", "mé"])),
)
key = leaf | st.tuples(leaf)
value = st.recursive(
    leaf, lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(key, inner), max_leaves=8
)


@given(value)
@settings(deadline=None, max_examples=300)
def test_every_value_is_read_as_it_was_written(value: object) -> None:
    text = f"n = {write(value)}\n"
    (binding,) = read_resolved(text).bindings.values()
    assert repr(binding.value) == repr(value)  # tells -0.0 from 0.0 and True from 1, as == doesn't
    assert read_resolved(text).resolved == text


@pytest.mark.parametrize("infinite", [math.inf, -math.inf])
def test_infinity_is_written_as_gin_reads_it(infinite: float) -> None:
    (binding,) = read_resolved(f"m = {write(infinite)}\n").bindings.values()
    assert binding.value == infinite


def test_an_unknown_recipe_is_a_users_mistake() -> None:
    with pytest.raises(UserError, match="did you mean quickstart"):
        read_recipe("quickstrat")


def test_shipped_recipes_are_read_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sources: Mapping[str, str] = read_recipe("lines_acai_64").sources
    assert [Path(name).name for name in sources] == ["lines_acai_64.gin", "lines.gin", "conv.gin", "acai.gin"]


def test_what_an_overridden_binding_alone_mentions_goes_with_it(recipe: Write) -> None:
    path = recipe(
        r="include 'below.gin'\nExperiment.regularizers = [@KL()]\n",
        below="Experiment.regularizers = [@KL(), @ACAI()]\nACAI.weight = %m\nACAI.critic = @c/EncoderCritic()\n"
        "c/EncoderCritic.encoder = @ConvEncoder()\nKL.weight = 2\nm = 3\nn = 4\n",
    )
    kl = Reference("acaikit.regularizers.KL", "", call=True)
    assert values(path) == {
        "acaikit.experiments.Experiment.regularizers": [kl],
        "acaikit.regularizers.KL.weight": 2,
        "n": 4,
    }


def test_a_binding_beside_the_one_that_overrides_stays_to_be_reported_as_unread(recipe: Write) -> None:
    recipe(below="Experiment.regularizers = [@ACAI()]\nACAI.weight = 1\n")
    path = recipe(r="include 'below.gin'\nExperiment.regularizers = []\nACAI.gamma = 0.1\n")
    assert values(path) == {"acaikit.experiments.Experiment.regularizers": [], "acaikit.regularizers.ACAI.gamma": 0.1}
    assert "acaikit.regularizers.ACAI.weight" in values("below.gin")
