from __future__ import annotations

from io import StringIO
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from acaikit.report import progress
from acaikit.report.progress import Reporter, clock, number

LOSSES = {"reconstruction": torch.tensor(0.25), "ACAI": torch.tensor(1 / 3)}


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def trainer(samples: int = 0, budget: int = 1000, device: str = "cpu") -> SimpleNamespace:
    return SimpleNamespace(samples=samples, budget=budget, finished=samples >= budget, device=torch.device(device))


def log(**settings: object) -> Console:
    return Console(file=StringIO(), width=40, force_terminal=False, **settings)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0s"),
        (0.4, "0s"),
        (48.4, "48s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (185, "3m05s"),
        (3599.7, "1h00m"),
        (2 * 3600 + 10 * 60 + 59, "2h10m"),
        (86_399, "23h59m"),
        (86_400, "1d 0h"),
        (12 * 86_400 + 3 * 3600 + 3599, "12d 3h"),
    ],
)
def test_clock(seconds: float, said: str) -> None:
    assert clock(seconds) == said


def test_number() -> None:
    assert [number(v) for v in (0.123456, 12345.6, 1e-7, 0.0, float("nan"))] == [
        "0.1235",
        "1.235e+04",
        "1e-07",
        "0",
        "nan",
    ]


def test_a_log_has_one_line_per_evaluation(time: Clock) -> None:
    console, run = log(), trainer(samples=100)
    with Reporter(console, run) as reporter:
        for samples in (300, 500, 1000):
            time.now += 10
            run.samples, run.finished = samples, samples == 1000
            for _ in range(5):
                reporter.on_step(run, LOSSES)
            reporter.on_row(
                run, {"reconstruction": 0.5, "ACAI/critic": 1 / 3}, {"probe/accuracy": 97.531, "x[/]:smile:": 1}
            )
    lines = console.file.getvalue().splitlines()  # however narrow the console
    # 200 samples in 10 s; what was trained in an earlier session does not count.
    values = "reconstruction 0.5  ACAI/critic 0.3333  probe/accuracy 97.53  x[/]:smile: 1"
    assert lines == [
        f"  300/1,000  20/s  {values}  left 35s",
        f"  500/1,000  20/s  {values}  left 25s",
        f"1,000/1,000  30/s  {values}  done",
    ]


def test_quiet_prints_nothing(time: Clock) -> None:
    for terminal in (False, True):
        console = Console(file=StringIO(), quiet=True, force_terminal=terminal)
        run = trainer(samples=1)
        with Reporter(console, run) as reporter:
            time.now += 11
            reporter.on_step(run, LOSSES)
            reporter.on_row(run, {"loss": 1.0}, {})
            reporter.say("a line")
        assert console.file.getvalue() == ""


def test_a_terminal_has_a_bar_the_latest_losses_and_a_line_per_evaluation(time: Clock) -> None:
    console = Console(file=StringIO(), width=100, force_terminal=True, color_system=None, _environ={})
    run = trainer()
    with Reporter(console, run) as reporter:
        time.now += 10
        run.samples = 250
        reporter.on_step(run, LOSSES)
        reporter.on_row(run, {"reconstruction": 0.5}, {"probe/accuracy": 97.531})
    shown = console.file.getvalue()
    for said in ("250/1,000", "25%", "25 samples/s", "left 30s", "reconstruction 0.25  ACAI 0.3333"):
        assert said in shown
    assert "  250  probe/accuracy 97.53\n" in shown


def warned(time: Clock, run: SimpleNamespace, rate: float, until: float) -> str:
    """Train at `rate` samples per second, one step a second; return what was said."""
    console = log()
    with Reporter(console, run) as reporter:
        while time.now < 1000 + until:
            time.now += 1
            run.samples += rate
            reporter.on_step(run, LOSSES)
    return console.file.getvalue()


def test_a_run_that_takes_long_on_a_cpu_is_said_once(time: Clock) -> None:
    said = warned(time, trainer(budget=1_000_000), rate=100, until=60)
    assert len(said.splitlines()) == 1
    assert "at 100 samples/s this run will take about 2h46m on this CPU" in said
    for way_out in ("Ctrl-C", "--device cuda", "--set Experiment.samples=", "acaikit run quickstart"):
        assert way_out in said


@pytest.mark.parametrize(
    ("run", "rate", "until"),
    [
        (trainer(budget=1_000_000), 100, 10),  # too early to tell
        (trainer(budget=360_000), 100, 60),  # less than an hour
        (trainer(budget=1_000_000, device="cuda"), 100, 60),
    ],
)
def test_no_warning_without_reason(time: Clock, run: SimpleNamespace, rate: float, until: float) -> None:
    assert warned(time, run, rate, until) == ""
