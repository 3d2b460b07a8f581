from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from acaikit.artifacts.log import Log


def test_one_line_per_event_with_the_time(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.txt")
    for event in ("begun", "two\nlines", "é \udcff", ""):
        log.add(event)
    lines = (tmp_path / "log.txt").read_text().split("\n")
    assert [line.partition(" ")[2] for line in lines] == ["begun", "two | lines", r"é \udcff", "", ""]
    for line in lines[:-1]:
        stamp = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)Z .*", line)[1]
        assert abs(datetime.fromisoformat(stamp).replace(tzinfo=UTC) - datetime.now(UTC)) < timedelta(minutes=5)


def test_each_event_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two writers' lines don't mix, and a kill leaves no half line."""
    write, written = os.write, []
    monkeypatch.setattr(os, "write", lambda file, data: written.append(data) or write(file, data))
    log = Log(tmp_path / "log.txt")
    log.add("a" * 100_000)
    log.add("b")
    assert [data[-2:] for data in written] == [b"a\n", b"b\n"]


def test_what_is_said_is_heard(tmp_path: Path) -> None:
    said: list[str] = []
    Log(tmp_path / "log.txt").hearing(said.append)("a line")
    assert said == ["a line"]
    assert (tmp_path / "log.txt").read_text().endswith("Z a line\n")


@pytest.mark.parametrize("kind", ["folder", "fifo", "link", "nowhere"])
def test_a_log_that_can_not_be_written_stops_nothing(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "log.txt"
    if kind == "folder":
        file.mkdir()
    elif kind == "fifo":
        os.mkfifo(file)
    elif kind == "link":
        (tmp_path / "precious").write_text("mine")
        file.symlink_to(tmp_path / "precious")
    else:
        file = tmp_path / "none" / "log.txt"
    Log(file).add("event")
    assert kind != "link" or (tmp_path / "precious").read_text() == "mine"
