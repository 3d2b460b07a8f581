"""Files of every kind with changed bytes, as damage leaves them (plain) and as an attacker does (with a right hash)."""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.evaluations import read_evaluation, write_evaluation
from acaikit.artifacts.header import HEADER_SIZE, make_header
from acaikit.artifacts.parts import part_path, read_part, write_part
from acaikit.artifacts.rundir import RunDir
from acaikit.errors import RunError

from .isolated import isolated
from .memory import most_resident, resident
from .report import Report

BATCH = 100
MOST_GROWTH = 500e6
MOST_SECONDS = 5
ACCEPTED = "accepted, well-formed"
"""As a file may be whose values alone were changed: no reader can know that somebody meant others."""
PLAIN = (bool, int, float, str, bytes, torch.Tensor, np.ndarray, type(None))

Read = Callable[[], Any]


def files(folder: Path) -> dict[str, tuple[Path, Read]]:
    """Write a file of each kind; return its path and what reads it."""
    checkpoints, directory = Checkpoints(folder / "checkpoints", "r"), RunDir(folder)
    state = {
        "model": {f"layer.{index}": torch.randn(3, 4) for index in range(12)},
        "bf16": torch.ones(3, dtype=torch.bfloat16),
        "numbers": [1, 2.5, None, True, 2**70, float("inf"), "text", b"bytes"],
        "more": ((), [], {}, {3: np.arange(4)}, torch.empty(0, 3)),
    }
    checkpoints.save(7, state)
    directory.write_run({"run_id": "r", "resolved": "A.b = 1", "plugins": {"acaikit": "0.1.0"}, "seed": 0})
    part = part_path(directory.metrics, 0)
    part.parent.mkdir()
    write_part(part, np.arange(300), {"loss/a": np.zeros(300), "loss/b": np.ones(300)}, run_id="r")
    arrays = {"images": np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8), "latents": np.zeros((4, 2), np.float32)}
    evaluation = write_evaluation(directory.eval, "e", 7, "r", {"score": 0.5}, {"k": 3}, arrays)
    return {
        "checkpoint": (checkpoints.path(7), lambda: (checkpoints.peek(7), checkpoints.load(7))),
        "run": (directory.run_file, directory.read_run),
        "metrics": (part, lambda: read_part(part)),
        "evaluation": (evaluation, lambda: vars(read_evaluation(evaluation))),
    }


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Change a few bytes: bits, whole numbers, pieces copied from elsewhere."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 8))):
        at, width = chance.randrange(len(data)), chance.choice((1, 2, 4, 8))
        match chance.randrange(5):
            case 0:
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                changed[at : at + width] = chance.choice((b"\xff", b"\0", b"\x7f", b"\x80")) * width
            case 2:
                changed[at : at + width] = chance.randbytes(width)
            case 3:
                near = int.from_bytes(changed[at : at + width], "little") + chance.choice((-8, -1, 1, 8))
                changed[at : at + width] = (near % 256**width).to_bytes(width, "little")
            case 4:
                source, length = chance.randrange(len(data)), chance.randrange(1, 64)
                changed[at : at + length] = data[source : source + length]
    return bytes(changed[: len(data)]).ljust(len(data), b"\0")


def well_formed(tree: Any) -> bool:
    """Say whether a tree holds nothing but what a tree may hold."""
    match tree:
        case dict():
            return all(type(key) in (str, int) and well_formed(value) for key, value in tree.items())
        case list() | tuple():
            return all(map(well_formed, tree))
    return type(tree) in PLAIN


def outcome(read: Read) -> str:
    """Read a mutant; return "refused", that it is accepted and well-formed, or what is wrong."""
    try:
        found = read()
    except RunError:
        return "refused"
    return ACCEPTED if well_formed(found) else "accepted, but no tree"


def batch(kind: str, sealed: bool, seed: int, count: int) -> str:
    """Read some mutants of a kind of file; return how often each outcome was seen."""
    chance, seen = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        path, read = files(Path(name))[kind]
        sound, before = path.read_bytes(), resident()
        for _ in range(count):
            changed = HEADER_SIZE * sealed
            data = sound[:changed] + mutate(sound[changed:], chance)
            if sealed:
                data = make_header(data[HEADER_SIZE:]) + data[HEADER_SIZE:]
            if data == sound:
                continue
            path.write_bytes(data)
            begun = time.perf_counter()
            seen[outcome(read)] += 1
            if (seconds := time.perf_counter() - begun) > MOST_SECONDS:
                seen[f"took {seconds:.0f} s"] += 1
        if (grown := most_resident() - before) > MOST_GROWTH:
            seen[f"took {grown / 1e6:.0f} MB"] += 1
    return "\n".join(f"{number} {what}" for what, number in seen.items())


def run(count: int, seed: int = 0) -> Report:
    """Read `count` mutants, half of them plain, of the four kinds in turn, in batches in processes of their own."""
    begun = time.perf_counter()
    what = (
        "Files of every kind with a few bytes changed. Plain: as damage leaves them, and each must be refused by its "
        "hash. Sealed: given a right hash afterwards, as an attacker would; no crash, no hang, no memory out of "
        "proportion, and what is accepted must be well-formed, for a changed weight is a weight."
    )
    report, cases = Report("mutants", 0, what), []
    for index in range(-(-count // BATCH)):
        kind = ("checkpoint", "run", "metrics", "evaluation")[index // 2 % 4]
        cases.append((kind, bool(index % 2), seed * 10**6 + index, min(BATCH, count - index * BATCH)))
    for kind, sealed, chance, number in cases:
        name = f"{kind}, {'sealed' if sealed else 'plain'}"
        said = isolated(
            lambda kind=kind, sealed=sealed, chance=chance, number=number: batch(kind, sealed, chance, number),
            seconds=MOST_SECONDS * 6,
        )
        report.did += number
        for line in said.splitlines():
            many, _, how = line.partition(" ")
            if not many.isdigit() or how not in ((ACCEPTED, "refused") if sealed else ("refused",)):
                report.faults.append(f"{name}, seed {chance}: {line}")
            else:
                report.found[f"{name}: {how}"] = report.found.get(f"{name}: {how}", 0) + int(many)
    report.seconds = time.perf_counter() - begun
    return report
