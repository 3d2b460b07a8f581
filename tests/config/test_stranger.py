"""Somebody else's recipe: it runs no code, reads no file but recipes below its folder, and doesn't take all memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import acaikit
from acaikit.config import build, read_recipe, read_resolved
from acaikit.errors import UserError
from acaikit.recipes import recipe_root

BASE = """Experiment.dataset = @Lines()
Experiment.encoder = @ConvEncoder()
Experiment.decoder = @ConvDecoder()
Experiment.regularizers = [@ACAI()]
"""
CANARY = "from pathlib import Path\n\n\ndef Run(*_):\n    Path({made!r}).touch()\n\n\nRun()\n"

ATTACKS = {
    # code
    "import": "import os",
    "import of what lies beside": "import canary",
    "from import": "from canary import Run",
    "import as": "import canary as ACAI",
    "import in a block": "ACAI:\n  import canary",
    "import after a joined line": "ACAI.weight = \\\n 1.0\nimport canary",
    "a call": "ACAI.weight = __import__('canary').Run()",
    "a call of a part": "ACAI.weight = @canary.Run()",
    "a Python path": "ACAI.weight = @os.system()",
    "a Python path that is bound": "os.system.command = 'touch made'",
    "an entry point": "ACAI.weight = @canary:Run()",
    "a scope that is a path": "ACAI.weight = @../canary/Run()",
    "builtins": "ACAI.weight = @builtins.eval()\nbuiltins.eval.source = '1'",
    "a part's attribute": "ACAI.weight = @ACAI.load_state_dict()",
    "a part's special attribute": "ACAI.critic = @acaikit.regularizers.ACAI.__init__.__globals__()",
    "an attribute as parameter": "ACAI.__class__ = 5",
    "self": "ACAI.self = 5",
    "a function of gin's": "ACAI.weight = @gin.singleton()\ngin.singleton.constructor = @ACAI",
    "a kind that is none": "ACAI.weight = @acaikit.config.read_recipe()",
    # values
    "a format string": 'ACAI.weight = f\'{open("made", "w")}\'',
    "a format": "ACAI.weight = '{0.__class__}'.format(1)",
    "a remainder": "ACAI.weight = '%9999999999d' % 1",
    "a lambda": "ACAI.weight = lambda: 1",
    "a comprehension": "ACAI.weight = [x for x in 'abc']",
    "a product": "ACAI.weight = 'a' * 10000000000",
    "a power": "ACAI.weight = 9**9**9",
    "a long number": f"ACAI.weight = {'9' * 10_000}",
    "many brackets": f"ACAI.weight = {'[' * 10_000}{']' * 10_000}",
    "many open brackets": f"ACAI.weight = {'{(' * 10_000}",
    "a long name": f"ACAI.weight = @{'A' * 20_000}()",
    "an endless text": "ACAI.weight = '''" + "a\n" * 10_000,
    "macros that double": "".join(f"m{i} = [%m{i + 1}, %m{i + 1}]\n" for i in range(40)) + "m40 = 1\nACAI.weight = %m0",
    "parts that double": "".join(
        f"s{i}/EncoderCritic.encoder = [@s{i + 1}/EncoderCritic(), @s{i + 1}/EncoderCritic()]\n" for i in range(40)
    )
    + "ACAI.critic = @s0/EncoderCritic()",
    "macros in a circle": "a = %b\nb = [%a]\nACAI.weight = %a",
    "parts in a circle": "ACAI.critic = @EncoderCritic()\nEncoderCritic.encoder = @EncoderCritic()",
    "parts without end": "".join(
        f"{'a/' * i}EncoderCritic.encoder = @{'a/' * (i + 1)}EncoderCritic()\n" for i in range(90)
    )
    + "ACAI.critic = @EncoderCritic()",
    "many macros in a row": "".join(f"m{i} = %m{i + 1}\n" for i in range(1500)) + "ACAI.weight = %m0",
    "many mistakes": "ACAI.wieght = 1\n" * 1500,
    "many unknown parts": "".join(f"Part{i}.x = 1\n" for i in range(1500)),
    "many unknown macros": "".join(f"ACAI.x{i} = %m{i}\n" for i in range(1000)),
    "a very long file": "# comment\n" * 200_000,
    "no text": "\0\1\2\x1b[2J",
    # files
    "a file above": "include '../outside.gin'",
    "a file above, in a roundabout way": "include 'sub/../../outside.gin'",
    "an absolute path": "include '{outside}'",
    "the user's folder": "include '~/outside.gin'",
    "an environment variable": "include '$HOME/outside.gin'",
    "an address": "include 'file://{outside}'",
    "a link": "include 'link.gin'",
    "a folder that is a link": "include 'above/outside.gin'",
    "an include in an include": "include 'sub/inner.gin'",
    "a link in an include": "include 'sub/inner_link.gin'",
    "NUL": "include 'outside.gin\\0.gin'",
    "another separator": "include '..\\\\outside.gin'",
    "a long path": f"include '{'a/' * 9000}outside.gin'",
    "a folder": "include 'sub'",
    "the folder itself": "include '.'",
    "a device": "include '/dev/zero'",
    "a link to a device": "include 'zero.gin'",
    "a pipe": "include 'pipe.gin'",
    "the process": "include '/proc/self/environ'",
    "the secrets": "include '/etc/passwd'",
    "itself": "include 'r.gin'",
    "many files": "".join(f"include 'many/{i}.gin'\n" for i in range(100)),
    "a long chain of files": "include 'chain/0.gin'",
    "a link to itself": "include 'loop.gin'",
}

_opened: list[str] | None = None


def _listen(event: str, arguments: tuple[object, ...]) -> None:
    if _opened is not None and event in ("open", "os.system", "subprocess.Popen", "os.exec", "socket.connect"):
        _opened.append(str(arguments[0]) if event == "open" else f"/{event}")


@pytest.fixture(scope="module")
def listening() -> None:
    build(read_resolved(BASE))  # importing the libraries opens more than recipes may
    sys.addaudithook(_listen)  # for good: Python can't take one away


@pytest.fixture
def opened(listening: None) -> Iterator[list[str]]:
    """What this process opens or starts during the test."""
    global _opened
    _opened = []
    yield _opened
    _opened = None


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stranger's folder, and a file beside it that is none of theirs."""
    (tmp_path / "outside.gin").write_text("ACAI.weight = 1.0\n")
    inside = tmp_path / "stranger"
    for name in ("sub", "many", "chain"):
        (inside / name).mkdir(parents=True)
    (inside / "canary.py").write_text(CANARY.format(made=str(tmp_path / "made")))
    (inside / "sub" / "inner.gin").write_text("include '../../outside.gin'\n")
    (inside / "sub" / "inner_link.gin").write_text("include 'link.gin'\n")
    (inside / "sub" / "link.gin").symlink_to(tmp_path / "outside.gin")
    (inside / "link.gin").symlink_to(tmp_path / "outside.gin")
    (inside / "above").symlink_to(tmp_path)
    (inside / "zero.gin").symlink_to("/dev/zero")
    (inside / "loop.gin").symlink_to(inside / "loop.gin")
    os.mkfifo(inside / "pipe.gin")
    for i in range(100):
        (inside / "many" / f"{i}.gin").write_text("# comment\n" * 500)
        (inside / "chain" / f"{i}.gin").write_text(f"include '{i + 1}.gin'\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(inside)
    monkeypatch.syspath_prepend(inside)  # as it is for `python -m acaikit` in that folder
    return inside


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("made", [BASE, ""], ids=["in an experiment", "alone"])
def test_a_strangers_recipe_is_refused(folder: Path, opened: list[str], attack: str, made: str) -> None:
    text = ATTACKS[attack].replace("{outside}", str(folder.parent / "outside.gin"))
    Path("r.gin").write_text(f"{made}{text}\n")
    opened.clear()
    with pytest.raises(UserError) as caught:
        build(read_recipe("r.gin"))
    assert len(str(caught.value)) < 100_000
    assert not (folder.parent / "made").exists()
    own = [
        folder,
        recipe_root(),
        Path(acaikit.__file__).parent,
        Path(sys.prefix),
        Path(sys.base_prefix),
    ]
    known = [place.resolve() for place in own] + [Path(p).resolve() for p in sys.path if p.endswith("-packages")]
    foreign = [name for name in opened if not any(Path(name).resolve().is_relative_to(place) for place in known)]
    assert not foreign
    assert "canary" not in sys.modules
    assert not [name for name in opened if name.endswith("canary.py")]
