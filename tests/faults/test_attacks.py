from __future__ import annotations

import os
from pathlib import Path

import h5py
import pytest
import torch

from acaikit.errors import RunError
from acaikit.model import Autoencoder

from . import attacks
from .isolated import isolated
from .memory import most_resident, resident


def test_every_attack_is_refused() -> None:
    report = attacks.run()
    assert report.faults == []
    assert report.did == len(attacks.corpus()) >= 25


def test_what_the_attacks_start_from_is_sound(tmp_path: Path) -> None:
    for name, make in {
        "checkpoint": lambda place: place.checkpoint(lambda file: None),
        "skeleton": lambda place: place.skeleton('{"dict": [["a", {"tensor": 0}], ["samples", 1]]}'),
    }.items():
        (tmp_path / name).mkdir()
        found = make(attacks.Place(tmp_path / name))()
        assert torch.equal(found["a"], torch.arange(100.0))
    (tmp_path / "run").mkdir()
    assert isinstance(attacks.Place(tmp_path / "run").run()(), Autoencoder)


def fails(what: str) -> attacks.Read:
    def read() -> object:
        raise RunError(what)

    return read


def test_what_an_attack_must_not_reach_is_noticed(tmp_path: Path) -> None:
    def attempt(read: object) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        return isolated(lambda: attacks.attempt(lambda place: lambda: read(place), folder))

    def opens(place: attacks.Place) -> None:
        place.secret.open().close()
        raise RunError("refused")

    def grows(place: attacks.Place) -> None:
        bytearray(int(attacks.MOST_GROWTH) + 10**8)
        raise RunError("refused")

    assert attempt(lambda place: fails("no")()) == "refused"
    assert attempt(lambda place: 3) == "accepted: 3"
    assert (
        attempt(lambda place: fails(place.secret.name and attacks.SECRET.decode())()) == "the secret is in the message"
    )
    assert attempt(opens).startswith("opened")
    assert "MB" in attempt(grows)
    assert attempt(lambda place: 1 // 0).startswith("ZeroDivisionError")


def test_what_a_process_does_to_itself_is_an_outcome() -> None:
    assert isolated(lambda: "fine") == "fine"
    assert isolated(lambda: str(os.kill(os.getpid(), 9))) == "killed by signal 9"
    assert isolated(lambda: os.read(os.pipe()[0], 1).decode(), seconds=1) == "killed by signal 14"
    before = resident()
    assert before <= most_resident()


def test_libhdf5_alone_would_have_followed(tmp_path: Path) -> None:
    """The secret is within reach of h5py: it is the audit that keeps it out."""
    place = attacks.Place(tmp_path)
    attacks.external_storage(place)
    with h5py.File(place.path, "r") as file:
        assert attacks.SECRET.startswith(bytes(file["x"][...]))
    with pytest.raises(RunError):
        place.load()
