"""What ``acaikit show`` and ``acaikit run --dry-run`` tell of an experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from acaikit.cli.terminal import out, print_json, say

if TYPE_CHECKING:
    from acaikit.config import Config
    from acaikit.experiment import Experiment
    from acaikit.runs.opened import OpenRun


def of_sketch(config: Config, samples: int) -> dict[str, Any]:
    """Describe an experiment that has not been run, with a budget of `samples`, as far as its config tells."""
    from acaikit.config.resolve import names
    from acaikit.registry import find

    parts = [find(name) for name in sorted(names(config))]
    return {
        "resolved": config.resolved,
        "parts": [
            {"name": p.name, "kind": p.kind, "distribution": p.distribution, "version": p.version}
            for p in parts
            if p.kind != "experiments"
        ],
        "budget": samples,
        "samples": 0,
        "step": 0,
        "finished": False,
    }


def of_config(config: Config, experiment: Experiment) -> dict[str, Any]:
    """Describe an experiment that has not been run, with the sizes of its networks."""
    from acaikit.nets import count_parameters

    model, probe = experiment.outline()
    critics = {name: reg.critic for name, reg in model.regularizers.items() if reg.critic is not None}
    inside = {
        name: count_parameters(reg) - (count_parameters(reg.critic) if reg.critic is not None else 0)
        for name, reg in model.regularizers.items()
    }
    return {
        **of_sketch(config, experiment.samples),
        "parameters": {
            "encoder": count_parameters(model.encoder),
            "decoder": count_parameters(model.decoder),
            "critics": {name: count_parameters(critic) for name, critic in critics.items()},
            "regularizers": {name: n for name, n in inside.items() if n},
            "probe": count_parameters(probe) if probe is not None else 0,
        },
        "data_shape": list(model.data_shape),
        "latent_shape": list(model.latent_shape),
    }


def of_run(run: OpenRun) -> dict[str, Any]:
    """Describe a run."""
    from acaikit.config import read_resolved

    run.check()
    told = of_config(read_resolved(run.config), run.experiment)
    progress = {"budget": run.budget, "samples": run.samples, "step": run.step, "finished": run.finished}
    kept = ("run_id", "created", "seed", "overrides", "python", "libraries", "plugins", "git_commit", "fingerprint")
    info = {**{key: run.info[key] for key in kept}, "data": run.info.get("data"), "trained_under": run.trained_under}
    return {**told, **progress, "checkpoints": run.checkpoints.steps(), **info}


def show(told: dict[str, Any], as_json: bool) -> None:
    """Print a description."""
    if as_json:
        print_json(told)
        return
    say(told["resolved"], out)
    parts = Table("part", "kind", "from", title="Parts", title_justify="left", title_style="bold")
    for part in told["parts"]:
        parts.add_row(part["name"], part["kind"][:-1], f"{part['distribution']} {part['version']}")
    out.print(parts)
    if "parameters" in told:
        _show_sizes(told)
    state = "finished" if told["finished"] else f"at {told['samples']:,}" if told["samples"] else "not begun"
    say(f"budget {told['budget']:,} samples, {state}, step {told['step']:,}", out)
    if "libraries" in told:
        libraries = ", ".join(f"{name} {version}" for name, version in told["libraries"].items())
        say(f"begun {told['created']} with {libraries}", out)
    if "trained_under" in told:
        under = {"threads": "?", "precision": "float32", **told["trained_under"]}
        say(f"trained on {under['device']}, threads {under['threads']}, precision {under['precision']}", out)


def _show_sizes(told: dict[str, Any]) -> None:
    counts = told["parameters"]
    sizes = Table("network", title="Parameters", title_justify="left", title_style="bold")
    sizes.add_column("count", justify="right")
    for name in ("encoder", "decoder"):
        sizes.add_row(name, f"{counts[name]:,}")
    for name, count in counts["critics"].items():
        sizes.add_row(f"{name}'s critic", f"{count:,}")
    for name, count in counts["regularizers"].items():
        sizes.add_row(f"{name}'s layers", f"{count:,}")
    if counts["probe"]:
        sizes.add_row("probe", f"{counts['probe']:,}")
    out.print(sizes)
    data, latent = (" x ".join(map(str, told[key])) for key in ("data_shape", "latent_shape"))
    say(f"data {data}, latent {latent}", out)
