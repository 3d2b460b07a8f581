from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from acaikit import cli, progress

SMALL = {
    "Lines.height": 8,
    "Lines.width": 8,
    "Lines.test_size": 16,
    "depth": 2,
    "latent": 2,
    "scales": 2,
    "Experiment.samples": 256,
    "Experiment.evaluate_every": 128,
}
TINY = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Command:
    """Calls ``acaikit ARGS`` in this process; an exception that would be a traceback in a shell fails the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *args: object, code: int = 0) -> Ran:
        self.monkeypatch.setattr(sys, "argv", ["acaikit", *map(str, args)])
        self.capsys.readouterr()
        try:
            cli.main()
            returned = 0
        except SystemExit as exit_:
            returned = int(exit_.code or 0)
        ran = Ran(returned, *self.capsys.readouterr())
        assert ran.code == code, ran
        return ran


@pytest.fixture
def acaikit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line, in an empty working directory and a wide terminal."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("ACAIKIT_DATA", str(tmp_path))  # --data-dir overwrites it; it is restored afterwards
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("ACAIKIT_MIRROR", raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):  # nothing but this machine can be reached
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr(progress.console, "quiet", False)  # so does --quiet
    monkeypatch.setattr("acaikit.allocator.keep_freed_memory", lambda: False)  # which can't be undone
    return Command(monkeypatch, capsys)


@pytest.fixture(scope="session")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "finished"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress.console, "quiet", True)  # what --quiet does, and what is undone here
        patch.setattr("acaikit.allocator.keep_freed_memory", lambda: False)
        patch.setattr(sys, "argv", ["acaikit", "run", "quickstart", *TINY, "--dir", str(path), "--quiet"])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
    assert not exit_.value.code
    return path


@pytest.fixture
def finished(_finished: Path, acaikit: Command) -> Path:
    """A finished run of the quickstart on 8x8 lines, 256 samples: a copy of one's own, in the working directory."""
    return Path(shutil.copytree(_finished, "finished"))


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Options that make the quickstart small enough for a test."""
    return list(TINY)
