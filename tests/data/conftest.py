from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from acaikit.data.fetch import MIRROR


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder that isn't there yet, no cache of the user's, and no network but this machine."""
    send = requests.Session.send

    def nearby(self: requests.Session, request: requests.PreparedRequest, **more: Any) -> requests.Response:
        if urlsplit(request.url).hostname not in ("localhost", "127.0.0.1"):
            raise requests.ConnectionError("tests use no network")
        return send(self, request, **more)

    monkeypatch.setattr(requests.Session, "send", nearby)
    monkeypatch.setenv("ACAIKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(MIRROR, raising=False)
    return tmp_path / "data"
