"""What a resumed run's bits depend on beside its checkpoint, and what it means where that has changed."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

_MEANINGS = {
    "torch": "another version computes in another order; pip install torch=={then} gives the same bits",
    "numpy": "data that are drawn and scores may differ in the last digits; pip install numpy=={then} gives the same",
    "device": "another kind of device computes in another order; --device {then} gives the same bits",
    "device_name": "each model of device computes in an order of its own; only a {then} gives the same bits",
    "system": "another system has other mathematical libraries; only {then} gives the same bits",
    "cpu_model": "libraries choose their kernels by the CPU; only a CPU like the old one surely gives the same bits",
    "cpu_capability": "other vector instructions sum in another order; where the CPU has them, the environment "
    "variable ATEN_CPU_CAPABILITY={small} gives the same bits",
    "onednn": "other convolutions, which sum in another order; torch.backends.mkldnn.enabled = {then} gives the same "
    "bits",
    "threads": "sums are split differently; --threads {then} gives the same bits",
    "convolutions": "another layout in memory or other kernels, so that sums run in another order; only an acaikit "
    "that computes them as the old one did gives the same bits",
    "precision": "products are rounded differently; --precision {then} gives the same bits",
    "cuda": "other kernels; a torch that is built for CUDA {then} gives the same bits",
    "cudnn": "other kernels; a torch with cuDNN {then} gives the same bits",
    "tf32_matmul": "products are rounded differently; torch.backends.cuda.matmul.allow_tf32 = {then} gives the same",
    "tf32_cudnn": "convolutions are rounded differently; torch.backends.cudnn.allow_tf32 = {then} gives the same",
    "cudnn_deterministic": "other kernels may be taken; torch.backends.cudnn.deterministic = {then} takes the same",
    "cudnn_benchmark": "other kernels may be taken; torch.backends.cudnn.benchmark = {then} as before",
    "deterministic": "other kernels may be taken; torch.use_deterministic_algorithms({then}) as before",
}


def fingerprint(device: torch.device, precision: str = "tf32") -> dict[str, Any]:
    """Return what the bits of a run on `device` depend on: plain values by name, the same in every process alike.

    The precision is called as `precision_on` has it. The number of inter-op threads is left out: nothing that trains
    runs in them.
    """
    everywhere = {
        "torch": version("torch"),
        "numpy": version("numpy"),
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "system": " ".join([platform.system(), platform.machine(), *filter(None, platform.libc_ver())]),
        "cpu_model": _cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "onednn": bool(torch.backends.mkldnn.enabled),
        "threads": torch.get_num_threads(),
        "convolutions": "channels_last, composed",
        "precision": precision_on(device.type, precision),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
    return everywhere | (_cuda() if device.type == "cuda" else {})


def precision_on(device: str, precision: str = "tf32") -> str:
    """Return what a precision is called on a kind of device: a CPU has no TF32, and "tf32" is "float32" there.

    Left out, it is the one that a run computes in where it isn't asked for another.
    """
    return "float32" if (device, precision) == ("cpu", "tf32") else precision


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a line about each item that differs: both values, what that means, and what to do.

    Parameters
    ----------
    then, now : mapping of str to value
        Fingerprints. What only one of them has is passed over: another version of acaikit took that one.
    """
    lines = []
    # As texts: those of somebody else's run may be of any kind.
    for name in [name for name in now if name in then and str(then[name]) != str(now[name])]:
        meaning = _MEANINGS[name].format(then=then[name], small=str(then[name]).lower())
        lines.append(f"{name} {then[name]} -> {now[name]}: {meaning}")
    return lines


def _cuda() -> dict[str, Any]:
    return {
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "tf32_matmul": torch.backends.cuda.matmul.allow_tf32,
        "tf32_cudnn": torch.backends.cudnn.allow_tf32,
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not on Linux
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
