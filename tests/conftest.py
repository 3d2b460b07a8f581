"""Shared by all tests: one thread, so that tests behave alike on a busy machine, and where the real data are."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch

from acaikit import registry

torch.set_num_threads(1)
# A console keeps the width that it finds here when it is made, and what runs the tests may have set one.
os.environ.pop("COLUMNS", None)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; a test that needs it skips where it is absent."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data (../shared/data) are not here")
    return folder


@pytest.fixture(autouse=True)
def _own_data_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what tests prepare out of the user's own folders."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("ACAIKIT_DATA", raising=False)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Install distributions for the length of a test, as pip lays them out: modules and a dist-info folder.

    ``install("acai-l2", "1.0", {"regularizers": {"L2": "l2:L2"}}, {"l2.py": source})`` returns the folder, which is on
    `sys.path`; as PYTHONPATH it serves another process.
    """
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    modules = set(sys.modules)

    def make(
        name: str, version: str, points: Mapping[str, Mapping[str, str]], files: Mapping[str, str | bytes] | None = None
    ) -> Path:
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        groups = [
            "\n".join([f"[acaikit.{kind}]", *(f"{n} = {v}" for n, v in made.items())]) for kind, made in points.items()
        ]
        (info / "entry_points.txt").write_text("\n".join(groups) + "\n")
        for path, source in (files or {}).items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_bytes(source if isinstance(source, bytes) else source.encode())
        registry.installed.cache_clear()
        return site

    registry.installed.cache_clear()
    yield make
    registry.installed.cache_clear()
    for new in set(sys.modules) - modules:
        # A package without an __init__.py has no __file__, only a path.
        places = [getattr(sys.modules[new], "__file__", None), *getattr(sys.modules[new], "__path__", ())]
        if any(str(place).startswith(str(site)) for place in places):
            del sys.modules[new]
