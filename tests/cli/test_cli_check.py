from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from acaikit.testing.suites import SUITES

Install = Callable[..., Path]

REGULARIZER = '''
from torch import Tensor

from acaikit import checks
from acaikit.regularizers import Regularizer


class Sparse(Regularizer):
    """An L1 penalty on the latent."""

    def __init__(self, weight: float = 1e-3) -> None:
        super().__init__()
        checks.number("Sparse.weight", weight, at_least=0)
        self.weight = weight

    def model_loss(self, step) -> Tensor:
        return self.weight * step.z.abs().mean()
'''
RECIPE = "# A short run.\ninclude 'quickstart_baseline.gin'\nExperiment.regularizers = [@Sparse()]\n"
RULES = len(SUITES["regularizers"].rules)


@pytest.fixture
def sparse(install: Install) -> Install:
    """A distribution with one regularizer and one recipe, whose module's text can be changed."""

    def make(
        source: str = REGULARIZER, recipe: str = RECIPE, name: str = "Sparse", called: str = "quick_sparse"
    ) -> Path:
        points = {"regularizers": {name: "acaikit_sparse:Sparse"}, "recipes": {"sparse": "acaikit_sparse.recipes"}}
        files = {"acaikit_sparse/__init__.py": source, f"acaikit_sparse/recipes/{called}.gin": recipe}
        return install("acaikit-sparse", "0.2", points, files)

    return make


def test_a_part_that_conforms(acaikit, sparse: Install) -> None:
    sparse()
    out = acaikit("plugin", "check", "Sparse").out
    lines = out.splitlines()
    assert lines[0] == "acaikit_sparse.regularizers.Sparse  regularizer, from acaikit-sparse 0.2"
    assert lines[1:3] == ["  ✓ can be imported", "  ✓ can be made"]
    assert [line for line in lines if line.startswith("  on")] == ["  on images", "  on sequences", "  on vectors"]
    assert out.count("    ✓ ") == 3 * (RULES - 2)
    assert out.count("    – doubts each example by itself: it writes no doubt") == 3
    assert out.count("(recordable): it doesn't say recordable = True") == 3
    assert lines[-1] == f"Sparse conforms: of {3 * RULES + 2} rules {3 * RULES - 4} kept, 6 without a verdict"
    assert not any(line != line.rstrip() for line in lines)


def test_one_kind_of_data_and_a_parameter(acaikit, sparse: Install) -> None:
    sparse()
    out = acaikit("plugin", "check", "regularizers.Sparse", "--data", "vectors", "--set", "Sparse.weight=0.5").out
    assert "on vectors" in out and "on images" not in out
    ran = acaikit("plugin", "check", "Sparse", "--data", "vectors", "--set", "Sparse.weight=-1", code=1)
    assert "✗ can be made" in ran.out and "Sparse.weight must be a number of at least 0, not -1" in ran.out


def test_json(acaikit, sparse: Install) -> None:
    sparse(f"print('a word of its own')\n{REGULARIZER}")
    ran = acaikit("plugin", "check", "Sparse", "--data", "vectors", "--json")
    told = json.loads(ran.out)
    assert (told["name"], told["conforms"]) == ("Sparse", True)
    (checked,) = told["checked"]
    assert checked["kind"] == "regularizers" and checked["version"] == "0.2"
    assert [rule["rule"] for rule in checked["rules"][2:]] == [rule.title for rule in SUITES["regularizers"].rules]
    assert {rule["verdict"] for rule in checked["rules"]} == {"kept", "skipped"}
    assert "a word of its own" in ran.err


@pytest.mark.parametrize(
    ("line", "broken", "message", "where"),
    [
        ("return self.weight * step.z.abs()", "keeps to the dtype of the data", "must be a finite float64 scalar", 0),
        ("return self.weights * step.z.mean()", "gives what its hooks are to give", "AttributeError: .* 'weights'", 17),
        ("import torch; return step.z.mean() * torch.rand(())", "draws from its own", "draw in prepare", 0),
        ("raise AssertionError", "gives what", "AssertionError$", 17),
        ("raise SystemExit('[red]bye[/] :smile:')", "gives what", r"SystemExit: \[red\]bye\[/\] :smile:", 17),
    ],
)
def test_a_broken_rule(acaikit, sparse: Install, line: str, broken: str, message: str, where: int) -> None:
    site = sparse(REGULARIZER.replace("return self.weight * step.z.abs().mean()", line))
    ran = acaikit("plugin", "check", "Sparse", "--data", "vectors", code=1)
    lines = ran.out.splitlines()
    number = next(n for n, text in enumerate(lines) if text.startswith(f"    ✗ {broken}"))
    assert re.search(f"^      .*{message}", lines[number + 1])
    assert (f"      at {site}/acaikit_sparse/__init__.py:{where}" in lines) == bool(where)
    rest = lines[number + 2 + bool(where) : -1]
    assert len(rest) == 1 and re.fullmatch(r"    – \d+ more rules, not tried before this is mended", rest[0])
    assert lines[-1].startswith("Sparse doesn't conform: of ") and ", 1 broken, " in lines[-1]
    assert "Traceback" not in ran.out + ran.err
    if where:
        assert "      Traceback" in acaikit("plugin", "check", "Sparse", "--data", "vectors", "-v", code=1).out


def test_a_message_that_would_steer_the_terminal(acaikit, sparse: Install) -> None:
    told = r"raise ValueError('red:\x1b[31m\n\n\tover\r ' + 90 * 'x')"
    sparse(REGULARIZER.replace("return self.weight * step.z.abs().mean()", told))
    out = acaikit("plugin", "check", "Sparse", "--data", "vectors", code=1).out
    first, second = (line for line in out.splitlines() if line.startswith(("      ValueError", "          over")))
    assert first == r"      ValueError: red:\x1b[31m"
    assert second.startswith(r"          over\r xxx")
    assert not {"\x1b", "\r"} & set(out)


def test_an_object_that_is_made_already(acaikit, sparse: Install) -> None:
    sparse(f"{REGULARIZER}\n\nSparse = Sparse()\n")
    out = acaikit("plugin", "check", "Sparse", code=1).out
    assert "✗ can be made\n    an object of type Sparse was given in place of what makes the part: give" in out


def test_what_cannot_be_imported_or_made(acaikit, sparse: Install) -> None:
    site = sparse("import not_there")
    ran = acaikit("plugin", "check", "Sparse", code=1)
    assert "✗ can be imported" in ran.out and "No module named 'not_there'" in ran.out
    assert f"at {site}/acaikit_sparse/__init__.py:1" in ran.out
    assert "Sparse doesn't conform: of 1 rules 1 broken" in ran.out
    (site / "acaikit_sparse" / "__init__.py").write_text("import os\ndef Sparse(:\n")
    out = acaikit("plugin", "check", "Sparse", code=1).out
    assert "SyntaxError" in out and f"at {site}/acaikit_sparse/__init__.py:2\n" in out


def test_a_distribution_with_its_recipes(acaikit, sparse: Install) -> None:
    sparse()
    for name in ("acaikit-sparse", "acaikit_sparse"):
        out = acaikit("plugin", "check", name, "--data", "vectors").out
        assert out.startswith(
            "acaikit-sparse  0.2\n  ✓ is installed in order\n  ✓ has names of its own\n"
            "  ✓ has the recipe quick_sparse, which builds\n"
        )
        assert "\nacaikit_sparse.regularizers.Sparse  regularizer, from acaikit-sparse 0.2\n" in out
    told = json.loads(acaikit("plugin", "check", "acaikit-sparse", "--data", "vectors", "--json").out)
    assert [(checked["name"], checked["kind"]) for checked in told["checked"]] == [
        ("acaikit-sparse", "distribution"),
        ("acaikit_sparse.regularizers.Sparse", "regularizers"),
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"recipe": RECIPE + "Sparse.wait = 1\n"}, r"quick_sparse.gin:4: Sparse has no parameter 'wait'"),
        (
            {"recipe": RECIPE + "scales = 3\nConvDecoder.scales = 1\n"},
            "ConvDecoder.scales = 1 turns the encoder's latents",
        ),
        (
            {"name": "ACAI", "recipe": ""},
            "ACAI is a name of acaikit's own and keeps its meaning, so that this one is only",
        ),
        ({"called": "quickstart"}, "quickstart is a name of acaikit's own .* only found as acaikit_sparse.quickstart"),
        ({"called": "model/none"}, "there is no .gin file in"),
    ],
)
def test_what_is_wrong_with_a_distribution(acaikit, sparse: Install, change: dict[str, str], said: str) -> None:
    sparse(**change)
    ran = acaikit("plugin", "check", "acaikit-sparse", "--data", "vectors", code=1)
    assert re.search(said, ran.out), ran.out


def test_a_recipe_that_leaves_something_to_its_user(acaikit, sparse: Install) -> None:
    sparse(recipe=RECIPE + "Sparse.weight = %gin.REQUIRED\n")
    out = acaikit("plugin", "check", "acaikit-sparse", "--data", "vectors").out
    assert "– has the recipe quick_sparse, which builds: whoever runs it gives Sparse.weight" in out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["Sparze"], "no part and no distribution with parts is called 'Sparze': did you mean Sparse?"),
        (["a part"], "is called 'a part': acaikit list shows what there is"),
        (["quickstart"], "quickstart is a recipe, .*: try acaikit run quickstart --dry-run"),
        (["acaikit-lost"], "acaikit-lost lists parts under acaikit.regularisers, .* did you mean acaikit.regularizers"),
        (["Sparse", "--set", "Sparse.wieght=1"], "Sparse has no parameter 'wieght': did you mean weight?"),
        (["acaikit-sparce"], "'acaikit-sparce': did you mean acaikit-sparse"),
        (["Arrays"], """Arrays can't be made without its path: give --set "Arrays.path=..." """.strip()),
        (["EncoderCritic"], 'give --set "EncoderCritic.encoder=..."'),
        (["Sparse", "--set", "ACAI.weight=1"], "ACAI.weight is read by nothing that is checked"),
        (["Sparse", "--set", "Sparse.weight="], "--set 'Sparse.weight='"),
        (["Sparse", "--data", "sounds"], "'images', 'sequences', 'vectors'"),
    ],
)
def test_a_users_mistake(acaikit, sparse: Install, install: Install, args: list[str], said: str) -> None:
    sparse()
    install("acaikit-lost", "1", {"regularisers": {"Lost": "acaikit_lost:Lost"}})
    ran = acaikit("plugin", "check", *args, code=2)
    assert re.search(said, " ".join(ran.err.split())), ran.err
    assert ran.out == ""


def test_a_distribution_goes_on_where_one_part_cannot_be_checked(acaikit, install: Install) -> None:
    points = {"regularizers": {"A": "both:A", "B": "both:B"}, "regularisers": {"C": "both:C"}}
    needy = REGULARIZER.replace("Sparse", "A").replace("weight: float = 1e-3", "weight: float")
    install("acaikit-both", "1", points, {"both.py": needy + REGULARIZER.replace("Sparse", "B")})
    out = acaikit("plugin", "check", "acaikit-both", "--data", "vectors", code=1).out
    assert "✗ is installed in order\n    acaikit-both lists parts under acaikit.regularisers, which is no group" in out
    assert """– can be made: A can't be made without its weight: give --set "A.weight=..."\n""" in out
    assert out.count("✓ goes on with the same bits after a restart") == 1


def test_a_part_that_is_for_images_only_and_does_not_say_so(acaikit, sparse: Install) -> None:
    broken = "if step.x.dim() < 4: raise ValueError('too flat')\n        return step.z.square().mean()"
    sparse(REGULARIZER.replace("return self.weight * step.z.abs().mean()", broken))
    out = acaikit("plugin", "check", "Sparse", code=1).out
    hint = "raise acaikit.errors.UserError in build() where len(architecture.data_shape) != 3"
    assert f"ValueError: too flat; if it is for images only, {hint}\n" in out
    assert re.search(r"  on vectors\n(    ✓ .*\n)+    ✗ .*: as on sequences\n    – \d+ more rules, not tried", out)
    assert out.endswith("; on images it does, and --data images checks on images alone\n")


def test_what_is_left_out(acaikit, sparse: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    sparse()
    monkeypatch.setenv("ACAIKIT_PLUGINS", "")
    for name in ("Sparse", "acaikit-sparse"):
        assert "leaves it out" in acaikit("plugin", "check", name, code=2).err


def test_other_kinds(acaikit) -> None:
    out = acaikit("plugin", "check", "slerp", "--data", "vectors").out
    assert out.startswith("acaikit.paths.slerp  path, from acaikit ") and "can be made" not in out
    critic = ["EncoderCritic", "--set", "EncoderCritic.encoder=@MLPEncoder()", "--set", "MLPEncoder.hidden=(4,)"]
    assert "EncoderCritic conforms" in acaikit("plugin", "check", *critic, "--data", "vectors").out
    out = acaikit("plugin", "check", "Digits", "--set", "Digits.flat=True").out
    assert "\n  ✓ opens nothing when it is made\n" in out and "on images" not in out
    out = acaikit("plugin", "check", "MSE").out
    assert out.count("✓ brings the image to the data as its loss falls") == 3
