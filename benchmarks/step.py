"""The training step of ACAI, beside the same step written by hand in eager PyTorch.

    python -m benchmarks.step [--recipe lines_acai_64] [--device cpu] [--rounds 7] [--steps 10] [--threads N]

Three programs train the same networks on the same batches, in turn, round after round; the medians are compared.

- acaikit: `Trainer.step`, with the data it draws and the probe it trains.
- by hand: what one writes down at first. Two losses, two ``backward()``, then both optimizers; channels_last and fused
  Adam. The autoencoder's ``backward()`` also computes gradients of the critic's weights, which are thrown away.
- by hand, lean: the same without that waste, the critic's weights held constant in the autoencoder's loss.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from acaikit.config import build, read_recipe
from acaikit.engine import Trainer
from acaikit.experiment import Experiment


def _conv(i: int, o: int, k: int = 3) -> nn.Conv2d:
    return nn.Conv2d(i, o, k, padding=k // 2)


def _encoder(colors: int, depth: int, scales: int, latent: int) -> nn.Sequential:
    layers: list[nn.Module] = [_conv(colors, depth, 1)]
    before = depth
    for s in range(scales):
        now = depth * 2**s
        layers += [_conv(before, now), nn.LeakyReLU(0.2), _conv(now, now), nn.LeakyReLU(0.2), nn.AvgPool2d(2)]
        before = now
    top = depth * 2**scales
    return nn.Sequential(*layers, _conv(before, top), nn.LeakyReLU(0.2), _conv(top, latent))


def _decoder(colors: int, depth: int, scales: int, latent: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    before = latent
    for s in reversed(range(scales)):
        now = depth * 2**s
        layers += [
            _conv(before, now),
            nn.LeakyReLU(0.2),
            _conv(now, now),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
        ]
        before = now
    return nn.Sequential(*layers, _conv(before, depth), nn.LeakyReLU(0.2), _conv(depth, colors))


class ByHand:
    """The paper's ACAI as one would write it in a script."""

    def __init__(self, experiment: Experiment, device: str, lean: bool) -> None:
        encoder, colors = experiment.encoder, experiment.dataset.shape[0]
        depth, scales, latent = (int(getattr(encoder, name)) for name in ("depth", "scales", "latent"))
        layout = {"device": device, "memory_format": torch.channels_last}
        self.f = _encoder(colors, depth, scales, latent).to(**layout)
        self.g = _decoder(colors, depth, scales, latent).to(**layout)
        self.d = _encoder(colors, depth, scales, latent).to(**layout)
        self.model_adam = torch.optim.Adam([*self.f.parameters(), *self.g.parameters()], 1e-4, fused=True)
        self.critic_adam = torch.optim.Adam(self.d.parameters(), 1e-4, fused=True)
        self.lean = lean

    def step(self, x: Tensor) -> None:
        """Train on the batch `x`."""
        f, g, d = self.f, self.g, self.d
        z = f(x)
        x_hat = g(z)
        alpha = 0.5 - (torch.rand(len(x), device=x.device) - 0.5).abs()
        a = alpha.view(-1, 1, 1, 1)
        x_mix = g(a * z + (1 - a) * z.flip(0))
        self.model_adam.zero_grad()
        d.requires_grad_(not self.lean)
        (nn.functional.mse_loss(x_hat, x) + 0.5 * d(x_mix).mean((1, 2, 3)).square().mean()).backward()
        d.requires_grad_(True)
        self.critic_adam.zero_grad()
        blend = 0.2 * x + 0.8 * x_hat.detach()
        guess = d(x_mix.detach()).mean((1, 2, 3))
        ((guess - alpha).square().mean() + d(blend).mean((1, 2, 3)).square().mean()).backward()
        self.model_adam.step()
        self.critic_adam.step()


def _time(step: Callable[[], object], steps: int, device: str) -> float:
    start = time.perf_counter()
    for _ in range(steps):
        step()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / steps


def main() -> None:
    """Print the medians and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="lines_acai_64")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    experiment: Experiment = build(read_recipe(options.recipe))
    batch = experiment.batch_size
    trainer = Trainer(experiment, options.device)
    x = trainer.stream.next()[0].contiguous(memory_format=torch.channels_last)
    plain, lean = (ByHand(experiment, options.device, lean) for lean in (False, True))
    programs: dict[str, Callable[[], object]] = {
        "acaikit": trainer.step,
        "by hand": lambda: plain.step(x),
        "by hand, lean": lambda: lean.step(x),
    }
    times: dict[str, list[float]] = {name: [] for name in programs}
    for step in programs.values():
        _time(step, 3, options.device)
    for _ in range(options.rounds):
        for name, step in programs.items():
            times[name].append(_time(step, options.steps, options.device))
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"{options.recipe}, {options.device}, batch {batch}", end=", ")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"median of {options.rounds} interleaved rounds of {options.steps} steps")
    for name, seconds in medians.items():
        speed = f"{1000 * seconds:8.1f} ms/step {batch / seconds:8.0f} samples/s"
        print(f"{name:14} {speed}   acaikit takes {medians['acaikit'] / seconds:.2f} of its time")


if __name__ == "__main__":
    main()
