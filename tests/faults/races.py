"""Four processes at once for one run: one has it, the others are told who, and a dead holder holds nothing."""

from __future__ import annotations

import random
import signal
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from acaikit.artifacts.lock import Held, RunLock
from acaikit.config import read_recipe
from acaikit.errors import RunError
from acaikit.runs.session import open_session

from .kills import WORKERS, Straight, end, half_written, start
from .report import Report
from .tiny import MODELS

RACERS = 4
MODEL = "vae"


def race(orders: Connection, ready: Any) -> None:
    """Try for one lock or run after another, as told; say what came of it, and keep what was won until told to end."""
    torch.set_num_threads(1)
    while order := orders.recv():
        path, whole = order
        ready.wait()
        try:
            if whole:
                config = read_recipe(str(path.with_name("tiny.gin")), MODELS[MODEL])
                with open_session(path, config=config, say=lambda line: None) as session:
                    orders.send("won")
                    orders.recv()
                    session.train([], lambda: False)
            else:
                with RunLock(path / ".lock"):
                    orders.send("won")
                    orders.recv()
            orders.send("ended")
        except Held as held:
            orders.send((str(held), held.holder and held.holder.pid))
        except RunError as error:
            orders.send((str(error), -1))


class Racers:
    """Processes that wait for a race; one that was killed is replaced."""

    def __init__(self) -> None:
        self.ready = WORKERS.Barrier(RACERS)
        self.racers = [self._start() for _ in range(RACERS)]

    def _start(self) -> tuple[Any, Connection]:
        mine, its = WORKERS.Pipe()
        process = start(race, its, self.ready)
        its.close()
        return process, mine

    def tell(self, order: object) -> None:
        """Send all of them to the same start."""
        for _, link in self.racers:
            link.send(order)

    def hear(self, index: int) -> Any:
        """Return what one says, or fail where it says nothing for long."""
        link = self.racers[index][1]
        if not link.poll(60):
            raise TimeoutError(f"racer {index} says nothing")
        return link.recv()

    def kill(self, index: int) -> None:
        """End one by SIGKILL and put another in its place."""
        process, link = self.racers[index]
        end(process, signal.SIGKILL)
        link.close()
        self.racers[index] = self._start()

    def close(self) -> None:
        """End all of them."""
        for process, link in self.racers:
            end(process, signal.SIGKILL)
            link.close()


def _hold(racers: Racers, path: Path, whole: bool, killed: float, report: Report) -> None:
    racers.tell((path, whole))
    said = [racers.hear(index) for index in range(RACERS)]
    winners = [index for index, word in enumerate(said) if word == "won"]
    if len(winners) != 1:
        report.faults.append(f"{path.name}: {said}")
        return
    pid = racers.racers[winners[0]][0].pid
    for word, holder in (word for word in said if word != "won"):
        report.found["told who holds it"] = report.found.get("told who holds it", 0) + 1
        if holder != pid or f"process {pid} " not in word:
            report.faults.append(f"{path.name}: {pid} holds it, but another was told: {word}")
    if (seen := RunLock(path / ".lock").holder()) is None or seen.pid != pid:
        report.faults.append(f"{path.name}: {pid} holds it, but {seen} is named")
    link = racers.racers[winners[0]][1]
    if whole or not killed:
        link.send("go on")
    if killed:
        time.sleep(killed if whole else 0)
        racers.kill(winners[0])
    elif (word := racers.hear(winners[0])) != "ended":
        report.faults.append(f"{path.name}: {word}")
    how = "winner killed" if killed else "winner ended"
    report.found[how] = report.found.get(how, 0) + 1
    try:
        with RunLock(path / ".lock"):
            pass
    except Held as held:
        report.faults.append(f"{path.name}: its holder is no more, but {held}")


def run(count: int = 20, seed: int = 0, whole: int = 4) -> Report:
    """Hold `count` races, `whole` of them for a run that is to be trained and the others for the lock alone.

    A run is new in its first race; it is raced for again until a winner could train it to its end.
    """
    report = Report(
        "races",
        0,
        f"Races of {RACERS} processes for one lock, {whole} of {count} through a whole session: one winner each, the "
        "others' error names the winner, and the lock is free once the winner has ended or was killed; "
        "trained runs have the bits of an undisturbed one.",
    )
    rng, begun = random.Random(seed), time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        straight = Straight(folder, MODEL)
        racers = Racers()
        try:
            path = folder / "run-0"
            for number in range(count):
                killed = rng.choice([0, rng.uniform(0, straight.seconds / 2)])
                through = number < whole
                if not through:
                    path = folder / f"lock-{number % 7}"
                    path.mkdir(exist_ok=True)
                _hold(racers, path, through, killed, report)
                report.did += 1
                if report.faults:
                    break
                if through and not killed:
                    fault = straight.differs(path) or ("temporary files are left" if half_written(path) else None)
                    report.faults += [f"{path.name}: {fault}"] if fault else []
                    path = folder / f"run-{number + 1}"
        finally:
            racers.close()
    report.seconds = time.monotonic() - begun
    return report
