"""What a recipe's errors say, word for word: where, what, and what would have worked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BASE = """Experiment.dataset = @Lines()
Experiment.encoder = @ConvEncoder()
Experiment.decoder = @ConvDecoder()
Experiment.regularizers = [@big/ACAI()]
ConvEncoder.scales = %scales
ConvDecoder.scales = %scales
scales = 2
big/ACAI.weight = 0.5
"""

LINE_9 = {
    "an unknown part": ("Experiment.likelihood = @MES()", "no part is called 'MES': did you mean MSE or KMeans?"),
    "a part in another case": ("Experiment.likelihood = @mse()", "no part is called 'mse': did you mean MSE?"),
    "an unknown part's parameter": ("Liness.height = 16", "no part is called 'Liness': did you mean Lines?"),
    "an unknown parameter": ("Lines.hieght = 16", "Lines has no parameter 'hieght': did you mean height?"),
    "a misspelled scope": (
        "bug/ACAI.gamma = 0.1",
        "nothing reads bug/ACAI.gamma: no reference has the scope 'bug': did you mean big?",
    ),
    "a misspelled macro": ("Experiment.samples = %sacles", "no macro is called 'sacles': did you mean scales?"),
    "an undefined macro": (
        "Experiment.samples = %budget",
        "no macro is called 'budget': define it in a line of its own, budget = ...; defined are scales",
    ),
    "a binding that nothing reads": (
        "KL.weight = 1.0",
        "nothing reads KL.weight: KL is not part of this experiment: write @KL() where it is meant, or leave this out",
    ),
    "a macro that nothing reads": ("budget = 5", "nothing reads the macro 'budget': write %budget where it is meant"),
    "a binding that is overridden everywhere": (
        "ACAI.weight = 1.0",
        "nothing reads ACAI.weight: wherever ACAI is built, big/ACAI.weight (r.gin:8) stands above it: leave one of "
        "them out",
    ),
    "a number in quotes": (
        "big/ACAI.gamma = '0.1'",
        "ACAI.gamma must be a number in [0, 1], not '0.1': a number is written without quotes, 0.1",
    ),
    "a whole number in quotes": (
        "Experiment.seed = '3'",
        "Experiment.seed must be a whole number of at least 0, not '3': a number is written without quotes, 3",
    ),
    "a part in quotes": (
        "Experiment.likelihood = 'MSE'",
        "Experiment.likelihood must be a Likelihood, not 'MSE': a part is written @MSE()",
    ),
    "a part that is not made": (
        "Experiment.likelihood = @MSE",
        "Experiment.likelihood must be a Likelihood, not a part that is not made: write @Name() with brackets",
    ),
    "a part of another kind": (
        "Experiment.likelihood = @Lines()",
        "Experiment.likelihood must be a Likelihood, not a Lines",
    ),
    "a truth in quotes": (
        "Experiment.probe = 'True'",
        "Experiment.probe must be a bool, not 'True': write True or False",
    ),
    "a fraction": (
        "Experiment.samples = 1e3",
        "Experiment.samples must be a whole number of at least 1, not 1000.0: write 1000",
    ),
    "a value out of range": ("big/ACAI.gamma = 2", "ACAI.gamma must be a number in [0, 1], not 2"),
    "a value that is the user's to give": (
        "Experiment.samples = %gin.REQUIRED",
        'Experiment.samples is yours to give: in a recipe, or with --set "Experiment.samples = ..."',
    ),
    "a missing value": (
        "big/ACAI.critic = @EncoderCritic()",
        "nothing sets EncoderCritic.encoder, which has no default: add a line such as EncoderCritic.encoder = ...",
    ),
    "an unquoted text": (
        "FactorBenchmark.path = slerp",
        "`FactorBenchmark.path = slerp` can't be read: a text needs quotes ('slerp')",
    ),
    "a part without @": (
        "Experiment.likelihood = MSE()",
        "`Experiment.likelihood = MSE()` can't be read: a part needs an @ (@MSE())",
    ),
    "an unclosed bracket": (
        "Experiment.evaluators = [@Reconstruction()",
        "the bracket [ in `Experiment.evaluators = [@Reconstruction()` is never closed",
    ),
    "an unclosed text": (
        "FactorBenchmark.path = 'slerp",
        "the text in `FactorBenchmark.path = 'slerp` is never closed: it ends with a second '",
    ),
    "an include that is not found": (
        "include 'modle/vae.gin'",
        "include 'modle/vae.gin' is found neither in HERE nor among acaikit's own recipes: did you mean "
        "'model/vae.gin' or 'model/vqvae.gin' or 'model/aae.gin'?",
    ),
    "an include of what is not near": (
        "include 'no/such/thing.gin'",
        "include 'no/such/thing.gin' is found neither in HERE nor among acaikit's own recipes: the latter are in ROOT",
    ),
    "an include of what lies outside": (
        "include '../other.gin'",
        "include '../other.gin' lies outside HERE and acaikit's own recipes: put a copy beside the recipe",
    ),
    "a circle of includes": ("include 'r.gin'", "a circle of includes: r.gin includes r.gin"),
    "an import": (
        "import torch",
        "`import torch` is refused: a recipe must not run code; parts are found by name once they are installed "
        "(acaikit list)",
    ),
    "a binding given twice": (
        "scales = 2",
        "scales is bound a second time; the first is r.gin:7: keep one of them",
    ),
    "brackets and escapes": (
        "x = [red]a[/] :smile: \\n \x1b[31m é 😀",
        "the bracket [ in `x = [red]a[/] :smile: \\n \\x1b[31m é 😀` is never closed",
    ),
}
"""What the ninth line of a recipe is, and what is said of it."""


def said(text: str, acaikit, *options: str) -> str:
    Path("r.gin").write_text(text)
    ran = acaikit("run", "r.gin", "--dry-run", *options, code=2)
    assert ran.out == ""
    return ran.err


@pytest.mark.parametrize("mistake", LINE_9)
def test_a_mistake_in_a_recipe(acaikit, mistake: str) -> None:
    from acaikit.recipes import recipe_root

    line, expected = LINE_9[mistake]
    expected = expected.replace("HERE", str(Path.cwd())).replace("ROOT", str(recipe_root()))
    assert said(f"{BASE}{line}\n", acaikit) == f"error: r.gin:9: {expected}\n"


SETS = {
    "big/ACAI.wieght=1": "ACAI has no parameter 'wieght': did you mean weight?",
    "scale=3": "nothing reads the macro 'scale': did you mean scales?",
    "scales": "`scales` can't be read: a line binds a value: Part.parameter = value",
    "big/ACAI.weight=-1": "ACAI.weight (lambda) must be a number of at least 0, not -1",
    "scales=2.5": "ConvEncoder.scales must be a whole number of at least 1, not 2.5 (ConvEncoder.scales is %scales at "
    "r.gin:5)",
    "ACAI.weight=1": "nothing reads ACAI.weight: wherever ACAI is built, big/ACAI.weight (r.gin:8) stands above it: "
    "write --set big/ACAI.weight=1",
    "ACAI.weight = 1.5": "nothing reads ACAI.weight: wherever ACAI is built, big/ACAI.weight (r.gin:8) stands above "
    "it: write --set big/ACAI.weight=1.5",
}


@pytest.mark.parametrize("binding", SETS)
def test_a_mistake_in_an_override(acaikit, binding: str) -> None:
    assert said(BASE, acaikit, "--set", binding) == f"error: --set {binding!r}: {SETS[binding]}\n"


def test_what_an_error_proposes_works(acaikit) -> None:
    Path("r.gin").write_text(BASE)
    acaikit("run", "r.gin", "--dry-run", "--set", "big/ACAI.weight=1")


def test_a_missing_value_of_the_experiment(acaikit) -> None:
    text = BASE.replace("Experiment.dataset = @Lines()\n", "")
    assert said(text, acaikit) == (
        "error: r.gin:1: nothing sets Experiment.dataset, which has no default: add a line such as "
        "Experiment.dataset = ...\n"
    )


def test_a_macro_that_is_misspelled_where_it_is_defined(acaikit) -> None:
    assert said(BASE.replace("scales = 2", "sacles = 2"), acaikit) == (
        "error: r.gin:7: nothing reads the macro 'sacles': did you mean scales, which r.gin:5 and r.gin:6 read?\n"
    )


def test_bindings_that_are_unread_for_one_reason_are_one_fault(acaikit) -> None:
    assert said(f"{BASE}KL.weight = 1.0\n\nbug/ACAI.gamma = 0.1\nbug/ACAI.weight = 1\n", acaikit) == (
        "error: r.gin:9: nothing reads KL.weight: KL is not part of this experiment: write @KL() where it is meant, or "
        "leave this out\n"
        "r.gin:11: nothing reads bug/ACAI.gamma, bug/ACAI.weight (r.gin:12): no reference has the scope 'bug': did you "
        "mean big?\n"
    )


LARGE = ("Experiment.dataset = @Lines()", "Lines.height = 18\nLines.width = 18\nExperiment.dataset = @Lines()")
UNEVEN = ("ConvDecoder.scales = %scales", "ConvDecoder.scales = 3\nExperiment.batch_size = 32")
UNLIKE = ("Experiment.encoder = @ConvEncoder()\n", "Experiment.encoder = @MLPEncoder()\n")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            [LARGE],
            "r.gin:9: ConvEncoder.scales = 2 needs images whose sides are multiples of 4; those of Experiment.dataset "
            "are 18 x 18 (ConvEncoder.scales is bound at r.gin:7, Experiment.dataset is bound at r.gin:3)",
        ),
        (
            [UNEVEN],
            "r.gin:6: ConvDecoder.scales = 3 turns the encoder's latents of 8 x 8 into images of 64 x 64, but the "
            "dataset's images are 32 x 32: ConvEncoder.scales must be the same (scales is bound at r.gin:8, "
            "ConvEncoder.scales is bound at r.gin:5)",
        ),
        (
            [UNLIKE, ("ConvEncoder.scales = %scales\n", "")],
            "r.gin:3: ConvDecoder works on images [C, H, W] and sequences [C, L]; here it meets latents of shape [16]: "
            "MLPDecoder takes any shape",
        ),
    ],
)
@pytest.mark.parametrize("command", [["run", "r.gin"], ["run", "r.gin", "--dry-run"], ["show", "r.gin", "--sizes"]])
def test_sizes_that_do_not_fit_together(acaikit, command: list[str], changes: list[tuple[str, str]], said: str) -> None:
    """Told before anything is trained or fetched: CelebA is not here and can't be fetched."""
    text = BASE
    for before, after in [*changes, *([("@Lines", "@CelebA")] if LARGE not in changes else [])]:
        text = text.replace(before, after)
    Path("r.gin").write_text(text)
    told = acaikit(*command, code=2).err
    assert told == f"error: {said}\n"
    assert not Path("runs").exists()


FAULTS = [
    "r.gin:3: the bracket [ in `Experiment.evaluators = [@Reconstruction()` is not closed when `Lines.height = 16` "
    "begins in line 4",
    "r.gin:5: no part is called 'Liness': did you mean Lines?",
    "below.gin:1: `import os` is refused: a recipe must not run code; parts are found by name once they are installed "
    "(acaikit list)",
    "below.gin:3: ACAI has no parameter 'wieght': did you mean weight?",
    "below.gin:4: ACAI.gamma must be a number in [0, 1], not 2",
    "below.gin:5: `Experiment.probe = true` can't be read: write True",
    "below.gin:6: no macro is called 'budgte': did you mean budget?",
    "--set 'KL.weight=1': nothing reads KL.weight: KL is not part of this experiment: write @KL() where it is meant, "
    "or leave this out",
]


def test_one_report_lists_all_faults_of_all_files(acaikit) -> None:
    Path("below.gin").write_text(
        "import os\nExperiment.regularizers = [@ACAI()]\nACAI.wieght = 1\nACAI.gamma = 2\nExperiment.probe = true\n"
        "Experiment.samples = %budgte\nbudget = 1000\n"
    )
    text = (
        "include 'below.gin'\nExperiment.dataset = @Lines()\nExperiment.evaluators = [@Reconstruction()\n"
        "Lines.height = 16\nLiness.width = 16\n"
        "Experiment.encoder = @ConvEncoder()\nExperiment.decoder = @ConvDecoder()\n"
    )
    told = said(text, acaikit, "--set", "KL.weight=1").removeprefix("error: ")
    assert told.replace(f"{Path.cwd()}/", "").splitlines() == FAULTS


def test_a_very_long_line_is_cut(acaikit) -> None:
    line = "x = " + "a b" * 1000
    assert said(f"{BASE}{line}\n", acaikit).startswith(f"error: r.gin:9: `{line[:160]} ...` can't be read: ")


@pytest.mark.parametrize("forced", [{}, {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "40"}])
def test_messages_survive_colours(forced: dict[str, str]) -> None:
    """In a process of its own, as rich looks at the terminal once."""
    message = "r.gin:1: `[red]x[/] [/nothing] :smile: \\[bold] " + "long " * 50 + "é 😀 https://a.b 12 'text'`"
    code = f"from acaikit.cli.terminal import fail; fail({message!r})"
    env = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    env |= {"PYTHONIOENCODING": "utf-8", **forced}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", env=env, check=True)
    before = "\x1b[1;31merror:\x1b[0m " if forced else "error: "
    assert ran.stderr == f"{before}{message}\n"
