from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit.studies.outcome import Outcome, Stage, State

ONE = Outcome(State.FAILED, Stage.TRAINING, "2026-01-01T00:00:00+00:00", "", "here", 2, ("ValueError: ü",), ("a", "64"))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LINES = st.lists(TEXTS, max_size=3).map(tuple)
OUTCOMES = st.builds(
    Outcome, st.sampled_from(State), st.sampled_from(Stage), TEXTS, TEXTS, TEXTS, st.integers(0, 9), LINES, LINES
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("task") / "outcome.json"


@settings(deadline=None, max_examples=30)
@given(OUTCOMES)
def test_what_is_stored_is_read(file: Path, outcome: Outcome) -> None:
    outcome.store(file)
    assert Outcome.read(file) == outcome


def test_what_no_text_can_hold_is_stored_all_the_same(file: Path) -> None:
    replace(ONE, lines=("a\udc80b",)).store(file)
    assert Outcome.read(file) == replace(ONE, lines=("a?b",))


def test_however_much_was_said_it_is_read(file: Path) -> None:
    outcome = replace(ONE, lines=tuple("x" * 50_000 for _ in range(12)))
    outcome.store(file)
    found = Outcome.read(file)
    assert found is not None and found.state is State.FAILED


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 60_000,
        json.dumps(asdict(ONE) | {"state": "odd"}).encode(),
        json.dumps(asdict(ONE) | {"stage": None}).encode(),
        json.dumps(asdict(ONE) | {"lines": 3}).encode(),
        json.dumps({key: value for key, value in asdict(ONE).items() if key != "host"}).encode(),
    ],
)
def test_what_cannot_be_understood_counts_as_nothing(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert Outcome.read(file) is None


def test_before_the_first_turn(tmp_path: Path) -> None:
    assert Outcome.read(tmp_path / "outcome.json") is None
    assert Outcome.read(tmp_path) is None
