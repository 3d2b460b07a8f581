from __future__ import annotations

import io
import socket
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from acaikit.studies.layout import Run
from acaikit.studies.outcome import Stage
from acaikit.studies.overview import MARKS, Overview
from acaikit.studies.status import Phase, RunStatus, Status


def one(name: str, seed: int, phase: Phase, **others: object) -> RunStatus:
    return RunStatus(Run(f"{name}-s{seed}", name, (), seed), phase, **others)  # type: ignore[arg-type]


def shown(
    *runs: RunStatus, width: int = 80, height: int = 1000, fits: bool = False, busy: bool = True, **others: Any
) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(Overview(Status("quick", Path("studies/quick"), runs, busy, **others), fits))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_every_phase_is_counted_beside_its_mark() -> None:
    lines = shown(
        one("acai", 0, Phase.DONE),
        *(one("acai", 1 + n, Phase.WAITING) for n in range(11)),
        one("vae", 0, Phase.RUNNING),
    )
    assert lines[0].split() == ["quick", "13", "runs", "in", "studies/quick"]
    assert lines[2] == "✓ 1 done   ● 1 running   ✗ 0 failed   · 11 waiting"
    assert len(set(MARKS.values())) == len(Phase)  # told apart without colour


def test_each_experiment_has_a_mark_for_each_seed_in_their_order() -> None:
    phases = (Phase.DONE, Phase.FAILED, Phase.RUNNING)
    lines = shown(*(one(name, seed, phase) for seed, phase in enumerate(phases, 5) for name in ("acai_16", "vae_16")))
    assert "seeds 5 to 7 from left to right" in lines
    assert "acai_16  ✓ ✗ ●    vae_16   ✓ ✗ ●" in lines


def test_one_of_a_kind_is_told_as_one() -> None:
    lines = shown(one("acai", 3, Phase.RUNNING, samples=9, budget=9, left=0.3, whole=9.0, retries=1))
    assert lines[0] == "quick  1 run in studies/quick" + " " * 40 + "almost done"
    assert "seed 3" in lines
    row = lines[lines.index("running") + 1].split()
    assert " ".join(row[2:]) == "100% 9/9 almost done begun again 1 time"


def test_what_is_no_part_of_the_plan_is_told_in_a_line() -> None:
    lines = shown(one("a", 0, Phase.DONE), others=("a-s1", "a-s2", "a-s3"))
    assert lines[-1] == "no part of the plan, though in studies/quick/runs: a-s1 and 2 more"


def test_what_nobody_goes_on_with_says_how_to() -> None:
    def told(**others: Any) -> bool:
        runs = (one("a", 0, Phase.DONE), one("a", 1, Phase.WAITING))
        return any(line.startswith("nothing is at work on it") for line in shown(*runs, **others))

    assert told(busy=False)
    assert not told(busy=True)
    assert not told(busy=False, unsure=True)  # a cluster may be
    assert "nothing" not in " ".join(shown(one("a", 0, Phase.DONE), busy=False))
    lines = " ".join(shown(one("a", 0, Phase.FAILED, said="NaN"), busy=False))
    assert lines.endswith("go on, with options as before: acaikit sweep studies/quick")


@pytest.mark.parametrize("width", [120, 80, 60, 46])
def test_numbers_are_never_cut_and_names_keep_their_seeds(width: int) -> None:
    name = "quickstart_baseline"
    lines = shown(
        *(
            one(name, seed, Phase.RUNNING, samples=11_200, budget=32_768, left=41.0, where="a machine of a long name")
            for seed in range(2)
        ),
        *(one(name, 2 + n, Phase.WAITING, said="pending (JobArrayTaskLimit)", where="job 12_3") for n in range(2)),
        width=width,
    )
    assert max(map(len, lines)) <= width
    for seed in range(2):
        line = lines[lines.index("running") + 1 + seed]
        assert line.startswith(f"{name}-s{seed} ")
        assert " 34%  " in line and "about 41s left" in line
        assert ("11.2k/32.8k" in line) == (width > 46)
        assert ("━" in line) == ("long name" in line) == (width == 120)
        assert "…" not in line
    waits = lines[lines.index("waiting") + 1]
    assert "-s2 and 1 more  pending" in waits
    assert ("…" in waits) == (width < 80)
    assert ("job 12_3" in waits) == (width >= 80)


def test_seeds_that_are_no_range_are_listed() -> None:
    assert "seeds 1, 5, 6 from left to right" in shown(*(one("acai", seed, Phase.WAITING) for seed in (1, 5, 6)))


def test_the_marks_of_many_seeds_stand_close() -> None:
    assert f"acai  {'✓' * 20}" in shown(*(one("acai", seed, Phase.DONE) for seed in range(20)))


def test_what_runs_has_a_bar_its_progress_and_its_time() -> None:
    lines = shown(
        one("a", 0, Phase.RUNNING, samples=65_536, budget=131_072, left=190.0, where="node7"),
        one("b", 0, Phase.RUNNING, samples=4_194_304, budget=4_194_304, stage=Stage.EVALUATION, lasted=80.0),
        one("c", 0, Phase.RUNNING, lasted=7300.0, where=socket.gethostname()),
    )
    a, b, c = lines[lines.index("running") + 1 :][:3]
    assert a.split()[0] == "a-s0" and a.count("━") > 5
    assert a.split()[2:] == ["50%", "65.5k/131k", "about", "3m", "left", "node7"]
    assert b.split()[2:] == ["100%", "4.19M/4.19M", "measured", "for", "1m"]
    assert b.count("━") > 1.8 * a.count("━")
    assert c.split() == ["c-s0", "trained", "for", "2h02m"]  # where it runs goes without saying


@pytest.mark.parametrize(
    ("samples", "said"), [(999, "999"), (1000, "1k"), (999_499, "999k"), (999_500, "1M"), (3 * 10**9, "3G")]
)
def test_samples_have_three_digits(samples: int, said: str) -> None:
    lines = shown(one("a", 0, Phase.RUNNING, samples=samples, budget=samples))
    assert f" {said}/{said}" in lines[lines.index("running") + 1]


def test_failures_of_one_cause_are_told_once_with_a_log_to_read() -> None:
    lines = shown(
        *(one("a", seed, Phase.FAILED, said="killed by [red]SIGKILL", retries=3) for seed in range(300)),
        one("b", 0, Phase.FAILED, said="NaN", stage=Stage.EVALUATION),
    )
    assert lines[lines.index("failed") + 1 :] == [
        "a-s0 and 299 more  in training, begun again 3 times",
        "    killed by [red]SIGKILL",
        "    studies/quick/tasks/a-s0/log.txt",
        "b-s0  in evaluation",
        "    NaN",
        "    studies/quick/tasks/b-s0/log.txt",
    ]


def test_only_what_has_something_to_tell_is_listed_as_waiting() -> None:
    quiet, *others = (one("a", seed, Phase.WAITING) for seed in range(3))
    assert "waiting" not in shown(quiet, *others)
    lines = shown(
        quiet,
        *(one("b", seed, Phase.WAITING, said="pending (Priority)", where=f"job 12_{seed}") for seed in range(3)),
        one("c", 0, Phase.WAITING, said="stopped at 40%"),
    )
    rows = [line.split("  ") for line in lines[lines.index("waiting") + 1 :]]
    assert [[word.strip() for word in row if word] for row in rows] == [
        ["b-s0 and 2 more", "pending (Priority)", "job 12_0"],
        ["c-s0", "stopped at 40%"],
    ]


def test_long_names_keep_their_seed_and_long_lines_end() -> None:
    name = "lines_acai_64,Experiment.regularizers=" + "x" * 150
    for width in (80, 140):
        lines = shown(
            one(name, 7, Phase.RUNNING, samples=1, budget=2, left=1.0, where="node7"),
            one(name, 8, Phase.FAILED, said="y" * 60_000),
            width=width,
        )
        assert max(map(len, lines)) <= width
        assert lines[lines.index("running") + 1].split()[0].endswith("x-s7")
        assert len(lines) < 30


def test_a_display_that_cannot_be_scrolled_leaves_out_what_tells_least() -> None:
    runs = [one(f"experiment{n:02}", seed, Phase.DONE) for n in range(63) for seed in range(5)]
    runs[7] = one("experiment01", 2, Phase.RUNNING, samples=1, budget=2, left=60.0)
    runs[12] = one("experiment02", 2, Phase.FAILED, said="NaN")
    whole, fitted = shown(*runs, height=24), shown(*runs, height=24, fits=True)
    assert len(whole) > 24 > len(fitted)
    assert "seeds 0 to 4 from left to right; 61 experiments left out" in fitted
    for line in ("experiment01  ✓ ✓ ● ✓ ✓    experiment02  ✓ ✓ ✗ ✓ ✓", "    NaN", whole[2]):
        assert line in fitted
    assert shown(*runs, height=500, fits=True) == whole
