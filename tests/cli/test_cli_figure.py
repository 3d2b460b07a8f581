from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from acaikit.artifacts.evaluations import protocol_hash, write_evaluation
from acaikit.artifacts.metrics import Metrics
from acaikit.runs.opened import open_run

KINDS = ("strips", "interpolation", "samples", "reconstruction", "latents", "curves", "scorecard")
BEGIN = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


@pytest.fixture
def carded(finished: Path) -> Path:
    """A run with two scorecards."""
    for step, value in ((2, 0.25), (4, 0.5)):
        scores = {"headline/lerp": value, "headline/collapsed": 0.1}
        write_evaluation(finished / "eval", "scorecard", step, open_run(finished).info["run_id"], scores, {}, {})
    return finished


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_in_every_format(acaikit, carded: Path, kind: str) -> None:
    for ending, begin in BEGIN.items():
        for name in "ab":
            ran = acaikit("figure", kind, carded, "-o", f"{name}.{ending}", "--device", "cpu")
            assert ran.out == f"written: {name}.{ending}\n"
        data = Path(f"a.{ending}").read_bytes()
        assert data.startswith(begin)
        assert data == Path(f"b.{ending}").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_several_runs(acaikit, carded: Path, kind: str) -> None:
    shutil.copytree(carded, "other")
    acaikit("figure", kind, carded, "-o", "one.svg", "-q")
    ran = acaikit("figure", kind, carded, "other", "-o", "two.svg", "-q")
    assert ran.out == ""
    assert Path("two.svg").stat().st_size > Path("one.svg").stat().st_size


def test_the_file_is_named_after_the_kind(acaikit, finished: Path) -> None:
    assert acaikit("figure", "curves", finished).out == "written: curves.png\n"
    assert Path("curves.png").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["curves", "-o", "a.jpg"], "a figure's name ends in .png, .pdf or .svg"),
        (["curves", "-o", "nowhere/a.png"], "nowhere/a.png can't be written: there is no folder nowhere"),
        (["curves", "--pairs", "2"], "--pairs goes with strips and interpolation, not with curves"),
        (["curves", "--scores", "zzz"], "no run has measured zzz; there are:"),
        (["scorecard"], "make one with acaikit eval --scorecard finished, or say with --results where"),
        (["curves", "--results", "."], "--results goes with scorecard, not with curves"),
        (["strips", "--pair", "0", "16"], "numbered from 0 to 15"),
        (["strips", "--path", "zzz"], "zzz"),
        (["latents", "--examples", "2"], "finished: a map needs three codes or more"),
        (["curves", "--step", "3"], "no checkpoint of step 3; those kept: 2, 4"),
        *[([kind, "../work/finished"], "finished is given more than once") for kind in KINDS],
    ],
)
def test_mistakes_are_one_message(acaikit, request, words: list[str], said: str) -> None:
    finished = request.getfixturevalue("carded" if "more than once" in said else "finished")
    assert said in acaikit("figure", words[0], finished, *words[1:], code=2).err
    assert not list(Path().glob("*.png"))


def test_strips_need_the_same_examples(acaikit, finished: Path, tiny: list[str]) -> None:
    for name, changed in (
        ("fewer", {"Lines.test_size=16": "Lines.test_size=12"}),
        ("larger", {"Lines.height=8": "Lines.height=16", "Lines.width=8": "Lines.width=16"}),
    ):
        acaikit("run", "quickstart", *(changed.get(word, word) for word in tiny), "--dir", name, "--quiet")
    said = acaikit("figure", "strips", finished, "fewer", code=2).err
    assert "those of finished and fewer differ" in said
    said = acaikit("figure", "strips", finished, "larger", code=2).err
    assert "finished is of Lines of shape (1, 8, 8) and larger of Lines of shape (1, 16, 16)" in said


def test_the_scorecard_is_the_newest_up_to_the_step(acaikit, carded: Path) -> None:
    for name, step in (("new", 4), ("old", 2)):
        acaikit("figure", "scorecard", carded, "--step", step, "-o", f"{name}.svg")
    acaikit("figure", "scorecard", carded, "-o", "newest.svg")
    new, old, newest = (Path(f"{name}.svg").read_bytes() for name in ("new", "old", "newest"))
    assert newest == new != old
    assert b"0.250" in old and b"0.500" in new  # matplotlib writes the words of an SVG beside their outlines


def card(folder: Path, run_id: str, step: int, value: float, neighbours: int = 9, age: int = 0) -> str:
    """Write a scorecard that is `age` seconds old; return the hash of its protocol."""
    protocol = {"neighbours": neighbours, "paths": ["slerp", {"path": "Geodesic"}, "lerp"]}
    scores = {f"headline/{path}": value for path in ("lerp", "slerp", "Geodesic")}
    file = write_evaluation(folder / "eval", "scorecard", step, run_id, scores, protocol, {})
    os.utime(file, (1e9 - age, 1e9 - age))
    return protocol_hash(protocol)[:8]


def words(file: str) -> list[str]:
    """What matplotlib wrote in an SVG, which it keeps beside the outlines."""
    return re.findall(r"<!-- (.*?) -->", Path(file).read_text())


def test_a_scorecard_is_of_this_run_and_the_last_of_its_step(acaikit, finished: Path) -> None:
    run_id = open_run(finished).info["run_id"]
    card(finished, "another", 4, 0.111, neighbours=1)
    first = card(finished, run_id, 4, 0.222, neighbours=2, age=10)
    last = card(finished, run_id, 4, 0.333, neighbours=3, age=5)
    card(finished, run_id, 2, 0.444, neighbours=4)
    acaikit("figure", "scorecard", finished, "-o", "a.svg")
    told = words("a.svg")
    assert {"Scorecard · finished · step 4", f"Protocol {last} (written after {first}): finished"} <= set(told)
    assert [told.count(value) for value in ("0.111", "0.222", "0.333", "0.444")] == [0, 0, 3, 0]
    assert [word for word in told if word in ("lerp", "slerp", "Geodesic")][:3] == ["slerp", "Geodesic", "lerp"]
    Path("out/finished").mkdir(parents=True)
    newest = card(Path("out/finished"), run_id, 4, 0.555, neighbours=2)
    acaikit("figure", "scorecard", finished, "--results", "out", "-o", "b.svg")
    assert words("b.svg").count("0.555") == 3
    assert f"Protocol {newest} (written after {last}): finished" in words("b.svg")


def test_scorecards_of_other_steps_and_protocols_are_told_apart(acaikit, finished: Path) -> None:
    run_id = open_run(finished).info["run_id"]
    shutil.copytree(finished, "other")
    one, two = card(finished, run_id, 4, 0.5, neighbours=2), card(Path("other"), run_id, 2, 0.6, neighbours=3)
    (finished / "eval" / "scorecard-000000004-broken00.h5").write_bytes(b"no")
    ran = acaikit("figure", "scorecard", finished, "other", "-o", "a.svg")
    assert "measured under different protocols" in ran.err
    assert "scorecard-000000004-broken00.h5" in ran.err
    expected = {
        "Scorecard · finished, other",
        "finished: finished · step 4",
        "other: other · step 2",
        f"Protocol {one}: finished",
        f"Protocol {two}: other",
    }
    assert expected <= set(words("a.svg"))


@pytest.mark.parametrize("kind", KINDS)
def test_runs_of_one_name_are_told_apart(acaikit, carded: Path, kind: str) -> None:
    shutil.copytree(carded, "again/finished")
    acaikit("figure", kind, carded, "again/finished", "-o", "a.svg", "-q")
    told = " ".join(words("a.svg"))
    assert "work/finished" in told and "again/finished" in told


def test_a_run_in_the_working_directory_has_its_name(acaikit, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    acaikit("figure", "interpolation", ".", "-o", "a.svg", "-q")
    assert "Interpolation (lerp) · finished · 256 samples" in words("a.svg")


def test_losses_in_different_units_are_marked(acaikit, finished: Path, tiny: list[str]) -> None:
    acaikit("run", "quickstart", *tiny, "--set", "Experiment.likelihood=@Bernoulli()", "--dir", "nats", "--quiet")
    for scores, marked in ((["--scores", "loss/*"], True), (["--scores", "probe/*"], False), ([], True)):
        acaikit("figure", "curves", finished, "nats", *scores, "-o", "a.svg", "-q")
        told = words("a.svg")
        assert ("loss/reconstruction *" in told) == marked
        assert any("own likelihood" in word and "finished MSE, nats Bernoulli" in word for word in told) == marked
    acaikit("figure", "curves", "nats", "-o", "a.svg", "-q")
    assert "loss/reconstruction" in words("a.svg")


def test_signs_of_health_are_drawn_where_asked_for(acaikit, finished: Path) -> None:
    Metrics(finished / "metrics", open_run(finished).info["run_id"]).append(4, {"samples": 256, "health/x/y": 1.0})
    acaikit("figure", "curves", finished, "-o", "a.svg", "-q")
    assert "loss/reconstruction" in (shown := words("a.svg"))
    assert not any(word.startswith("health/") for word in shown)
    acaikit("figure", "curves", finished, "--scores", "health/x/*", "-o", "a.svg", "-q")
    assert "health/x/y" in (shown := words("a.svg"))
    assert "loss/reconstruction" not in shown


def test_a_figure_that_cannot_be_written_costs_nothing(acaikit, finished: Path, monkeypatch) -> None:
    from acaikit.runs import opened

    monkeypatch.setattr(opened, "OpenRun", lambda *args: pytest.fail("opened"))
    Path("closed").mkdir(mode=0o555)  # counts for root too
    assert "is read-only" in acaikit("figure", "latents", finished, "-o", "closed/a.png", code=2).err


def test_a_run_that_diverged(acaikit, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from acaikit.model import Autoencoder

    monkeypatch.setattr(Autoencoder, "decode", lambda model, z: torch.full((len(z), *model.data_shape), torch.nan))
    assert "finished: what the model makes of its data holds NaN" in acaikit("figure", "samples", finished, code=2).err


def test_help_draws_nothing() -> None:
    code = "import sys; from acaikit.cli import figure; sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
