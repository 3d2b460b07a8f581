from __future__ import annotations

import json
import re
import runpy
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import typer

from acaikit.cli import app
from acaikit.studies.layout import Plan, Run, StudyDir

COMMANDS = sorted(typer.main.get_command(app).commands)
DOCS = Path(__file__).parents[2] / "docs"
PAGE = runpy.run_path(str(DOCS / "make_cli.py"))
QUICKER = {
    "run": ["--dry-run"],
    "sweep": ["--dry-run"],
    "resume": ["--max-time", "0"],
    "eval": ["--set", "KMeans.restarts=2"],
}


def test_the_commands() -> None:
    assert COMMANDS == [
        "compare",
        "config",
        "data",
        "eval",
        "figure",
        "list",
        "plugin",
        "resume",
        "run",
        "show",
        "status",
        "sweep",
        "table",
        "verify",
    ]


def test_the_version(acaikit) -> None:
    assert acaikit("--version").out == f"acaikit {metadata.version('acaikit')}\n"


def test_the_page_of_commands_is_up_to_date() -> None:
    written = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert written == PAGE["page"](), "an option or a help text has changed: run python docs/make_cli.py"


def test_every_command_has_an_example() -> None:
    said = dict(PAGE["helps"]())
    assert {f"acaikit {command}" for command in COMMANDS} < set(said)
    for command, text in said.items():
        example = "Begin with: acaikit run quickstart" if command == "acaikit" else f"Example: {command} "
        assert example in f"{text} "


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_names_every_command_and_where_to_begin(acaikit, flag: str) -> None:
    out = acaikit(flag).out
    for command in COMMANDS:
        assert re.search(rf"^\W*{command}\s+\w", out, re.MULTILINE)
    assert "Begin with: acaikit run quickstart" in out


def test_no_arguments_show_the_help(acaikit) -> None:
    ran = acaikit(code=2)
    assert "Begin with" in ran.out + ran.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example_that_works(acaikit, finished, tmp_path, command: str) -> None:
    ran = acaikit(command, "--help")
    example = re.search(r"Example: acaikit (.*)", ran.out)
    assert example
    words = shlex.split(example[1])
    assert words[0] == command
    StudyDir(tmp_path).write(Plan("table1", "table1.gin", (Run("quickstart-s0", "quickstart", (), 0),), ()), {})
    there = {"runs": str(finished), "studies": str(tmp_path)}
    acaikit(*[there.get(word.partition("/")[0], word) for word in words], *QUICKER.get(command, []))


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["run", "--help"],
        ["data", "--help"],
        ["data", "fetch", "--help"],
        ["plugin", "new", "--help"],
        ["list"],
        ["list", "--json"],
        ["show", "--no-such-option"],
        ["show", "quickstart"],
    ],
)
def test_quick_commands_import_nothing_heavy(args: list[str]) -> None:
    script = """
import json, sys
from acaikit.cli import main
sys.argv = ["acaikit", *sys.argv[1:]]
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
    ran = subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True, check=False)
    modules = set(json.loads(ran.stderr.splitlines()[-1]))
    assert "acaikit.registry" in modules
    assert not {"torch", "sklearn", "matplotlib", "numpy", "scipy", "h5py"} & modules
    assert ("gin" in modules) == ("quickstart" in args)


def test_up_to_its_first_step_a_run_imports_nothing_that_only_others_need(tmp_path: Path) -> None:
    """Of torch's compiler, whose import takes as long as torch's, neither a checkpoint nor an outline has need."""
    script = """
import json, os, sys
from acaikit.cli import main
from torch.optim.optimizer import register_optimizer_step_post_hook

def stepped(optimizer, *_):
    from acaikit.config import build, read_recipe

    optimizer.load_state_dict(optimizer.state_dict())
    build(read_recipe("lines_vqvae_acai_64")).outline()
    print(json.dumps(sorted(sys.modules)), flush=True)
    os._exit(0)

register_optimizer_step_post_hook(stepped)
sys.argv = ["acaikit", *sys.argv[1:]]
main()
"""
    args = ["run", "quickstart", "--dir", str(tmp_path / "r"), "--quiet", "--device", "cpu"]
    ran = subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True, check=False)
    modules = set(json.loads(ran.stdout))
    heavy = {"torch._dynamo", "torch._inductor", "sympy", "scipy", "sklearn", "pandas", "matplotlib", "requests"}
    assert "acaikit.engine" in modules
    assert not heavy & modules


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["trian"], "No such command"),
        (["run"], "Missing argument"),
        (["run", "quickstart", "--sead", "3"], "--seed"),
        (["run", "quickstart", "--seed", "x"], "--seed"),
        (["run", "quickstart", "--device", "tpu"], "'cpu', 'cuda'"),
        (["run", "quickstart", "--threads", "0"], "--threads"),
        (["list", "paths", "more"], "unexpected extra argument"),
    ],
)
def test_misused_commands(acaikit, args: list[str], said: str) -> None:
    assert said in acaikit(*args, code=2).err


@pytest.mark.parametrize(
    ("args", "code", "said"), [(["list", "paths"], 0, ""), (["show", "quikstart"], 2, "error: there is no file")]
)
def test_exit_codes_of_the_module(args: list[str], code: int, said: str) -> None:
    ran = subprocess.run([sys.executable, "-m", "acaikit", *args], capture_output=True, text=True, check=False)
    assert ran.returncode == code
    assert ran.stderr.startswith(said)
    assert "Traceback" not in ran.stderr
    assert bool(ran.stdout) == (code == 0)
