from __future__ import annotations

import json

import pytest

from acaikit.registry import KINDS, OURS, parts


def test_json_holds_every_part(acaikit) -> None:
    told = json.loads(acaikit("list", "--json").out)["parts"]
    assert [(p["kind"], p["name"]) for p in told] == [(p.kind, p.name) for p in parts() if p.kind in KINDS]
    (acai,) = (part for part in told if part["name"] == "ACAI" and part["distribution"] == OURS)
    assert acai["parameters"] == {"weight": "0.5", "gamma": "0.2", "critic": "None"}
    assert acai["description"].startswith("A critic guesses the mixing coefficient")
    assert acai["broken"] is None


@pytest.mark.parametrize("kind", [*KINDS, *(kind[:-1] for kind in KINDS)])
def test_one_kind(acaikit, kind: str) -> None:
    told = json.loads(acaikit("list", kind, "--json").out)["parts"]
    assert {part["kind"] for part in told} == {kind if kind.endswith("s") else f"{kind}s"}


def test_the_table(acaikit) -> None:
    out = acaikit("list").out
    for kind in KINDS:
        assert f"\n{kind} " in f"\n{out}"
    for said in ("LatentDropout", "p=0.5", "entries=2 ** 14", "acaikit 0", "Spherical interpolation"):
        assert said in out


@pytest.mark.parametrize(
    ("kind", "said"),
    [("reguralizers", "did you mean regularizers?"), ("", "known: encoders"), ("experiments", "known")],
)
def test_an_unknown_kind(acaikit, kind: str, said: str) -> None:
    assert said in acaikit("list", kind, code=2).err
