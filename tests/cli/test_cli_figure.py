from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from acaikit.artifacts.evaluations import write_evaluation
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
        (["curves", "-o", "nowhere/a.png"], "nowhere/a.png can't be written"),
        (["curves", "--pairs", "2"], "--pairs goes with strips and interpolation, not with curves"),
        (["curves", "--scores", "zzz"], "no run has measured zzz; there are:"),
        (["scorecard"], "make one with acaikit eval --scorecard finished"),
        (["strips", "--pair", "0", "16"], "numbered from 0 to 15"),
        (["strips", "--path", "zzz"], "zzz"),
        (["latents", "--examples", "2"], "finished: a map needs three codes or more"),
        (["curves", "--step", "3"], "no checkpoint of step 3; those kept: 2, 4"),
        (["strips", "finished"], "can be drawn only once"),
    ],
)
def test_mistakes_are_one_message(acaikit, finished: Path, words: list[str], said: str) -> None:
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


def test_a_run_that_diverged(acaikit, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from acaikit.model import Autoencoder

    monkeypatch.setattr(Autoencoder, "decode", lambda model, z: torch.full((len(z), *model.data_shape), torch.nan))
    assert "finished: what the model makes of its data holds NaN" in acaikit("figure", "samples", finished, code=2).err


def test_help_draws_nothing() -> None:
    code = "import sys; from acaikit.cli import figure; sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
