from __future__ import annotations

import platform
from importlib.metadata import version

import pytest
import torch

from acaikit import fingerprint as module
from acaikit.fingerprint import changes, fingerprint

CPU = torch.device("cpu")


def test_it_follows_what_the_bits_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, before = torch.get_num_threads(), fingerprint(CPU)
    assert (before["device"], before["threads"], before["torch"]) == ("cpu", threads, version("torch"))
    assert (before["device_name"], before["numpy"]) == (platform.machine(), version("numpy"))
    assert fingerprint(CPU) == before
    try:
        torch.set_num_threads(threads + 1)
        assert fingerprint(CPU) == {**before, "threads": threads + 1}
    finally:
        torch.set_num_threads(threads)
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: "now")
    assert fingerprint(CPU) == {**before, "deterministic": "now"}


def test_what_changed_is_said_with_what_it_means() -> None:
    now = fingerprint(CPU)
    assert changes(now, now) == []
    then = {**now, "threads": now["threads"] + 1, "cpu_capability": "AVX2", "torch": "2.6.0"}
    assert changes(then, {**now, "cpu_capability": "AVX512", "torch": "2.13.0"}) == [
        "torch 2.6.0 -> 2.13.0: another version computes in another order; pip install torch==2.6.0 gives the same "
        "bits",
        "cpu_capability AVX2 -> AVX512: other vector instructions sum in another order; where the CPU has them, the "
        "environment variable ATEN_CPU_CAPABILITY=avx2 gives the same bits",
        f"threads {now['threads'] + 1} -> {now['threads']}: sums are split differently; --threads {now['threads'] + 1} "
        "gives the same bits",
    ]


def test_every_item_has_a_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "H")
    now = fingerprint(torch.device("cuda"))
    assert set(fingerprint(CPU)) < set(now) == set(module._MEANINGS)
    lines = changes(dict.fromkeys(now, "before"), now)
    assert len(lines) == len(now) and all(": " in line and "{" not in line for line in lines)


def test_a_run_is_not_blamed_for_what_an_older_acaikit_did_not_take() -> None:
    now = fingerprint(CPU)
    assert changes({"threads": now["threads"], "gone": 1}, now) == []
