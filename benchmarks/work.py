"""The floating-point work of a training step: the least there is, what a step does, and the machine's rate.

    python -m benchmarks.work [--rounds 5] [--threads N] [-o [FILE]]

For the paper's seven models on lines and ACAI on SVHN (random images of its shape), per sample:

- least: a closed form of the networks (`benchmarks.least`), products with the padding's zeros included, as is usual;
- without padding: the same less these products, of which a 3x3 kernel on a 2x2 map has 20 in 36;
- counted: what `FlopCounterMode` sees in `Trainer.step`, which is below the least where two layers that are linear
  together are computed as one.

The least work and the counted over the time of a step are set beside the best rates of torch's matrix product, which on
some processors isn't the best there is, and of its convolutions; they are measured in turn with the steps.

Then a step of lines_acai_64 by layer: every operator is timed where it is dispatched, and a convolution's two gradients
one after the other.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from acaikit.engine import Trainer
from benchmarks.least import Layer, Net, decoder, dense, encoder, least, model_of, multiple, nets_of
from benchmarks.standin import experiment_of
from benchmarks.timing import arguments, interleaved, medians, publish, table

RECIPES = [f"lines_{model}_64" for model in ("baseline", "dropout", "denoising", "vae", "aae", "vqvae", "acai")]
RECIPES += ["svhn_acai_256"]
PROFILED = "lines_acai_64"
STEPS = 5
"""Steps that are profiled."""
DIRECTIONS = ("forward", "data gradient", "weight gradient")
Spent = tuple[int, float, int]
"""Calls, seconds and FLOP."""
CALLS = 8
"""Calls of a rate's operator in a turn."""


def counted(step: Callable[[], object]) -> int:
    """Return the FLOP that torch counts in a call of `step`."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def rates() -> dict[str, tuple[int, Callable[[], object]]]:
    """Return what the machine's rates are measured by: FLOP of a turn, and the turn, by name."""
    programs: dict[str, tuple[int, Callable[[], object]]] = {}
    for n in (512, 1024, 2048):
        a, b = torch.rand(2, n, n)
        programs[f"mm {n}"] = CALLS * 2 * n**3, _often(partial(torch.mm, a, b))
    for layer in (Layer(512, 512, 1, 8), Layer(128, 128, 3, 4), Layer(256, 256, 3, 8)):
        x = torch.rand(64, layer.inputs, layer.side, layer.side).contiguous(memory_format=torch.channels_last)
        w = torch.rand(layer.outputs, layer.inputs, layer.kernel, layer.kernel)
        w = w.contiguous(memory_format=torch.channels_last)
        call = partial(torch.nn.functional.conv2d, x, w, padding=layer.kernel // 2)
        programs[f"convolution {_named(layer)}"] = CALLS * 64 * layer.work(), _often(call)
    return programs


def _often(call: Callable[[], object]) -> Callable[[], object]:
    def turn() -> None:
        for _ in range(CALLS):
            call()

    return turn


def _named(layer: Layer) -> str:
    return f"{layer.inputs} to {layer.outputs}, {layer.kernel}x{layer.kernel} on {layer.side}x{layer.side}"


class Clock(TorchDispatchMode):
    """Times every operator where it is dispatched, on a CPU.

    Attributes
    ----------
    spent : dict
        By layer or operator, and by pass, which is empty but for convolutions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spent: dict[tuple[str, str], Spent] = defaultdict(lambda: (0, 0.0, 0))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, and a convolution's backward as the two gradients that it computes."""
        aten, kwargs = torch.ops.aten, kwargs or {}
        if func is aten.convolution_backward.default:
            data, weight, bias = args[-1]
            grads: list[Tensor | None] = [None, None, None]
            for name, mask in ((DIRECTIONS[1], [data, False, False]), (DIRECTIONS[2], [False, weight, bias])):
                if any(mask):
                    found = self._run(_shape(args[1], args[2], args[7]), name, func, (*args[:-1], mask), kwargs)
                    grads = [new if wanted else old for old, new, wanted in zip(grads, found, mask, strict=True)]
            return tuple(grads)
        if func is aten.convolution.default:
            return self._run(_shape(args[0], args[1], args[6]), DIRECTIONS[0], func, args, kwargs)
        return self._run(str(func.overloadpacket).removeprefix("aten."), "", func, args, kwargs)

    def _run(self, what: str, direction: str, func: Any, args: Any, kwargs: Any) -> Any:
        start = time.perf_counter()
        out = func(*args, **kwargs)
        seconds = time.perf_counter() - start
        formula = flop_registry.get(func.overloadpacket)
        work = formula(*args, **kwargs, out_val=out) if formula else 0
        self.spent[what, direction] = _together([self.spent[what, direction], (1, seconds, work)])
        return out


def _shape(x: Tensor, weight: Tensor, transposed: bool) -> str:
    after, before = (weight.shape[1], weight.shape[0]) if transposed else (weight.shape[0], weight.shape[1])
    return _named(Layer(before, after, weight.shape[2], x.shape[-1])) + (", transposed" if transposed else "")


def profile(step: Callable[[], object]) -> tuple[str, str]:
    """Return two tables of a step: its convolutions by layer and pass, and all operators."""
    step()
    with Clock() as clock:
        start = time.perf_counter()
        for _ in range(STEPS):
            step()
        whole = time.perf_counter() - start
    rows: list[list[str]] = []
    for layer in sorted({what for what, direction in clock.spent if direction}, key=_by_size):
        found = [clock.spent.get((layer, direction), (0, 0.0, 0)) for direction in DIRECTIONS]
        rows.append([layer, *(_pass(spent, whole) for spent in found), f"{_together(found)[1] / whole:.1%}"])
    operators: dict[str, list[Spent]] = defaultdict(list)
    for (what, direction), spent in clock.spent.items():
        operators[f"convolution, {direction}" if direction else f"`{what}`"].append(spent)
    totals = {name: _together(spent) for name, spent in operators.items()}
    inside = _together(totals.values())[1]
    busy = {name: spent for name, spent in totals.items() if spent[1] >= 0.005 * whole}
    busy = dict(sorted(busy.items(), key=lambda item: -item[1][1]))
    busy["other operators"] = _together(spent for name, spent in totals.items() if name not in busy)
    busy["between operators: Python, autograd, this clock"] = (0, whole - inside, 0)
    listed = [[name, *_line(spent, whole)] for name, spent in busy.items()]
    layers = table(["convolution", *DIRECTIONS, "share of the step"], rows)
    return layers, table(["operator", "calls a step", "ms a step", "GFLOP/s", "share of the step"], listed)


def _together(entries: Iterable[Spent]) -> Spent:
    calls, seconds, work = zip((0, 0.0, 0), *entries, strict=True)
    return sum(calls), sum(seconds), sum(work)


def _pass(spent: Spent, whole: float) -> str:
    calls, seconds, work = spent
    return f"{work / seconds / 1e9:.0f} GFLOP/s, {seconds / whole:.1%}" if calls else ""


def _line(spent: Spent, whole: float) -> list[str]:
    calls, seconds, work = spent
    rate = f"{work / seconds / 1e9:.0f}" if work else ""
    return [f"{calls / STEPS:.0f}" if calls else "", f"{1000 * seconds / STEPS:.2f}", rate, f"{seconds / whole:.1%}"]


def _by_size(name: str) -> tuple[int, str]:
    return -int(name.removesuffix(", transposed").rpartition("x")[2]), name


def main() -> None:
    """Measure and publish."""
    options = arguments(__doc__, "work", rounds=5).parse_args()
    trainers = {recipe: Trainer(experiment_of(recipe)) for recipe in RECIPES}
    measured = rates()
    programs = {name: trainer.step for name, trainer in trainers.items()}
    seconds = medians(interleaved(programs | {name: turn for name, (_, turn) in measured.items()}, options.rounds))
    speed = {name: work / seconds[name] / 1e9 for name, (work, _) in measured.items()}
    product, convolution = (max(v for name, v in speed.items() if name.startswith(kind)) for kind in ("mm", "conv"))
    rows = []
    for recipe, trainer in trainers.items():
        model, size = model_of(recipe), trainer.experiment.batch_size
        nets = nets_of(recipe, trainer.experiment)
        bound, tight = (least(model, nets, padded=padded) for padded in (True, False))
        seen = counted(trainer.step) / size
        work = [f"{bound / 1e6:,.1f}", f"{tight / 1e6:,.1f}", f"{seen / 1e6:,.1f}"]
        achieved = [size * flop / seconds[recipe] / 1e9 for flop in (bound, seen)]
        told = [f"{rate:.0f}, {rate / product:.0%}, {rate / convolution:.0%}" for rate in achieved]
        rows.append([recipe, multiple(model), *work, f"{1000 * seconds[recipe]:,.1f}", *told])
    header = ["recipe", "least", "MFLOP", "without padding", "counted", "ms a step"]
    header += ["least over time", "counted over time"]
    sizes = [[net, f"{sum(layer.work() for layer in layers) / 1e6:,.2f}"] for net, layers in _equivalents().items()]
    publish(
        options,
        "The work of a training step",
        "e, d, c: one forward pass of encoder, decoder, critic. MFLOP are per sample. Rates are GFLOP/s, and shares of "
        f"the matrix product's ({product:.0f}) and of convolutions' ({convolution:.0f}).",
        table(header, rows),
        "What the equivalents are:",
        table(["network", "MFLOP"], sizes),
        "The machine's rates:",
        table(["operator", "GFLOP/s"], [[name, f"{rate:.0f}"] for name, rate in speed.items()]),
        f"A step of {PROFILED} by layer, of encoder, decoder and critic together:",
        *profile(trainers[PROFILED].step),
    )


def _equivalents() -> dict[str, Net]:
    lines, svhn = (16, 4, 16, 1, 32), (64, 3, 16, 3, 32)
    return {
        "lines, 64: e, and ACAI's c": encoder(*lines),
        "lines, 64: d": decoder(*lines),
        "lines, 64: AAE's c": dense(64, 100, 100, 1),
        "SVHN, 256: e, and ACAI's c": encoder(*svhn),
        "SVHN, 256: d": decoder(*svhn),
    }


if __name__ == "__main__":
    main()
