"""How long acaikit takes to begin: its quick commands beside an empty Python, a run's first step beside import torch.

Each program is a process of its own, from its start to its end; a run up to its first optimizer step is one that ends
itself there. Bytecode is cached, and the files are in the system's memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.timing import arguments, interleaved, medians, publish, spread, table

STEPPED = 77
"""The exit code of a run that ends itself after its first optimizer step."""
UNTIL_STEP = f"""
import os
from torch.optim.optimizer import register_optimizer_step_post_hook
register_optimizer_step_post_hook(lambda *_: os._exit({STEPPED}))
from acaikit.cli import main
main()
"""
RUN = ["run", "lines_acai_64", "--set", "Experiment.samples=64", "--quiet", "--device", "cpu"]
ACAIKIT = ["-m", "acaikit"]
PROGRAMS = {
    "python -c pass": ["-c", "pass"],
    "import torch": ["-c", "import os, torch; os._exit(0)"],  # without its end, which takes a while: nor has a step
    "acaikit --help": [*ACAIKIT, "--help"],
    "acaikit list": [*ACAIKIT, "list"],
    "acaikit show quickstart": [*ACAIKIT, "show", "quickstart"],
    "acaikit show quickstart --sizes": [*ACAIKIT, "show", "quickstart", "--sizes"],
    "acaikit run, up to the first optimizer step": ["-c", UNTIL_STEP, *RUN],
    "acaikit run of one step, with evaluation and pictures": [*ACAIKIT, *RUN],
}
FIRST_STEP = "acaikit run, up to the first optimizer step"


def main() -> None:
    """Measure, and print."""
    options = arguments(__doc__, "startup").parse_args()
    with TemporaryDirectory() as folder:
        times = interleaved({name: _process(words, Path(folder)) for name, words in PROGRAMS.items()}, options.rounds)
    seconds = medians(times)
    empty, torch = seconds["python -c pass"], seconds["import torch"]
    goals = {
        "acaikit --help": _goal(seconds["acaikit --help"], 0.3, "0.3 s"),
        FIRST_STEP: _goal(seconds[FIRST_STEP], 2 * torch, "twice import torch"),
    }
    rows = [
        [name, f"{s:.2f}", spread(times[name], digits=2), f"{s - empty:.2f}", f"{s / torch:.2f}", goals.get(name, "")]
        for name, s in seconds.items()
    ]
    header = ["process", "seconds", "half of the rounds", "beyond `python -c pass`", "over `import torch`", "goal"]
    publish(options, "Start-up", f"Medians of {options.rounds} interleaved rounds.", table(header, rows))


def _process(words: list[str], folder: Path) -> Callable[[], None]:
    """Return what runs Python with `words`, each time with a folder for its run that doesn't exist yet."""
    expected = STEPPED if UNTIL_STEP in words else 0
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": ""}

    def run() -> None:
        own = ["--dir", str(folder / str(len(list(folder.iterdir()))))] if "run" in words else []
        command = [sys.executable, *words, *own]
        ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if ran.returncode != expected:
            raise RuntimeError(f"{' '.join(words)} ended with {ran.returncode}: {ran.stderr}")

    return run


def _goal(seconds: float, most: float, said: str) -> str:
    return f"under {said}: {'reached' if seconds < most else 'missed'}"


if __name__ == "__main__":
    main()
