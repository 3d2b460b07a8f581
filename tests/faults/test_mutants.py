from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from acaikit.artifacts import header, structure
from acaikit.artifacts.audit import audit

from . import mutants


def test_no_mutant_does_harm() -> None:
    report = mutants.run(800, seed=3)
    assert report.faults == []
    assert report.did == 800
    kinds = {name.rpartition(":")[0] for name in report.found}
    assert len(kinds) == 8
    assert sum(number for name, number in report.found.items() if name.endswith("sealed: accepted, well-formed")) > 50


def test_without_the_hash_damage_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header.Header, "check", lambda *_: None)
    assert mutants.run(100).faults


def test_what_is_no_tree() -> None:
    assert mutants.well_formed({"a": [1, (None, 2.5)], 3: torch.ones(2), "b": b"x"})
    assert not mutants.well_formed({"a": [object()]})
    assert not mutants.well_formed({1.5: 0})


def test_each_kind_of_file_is_read(tmp_path: Path) -> None:
    for path, read in mutants.files(tmp_path).values():
        assert path.is_file()
        assert mutants.well_formed(read())


def test_hostile_metadata_is_refused_by_the_reader_alone(tmp_path: Path) -> None:
    """Whatever the bytes, parsing ends in a verdict: libhdf5 isn't asked."""
    chance = random.Random(0)
    for path, _ in mutants.files(tmp_path).values():
        sound = path.read_bytes()[header.HEADER_SIZE :]
        for _ in range(150):
            payload = mutants.mutate(sound, chance)

            def fetch(address: int, size: int, payload: bytes = payload) -> bytes:
                return payload[address : address + size]

            found = structure.Structure(fetch, len(payload), header.HEADER_SIZE)
            try:
                audit(found, fetch, len(payload))
            except ValueError:
                continue
