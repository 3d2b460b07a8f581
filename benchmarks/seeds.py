"""Several seeds at a time: in a process each, one after the other, and in one process with batched weights.

    python -m benchmarks.seeds [--recipes quickstart lines_acai_64] [--seeds 2 4 5] [--device cpu] [--rounds 5] [-o]

K seeds of ACAI train on a batch each, in turn, round after round, in the following ways. What counts is the sum of the
samples that all seeds have seen.

- processes: each seed in a process of one thread, as many at a time as there are threads (on a GPU all at once).
- one by one: a step of each seed after the other, with all threads.
- grouped: one program of convolutions with K groups, of which each holds a seed's channels, NCHW and channels_last.
- vmap: `torch.func`'s ``vmap`` and ``grad`` over stacked weights.

The first two are timed with acaikit's own step, which also draws its lines and trains its probe, and with the plain
step that the other two batch: one forward pass, the critic held constant in the autoencoder's loss, fused Adam. On a
GPU the plain and the grouped step are timed as CUDA graphs too. Before anything is timed, the gradients of the batched
programs are compared with those of separate networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from itertools import chain
from multiprocessing import get_context
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from acaikit.engine import Trainer
from acaikit.experiment import Experiment
from benchmarks.standin import experiment_of
from benchmarks.timing import arguments, as_the_command_line, interleaved, medians, publish, table

TOLERANCE = 1e-9
"""How far batched gradients may be from separate ones, as a share of a tensor's largest; in float64, since float32's
rounding puts a few activations on the other side of the leaky ReLU's kink."""
CHECKED = 4
"""Examples of a batch by which they are compared."""
Step = Callable[[], object]


class Seeds:
    """K seeds of the paper's ACAI in one program; K = 1 is the plain one.

    Images and latents of all seeds lie side by side in the channels, and each convolution has a group for each seed.
    A loss is the sum over the seeds, so that each seed's weights have their own gradient.
    """

    def __init__(self, experiment: Experiment, k: int, device: str, layout: torch.memory_format) -> None:
        encoder, (colors, *sides) = experiment.encoder, experiment.dataset.shape
        depth, scales, self.latent = (int(getattr(encoder, name)) for name in ("depth", "scales", "latent"))
        self.k, batch = k, experiment.batch_size
        self.f, self.g, self.d = (
            network.to(device=device, memory_format=layout)  # type: ignore[call-overload]
            for network in (
                _encoder(colors, depth, scales, self.latent, k),
                _decoder(colors, depth, scales, self.latent, k),
                _encoder(colors, depth, scales, self.latent, k),
            )
        )
        self.x = torch.rand(batch, k * colors, *sides, device=device).contiguous(memory_format=layout)
        fused = {"lr": 1e-4, "fused": True, "capturable": device != "cpu"}
        self.adams = [
            torch.optim.Adam(weights, **fused)  # type: ignore[arg-type]
            for weights in ([*self.f.parameters(), *self.g.parameters()], list(self.d.parameters()))
        ]

    @property
    def weights(self) -> list[nn.Parameter]:
        """The weights of encoder, decoder and critic, in order."""
        return list(chain(self.f.parameters(), self.g.parameters(), self.d.parameters()))

    def double(self) -> Self:
        """Go over to float64."""
        for network in (self.f, self.g, self.d):
            network.double()
        self.x = self.x.double()
        return self

    def backward(self, x: Tensor, u: Tensor) -> None:
        """Give every weight its gradient for images ``[B, K C, H, W]`` and uniform numbers `u` ``[B, K]``."""
        f, g, d, k = self.f, self.g, self.d, self.k

        def guess(image: Tensor) -> Tensor:
            return d(image).reshape(len(x), k, -1).mean(2)

        z = f(x)
        x_hat = g(z)
        alpha = 0.5 - (u - 0.5).abs()
        a = alpha.repeat_interleave(self.latent, 1)[..., None, None]
        x_mix = g(a * z + (1 - a) * z.flip(0))
        for adam in self.adams:
            adam.zero_grad()
        d.requires_grad_(False)
        (k * (F.mse_loss(x_hat, x) + 0.5 * guess(x_mix).square().mean())).backward()
        d.requires_grad_(True)
        x_hat, x_mix = x_hat.detach(), x_mix.detach()
        (k * ((guess(x_mix) - alpha).square() + guess(0.2 * x + 0.8 * x_hat).square()).mean()).backward()

    def step(self) -> None:
        """Train every seed on its batch."""
        self.backward(self.x, torch.rand(len(self.x), self.k, device=self.x.device))
        for adam in self.adams:
            adam.step()


class Stacked:
    """The same by ``vmap`` over the stacked weights of K plain programs."""

    def __init__(self, singles: Sequence[Seeds]) -> None:
        self.f, self.g, self.d = singles[0].f, singles[0].g, singles[0].d
        stacks = [stack_module_state([getattr(one, name) for one in singles])[0] for name in "fgd"]
        self.theta = {
            name: {key: p.detach() for key, p in stack.items()} for name, stack in zip("fgd", stacks, strict=True)
        }
        self.x = torch.stack([one.x for one in singles])
        self.weights = [p for name in "fgd" for p in self.theta[name].values()]
        device = singles[0].x.device.type
        self.adam = torch.optim.Adam(self.weights, 1e-4, fused=True, capturable=device != "cpu")

    def backward(self, x: Tensor, u: Tensor) -> None:
        """Give every weight its gradient for images ``[K, B, C, H, W]`` and uniform numbers `u` ``[K, B]``."""

        def model_loss(ours: dict[str, Any], phi: dict[str, Tensor], x: Tensor, alpha: Tensor) -> Any:
            z = functional_call(self.f, ours["f"], x)
            x_hat = functional_call(self.g, ours["g"], z)
            a = alpha.view(-1, 1, 1, 1)
            x_mix = functional_call(self.g, ours["g"], a * z + (1 - a) * z.flip(0))
            d = functional_call(self.d, phi, x_mix).mean((1, 2, 3))
            return F.mse_loss(x_hat, x) + 0.5 * d.square().mean(), (x_hat, x_mix)

        def own_loss(phi: dict[str, Tensor], x: Tensor, x_hat: Tensor, x_mix: Tensor, alpha: Tensor) -> Tensor:
            mixed = functional_call(self.d, phi, x_mix).mean((1, 2, 3))
            blend = functional_call(self.d, phi, 0.2 * x + 0.8 * x_hat).mean((1, 2, 3))
            return (mixed - alpha).square().mean() + blend.square().mean()

        def gradients(ours: dict[str, Any], phi: dict[str, Tensor], x: Tensor, alpha: Tensor) -> Any:
            model, (x_hat, x_mix) = grad(model_loss, has_aux=True)(ours, phi, x, alpha)
            return {**model, "d": grad(own_loss)(phi, x, x_hat, x_mix, alpha)}

        ours = {name: self.theta[name] for name in "fg"}
        found = vmap(gradients)(ours, self.theta["d"], x, 0.5 - (u - 0.5).abs())
        for name, weights in self.theta.items():
            for key, weight in weights.items():
                weight.grad = found[name][key]

    def step(self) -> None:
        """Train every seed on its batch."""
        self.backward(self.x, torch.rand(self.x.shape[:2], device=self.x.device))
        self.adam.step()


def _encoder(colors: int, depth: int, scales: int, latent: int, k: int) -> nn.Sequential:
    layers: list[nn.Module] = [_conv(colors, depth, k, 1)]
    before = depth
    for s in range(scales):
        now = depth * 2**s
        layers += [_conv(before, now, k), nn.LeakyReLU(0.2), _conv(now, now, k), nn.LeakyReLU(0.2), nn.AvgPool2d(2)]
        before = now
    top = depth * 2**scales
    return nn.Sequential(*layers, _conv(before, top, k), nn.LeakyReLU(0.2), _conv(top, latent, k))


def _decoder(colors: int, depth: int, scales: int, latent: int, k: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    before = latent
    for s in reversed(range(scales)):
        now = depth * 2**s
        layers += [_conv(before, now, k), nn.LeakyReLU(0.2), _conv(now, now, k), nn.LeakyReLU(0.2)]
        layers += [nn.Upsample(scale_factor=2)]
        before = now
    return nn.Sequential(*layers, _conv(before, depth, k), nn.LeakyReLU(0.2), _conv(depth, colors, k))


def _conv(i: int, o: int, k: int, kernel: int = 3) -> nn.Conv2d:
    return nn.Conv2d(k * i, k * o, kernel, padding=kernel // 2, groups=k)


def check(experiment: Experiment, k: int, device: str) -> str:
    """Return how far the batched gradients are from separate ones; stop where that is too far."""
    experiment = replace(experiment, batch_size=CHECKED)
    singles = [Seeds(experiment, 1, device, torch.channels_last).double() for _ in range(k)]
    draws = torch.rand(k, CHECKED, device=device, dtype=torch.float64)
    for one, u in zip(singles, draws, strict=True):
        one.backward(one.x, u[:, None])
    separate = [torch.stack([p.grad for p in same]) for same in zip(*(one.weights for one in singles), strict=True)]

    stacked = Stacked(singles)
    stacked.backward(stacked.x, draws)
    found = {"vmap": [p.grad for p in stacked.weights]}
    x = torch.cat([one.x for one in singles], 1)
    for name, layout in LAYOUTS.items():
        grouped = Seeds(experiment, k, device, layout).double()
        with torch.no_grad():
            for weight, same in zip(grouped.weights, zip(*(one.weights for one in singles), strict=True), strict=True):
                weight.copy_(torch.cat(same))
        grouped.backward(x.contiguous(memory_format=layout), draws.T)
        found[name] = [p.grad.view_as(s) for p, s in zip(grouped.weights, separate, strict=True)]  # type: ignore[union-attr]
    apart = {
        name: max(((g - s).abs().max() / s.abs().max()).item() for g, s in zip(gradients, separate, strict=True))
        for name, gradients in found.items()
    }
    if max(apart.values()) > TOLERANCE:
        raise SystemExit(f"the batched gradients are not those of separate networks: {apart}")
    return ", ".join(f"{name} {value:.1g}" for name, value in apart.items())


LAYOUTS = {"grouped, NCHW": torch.contiguous_format, "grouped, channels_last": torch.channels_last}


def captured(step: Step) -> Step:
    """Return `step` as a CUDA graph."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


@cache
def alone(program: str, recipe: str, device: str, seed: int) -> Step:
    """Return the step of one seed: of "acaikit", or the "plain" one."""
    experiment = replace(experiment_of(recipe), seed=seed)
    if program == "acaikit":
        return Trainer(experiment, device).step
    return Seeds(experiment, 1, device, torch.channels_last).step


def work(program: str, recipe: str, device: str, steps: int) -> None:
    """Take some steps in a process of its own."""
    step = alone(program, recipe, device, seed=0)
    for _ in range(steps):
        step()
    if device != "cpu":
        torch.cuda.synchronize()


def ways(recipe: str, k: int, device: str, steps: int, pool: ProcessPoolExecutor) -> Iterator[tuple[str, Step]]:
    """Yield each way of taking `steps` steps of `k` seeds, by name."""
    experiment = experiment_of(recipe)

    def repeated(*each: Step) -> Step:
        return lambda: [step() for step in each for _ in range(steps)]

    for program in ("acaikit", "plain"):
        yield f"{program}, processes", lambda p=program: [*pool.map(partial(work, p, recipe, device), [steps] * k)]
        yield f"{program}, one by one", repeated(*(alone(program, recipe, device, seed) for seed in range(k)))
    batched = {name: Seeds(experiment, k, device, layout) for name, layout in LAYOUTS.items()}
    singles = [Seeds(experiment, 1, device, torch.contiguous_format) for _ in range(k)]
    for name, program in {**batched, "vmap": Stacked(singles)}.items():
        yield name, repeated(program.step)
    if device != "cpu":
        yield (
            "plain, one by one, captured",
            repeated(*(captured(alone("plain", recipe, device, seed)) for seed in range(k))),
        )
        for name, program in batched.items():
            yield f"{name}, captured", repeated(captured(program.step))


def main() -> None:
    """Print what each way makes of each number of seeds."""
    parser = arguments(__doc__, "seeds", rounds=5, device=True)
    parser.add_argument("--recipes", nargs="+", default=["quickstart", "lines_acai_64"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 4, 5])
    parser.add_argument("--steps", type=int, default=1, help="steps of each seed in a turn (default: 1)")
    options = parser.parse_args()
    device, rows, apart = options.device, [], []
    names: list[str] = []
    workers = torch.get_num_threads() if device == "cpu" else max(options.seeds)
    with ProcessPoolExecutor(workers, get_context("spawn"), as_the_command_line, (1,)) as pool:
        for recipe in options.recipes:
            experiment = experiment_of(recipe)
            apart.append(f"{recipe}: {check(experiment, max(options.seeds), device)}")
            for k in options.seeds:
                programs = dict(ways(recipe, k, device, options.steps, pool))
                times = medians(interleaved(programs, options.rounds, device=device))
                names = list(programs)
                speeds = [k * options.steps * experiment.batch_size / times[name] for name in names]
                rows.append([recipe, k, *(f"{speed:,.0f}" for speed in speeds), names[speeds.index(max(speeds))]])
    publish(
        options,
        "Several seeds at a time",
        f"Samples per second, of all seeds together, on {device}; medians of {options.rounds} interleaved rounds. "
        f"Steps of each seed in a turn: {options.steps}. Processes: {workers} at a time, of one thread each.",
        table(["recipe", "seeds", *names, "fastest"], rows),
        "Batched gradients differ from those of separate networks by at most these shares of a tensor's largest: "
        + "; ".join(apart)
        + ".",
    )


if __name__ == "__main__":
    main()
