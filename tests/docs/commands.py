"""What the commands of a document do when it is tested: themselves, at a reduced budget and without the network."""

from __future__ import annotations

import importlib.metadata
import os
import re
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from acaikit import cli
from acaikit.config import read_recipe
from acaikit.errors import UserError

TRAINING = {
    "": ("Experiment.samples = 128", "Experiment.evaluate_every = 128"),  # two steps and one evaluation
    r"^depth = ": ("depth = 2",),  # networks for colour have 64, which are a thousand times slower
    r"@acaikit\.evaluators\.FactorBenchmark\b": ("FactorBenchmark.pairs = 16",),  # 256 take half a second
    r"@acaikit\.datasets\.Lines\b": ("Lines.test_size = 64",),  # 1,000 take a third of a second
}
"""What ``acaikit run`` gets by ``--set``, for recipes that resolve to a text in which the pattern is found."""
STUDIED = (
    "Study.seeds = [0]",
    "Study.overrides = ['Experiment.samples = 128', 'Experiment.evaluate_every = 128', 'Lines.test_size = 64', "
    "'FactorBenchmark.pairs = 16']",
)
"""What ``acaikit sweep`` gets by ``--set``, for studies of lines."""
FEWER = {"quick": "Study.recipes = ['lines_baseline_64', 'lines_acai_64']"}
"""And what the study of a name gets too: a process for each run takes seconds."""
RESUMED = "256"
"""What ``acaikit resume --samples`` gets: twice the budget above."""
MEASURING = {
    ("--kmeans",): ("KMeans.restarts = 4", "KMeans.examples = 500"),  # of 1,000 restarts and 60,000 examples: minutes
    ("--kmeans", "strict"): ("StrictKMeans.restarts = 4", "StrictKMeans.examples = 500"),
    ("--linear-probe",): ("LinearProbe.examples = 500",),  # sets that are drawn on the fly have 60,000
    ("--probe", "strict"): ("LinearProbe.examples = 500",),
    ("--latents",): ("Latents.examples = 500",),
    ("--scorecard",): ("Scorecard.pairs = 4", "Scorecard.neighbours = 500"),  # 64 geodesics take ten seconds
}
"""What ``acaikit eval`` gets by ``--set``, where all of the words are among its arguments."""
OPTIONS = ("--no-deps", "--no-build-isolation", "--no-index", "--upgrade", "--quiet")
"""What ``pip install`` gets, besides a throw-away folder to install to."""


def run(name: str, *args: str) -> None:
    """Run the command called `name`; it may raise SystemExit."""
    {"acaikit": _acaikit, "python": _python, "python3": _python, "pip": _pip, "pytest": _pytest}[name](args)


def reduced(args: Sequence[str]) -> list[str]:
    """Return the arguments of acaikit, those that train or measure at a reduced budget."""
    match args:
        case ["run", recipe, *options] if "--dry-run" not in options:
            return ["run", recipe, *_set(options, _training(recipe, options))]
        case ["resume", *options]:
            return ["resume", *(RESUMED if before == "--samples" else word for before, word in _pairs(options))]
        case ["sweep", *words] if "--on" in words:  # a cluster that isn't here
            return ["sweep", *words, "--dry-run"]
        case ["sweep", study, *options] if "--dry-run" not in options and not Path(study).is_dir():
            fewer = [FEWER[study]] if study in FEWER else []
            return ["sweep", study, *_set(options, [*STUDIED, *fewer])]
        case ["eval", *options]:
            fitting = [bindings for words, bindings in MEASURING.items() if set(words) <= set(options)]
            return ["eval", *_set(options, [binding for bindings in fitting for binding in bindings])]
    return list(args)


def _training(recipe: str, options: Sequence[str]) -> list[str]:
    try:
        resolved = read_recipe(recipe, [word for before, word in _pairs(options) if before == "--set"]).resolved
    except UserError:  # the command will say it
        return []
    found = [bindings for pattern, bindings in TRAINING.items() if re.search(pattern, resolved, re.MULTILINE)]
    return [binding for bindings in found for binding in bindings]


def _set(options: Sequence[str], bindings: Sequence[str]) -> list[str]:
    """Add ``--set`` for each of `bindings`, in place of one that is there for the same parameter."""
    ours = {binding.partition("=")[0].strip() for binding in bindings}
    kept: list[str] = []
    for before, word in _pairs(options):
        if before == "--set" and word.partition("=")[0].strip() in ours:
            kept.pop()
        else:
            kept.append(word)
    return [*kept, *(word for binding in bindings for word in ("--set", binding))]


def _pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(["", *words], words, strict=False))


def _acaikit(args: Sequence[str]) -> None:
    sys.argv = ["acaikit", *reduced(args)]
    cli.main()


def _pytest(args: Sequence[str]) -> None:
    _module("pytest", args)


def _pip(args: Sequence[str]) -> None:
    if args[0] != "install":
        sys.exit(f"pip {args[0]} is not for documents")
    kept: list[str] = []
    for before, word in _pairs(args[1:]):
        local = word.startswith(".") or os.sep in word
        if local or word.startswith("-") or before in ("-c", "-r"):
            kept.append(word)
        elif not _installed(word):
            sys.exit(f"pip install {word}: the network is needed")
    if any(not word.startswith("-") for word in kept):
        _module("pip", ["install", *OPTIONS, "--target", os.environ["SITE"], *kept])


def _installed(requirement: str) -> bool:
    try:
        importlib.metadata.distribution(re.split(r"[\[<>=~! ]", requirement)[0])
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _python(args: Sequence[str]) -> None:
    match args:
        case ["-P", *rest]:  # the folder that Python puts first is what the others add
            _python(rest)
        case ["-m", "venv", folder]:
            Path(folder, "bin").mkdir(parents=True)
            Path(folder, "bin", "activate").touch()
        case ["-m", "pip", *rest]:
            _pip(rest)
        case ["-m", "acaikit", *rest]:
            _acaikit(rest)
        case ["-m", name, *rest]:
            sys.path.insert(0, str(Path.cwd()))
            _module(name, rest)
        case ["-c", code, *rest]:
            sys.argv = ["-c", *rest]
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
        case [file, *rest] if not file.startswith("-"):
            sys.argv = [file, *rest]
            sys.path.insert(0, str(Path(file).resolve().parent))
            runpy.run_path(file, run_name="__main__")
        case _:
            sys.exit(f"python {' '.join(args)}: not for documents")


def _module(name: str, args: Sequence[str]) -> None:
    sys.argv = [name, *args]
    runpy.run_module(name, run_name="__main__", alter_sys=True)
