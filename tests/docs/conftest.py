from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import beforehand
import pytest
from local_server import Page, serving
from runner import Runner

HERE = Path(__file__).parent
SHIMMED = ("acaikit", "pip", "pytest", "python", "python3")
"""Commands that the fork server runs."""
LIMIT = 120
"""Seconds that a command or a block of Python may take, on a busy machine."""


@pytest.fixture(scope="session")
def _environment() -> Iterator[dict[str, str]]:
    """The environment of every command, with the fork server that runs them and a mirror of the small sets."""
    # The path of a socket must be short.
    with tempfile.TemporaryDirectory() as place, serving() as mirror:
        folder = Path(place)
        address, shims, sets = folder / "socket", folder / "bin", folder / "sets"
        shims.mkdir()
        for name in SHIMMED:
            shim = shims / name
            shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -E "{HERE / "shim.py"}" {name} "$@"\n')
            shim.chmod(0o755)
        environment = {
            "PATH": f"{shims}{os.pathsep}{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": "1",
            "SHIMS": str(shims),
            "FORK_SERVER": str(address),
            "ACAIKIT_MIRROR": mirror.url,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
        }
        server = subprocess.Popen(
            [sys.executable, str(HERE / "fork_server.py"), str(address), str(sets)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert server.stdout
        try:
            assert server.stdout.readline() == b"ready\n", "the fork server doesn't start"
            for file in sets.glob("*/*"):
                mirror.pages[f"/{file.relative_to(sets)}"] = Page(file.read_bytes())
            yield environment
        finally:
            server.stdout.close()
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()


@pytest.fixture
def run_document(_environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Runner]]:
    """Runs a document of a name and a text in an empty folder, or in one that holds what the name is known to need."""
    runners: list[Runner] = []

    def run(name: str, text: str, limit: float = LIMIT) -> Runner:
        for folder in ("work", "home", "scratch", "site"):
            (tmp_path / folder).mkdir()
        beforehand.prepare(name, tmp_path / "work")
        environment = {**_environment, "HOME": str(tmp_path / "home"), "SITE": str(tmp_path / "site")}
        runner = Runner(name, tmp_path / "work", tmp_path / "scratch", environment, limit)
        runners.append(runner)
        runner.run(text)
        return runner

    yield run
    for runner in runners:
        runner.close()
    shutil.rmtree(tmp_path / "work", ignore_errors=True)
