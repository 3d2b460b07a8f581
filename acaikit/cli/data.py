"""``acaikit data``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.padding import Padding
from rich.style import Style
from rich.table import Table
from rich.text import Text

from acaikit.cli import options
from acaikit.cli.completion import complete_binding, complete_dataset
from acaikit.cli.terminal import err, fail, out, print_json, say
from acaikit.errors import UserError
from acaikit.registry import OURS

if TYPE_CHECKING:
    from acaikit.data import Dataset
    from acaikit.data.inspection import Checked
    from acaikit.data.listing import Listed

COLOURS = {"broken": "red", "missing": "yellow", "prepared": "green", "files there": "green"}
MANY = 50
"""Classes that are no longer listed one by one."""


class SplitName(StrEnum):
    """Which examples."""

    train = "train"
    test = "test"


Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A dataset, such as SVHN (acaikit data list), or a published set's folder, such as svhn.",
        autocompletion=complete_dataset,
        show_default=False,
    ),
]
Names = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME", help="Datasets, such as SVHN CIFAR10.", autocompletion=complete_dataset, show_default=False
    ),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="BINDING",
        help="A parameter, such as \"ImageFolder.path='photos.zip'\".",
        autocompletion=complete_binding,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    data = typer.Typer(no_args_is_help=True)
    data.command("list", epilog="Example: acaikit data list")(list_data)
    data.command("fetch", epilog="Example: acaikit data fetch SVHN CIFAR10")(fetch)
    data.command("check", epilog="Example: acaikit data check SVHN")(check)
    data.command("preview", epilog="Example: acaikit data preview Lines -o lines.png")(preview)
    from acaikit.cli import reference  # which needs this module

    reference.register(data)
    app.add_typer(
        data,
        name="data",
        help="List, fetch, check and look at datasets.",
        epilog="Example: acaikit data list",
    )


def list_data(data_dir: options.DataDir = None, as_json: options.AsJson = False) -> None:
    """List every installed dataset: what it is, how large, whether it is here, its source and licence."""
    options.apply(data_dir)
    from acaikit.data.listing import installed
    from acaikit.data.location import data_dir as folder

    listed = installed()
    if as_json:
        print_json({"data_dir": str(folder()), "datasets": [_plain(dataset) for dataset in listed]})
        return
    for dataset in listed:
        _print(dataset)
    say(f"data folder: {folder()}", out)


def fetch(
    names: Names,
    parameters: Parameters = None,
    data_dir: options.DataDir = None,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
) -> None:
    """Download what is missing, and prepare it for training; what is here already is left as it is.

    All that come are fetched, even if one of them can't be.
    """
    options.apply(data_dir, quiet=quiet)
    datasets = {name: make(name, parameters, names) for name in names}
    told, failed = [], False
    for name, dataset in datasets.items():
        try:
            told.append(_fetch(name, dataset, silent=quiet or as_json))
        except UserError as error:
            fail(f"{name}: {error}")
            failed = True
    if as_json:
        print_json({"datasets": told})
    if failed:
        raise typer.Exit(2)


def check(
    name: Name, parameters: Parameters = None, data_dir: options.DataDir = None, as_json: options.AsJson = False
) -> None:
    """Compare every file with what was published, and the prepared file with what was written.

    Nothing is downloaded or changed. Exit code 2 if something is wrong.
    """
    options.apply(data_dir)
    from acaikit.data import inspection

    dataset = make(name, parameters)
    with err.status("looking at every byte"):
        checked = inspection.check(dataset)
    if as_json:
        files = [{"file": f.what, "verdict": f.verdict, "wrong": f.wrong} for f in checked.findings]
        splits = {split: _split(checked, split) for split in checked.splits}
        print_json({"name": name, "state": dataset.state, "files": files, "splits": splits, "wrong": checked.wrong})
    elif checked.findings:
        _print_checked(checked)
    else:
        say(f"{name} is {dataset.state}: there are no files to check", out)
    if checked.wrong:
        raise typer.Exit(2)


def preview(
    name: Name,
    parameters: Parameters = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The PNG file to write.", show_default="NAME.png")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many examples, spread over the classes.")] = 100,
    split: Annotated[SplitName, typer.Option(help="Which examples.")] = SplitName.train,
    data_dir: options.DataDir = None,
    quiet: options.Quiet = False,
) -> None:
    """Draw examples with their labels, as a PNG file. Data that are not here are fetched first."""
    options.apply(data_dir, quiet=quiet)
    from acaikit.data.listing import find_dataset
    from acaikit.report.pictures import preview as draw

    part = find_dataset(name)
    file = output or Path(f"{part.name}.png")
    if file.suffix.lower() != ".png":
        raise UserError(f"--output {file}: the picture is a PNG file, so its name must end in .png")
    dataset = make(name, parameters)
    try:
        draw(dataset, part.name, split.value, count, file)
    except OSError as error:
        raise UserError(f"{file} can't be written: {error.strerror or error}") from error
    if not quiet:
        say(str(file), out)


def make(name: str, parameters: list[str] | None, beside: list[str] | None = None) -> Dataset:
    """Make the dataset called `name` with those of the parameters that are not for the datasets `beside` it."""
    from acaikit.config import Config, build, read_bindings
    from acaikit.data import Dataset
    from acaikit.data.listing import find_dataset, required

    part = find_dataset(name)
    given = read_bindings(parameters or [])
    others = {find_dataset(other).full_name for other in beside or []} - {part.full_name}
    config = Config({key: b for key, b in given.bindings.items() if key[1] not in others}, given.sources)
    bound = {parameter for _, of, parameter in config.bindings if of == part.full_name}
    missing = [parameter for parameter in required(part.load()) if parameter not in bound]
    if missing:
        said = " ".join(f'--set "{part.name}.{parameter}=..."' for parameter in missing)
        raise UserError(f"{part.name} can't know its {' and '.join(missing)}: give {said}")
    dataset = build(config, part.full_name)
    if not isinstance(dataset, Dataset):
        raise UserError(f"{part.name} ({part.entry_point.value}, from {part.distribution}) is no Dataset")
    return dataset


def _fetch(name: str, dataset: Dataset, silent: bool) -> dict[str, Any]:
    """Fetch one dataset; say and return where it is."""
    from acaikit.data.inspection import training_first
    from acaikit.data.space import told
    from acaikit.data.stored import Stored

    before = dataset.state
    dataset.prepare()
    result: dict[str, Any] = {"name": name, "before": before, "state": dataset.state}
    if isinstance(dataset, Stored):
        opened = dataset.prepared
        size = opened.file.stat().st_size
        counts = {split: len(found) for split, found in training_first(opened.splits).items()}
        result |= {"file": str(opened.file), "bytes": size, "examples": counts}
        examples = " and ".join(f"{count:,} {split}" for split, count in counts.items())
        was = "is here already" if before == "prepared" else "is ready"
        line = f"{name} {was}: {examples} examples, {told(size)} in {opened.file}"
    else:
        line = f"{name} is {before}: there is nothing to fetch"
    if not silent:
        say(line, out)
    return result


def _plain(listed: Listed) -> dict[str, Any]:
    entry, made = listed.entry, listed.made
    return {
        "name": entry.part.name,
        "distribution": entry.part.distribution,
        "version": entry.part.version,
        "description": entry.description,
        "parameters": entry.parameters,
        "state": listed.state,
        "bytes": listed.size,
        "examples": dict(made.counts) if made is not None else {},
        "folder": getattr(made, "folder", None),
        "source": made.source if made is not None else "",
        "licence": made.licence if made is not None else "",
        "broken": entry.broken,
    }


def _print(listed: Listed) -> None:
    from acaikit.data.space import told

    entry, plain = listed.entry, _plain(listed)
    ours = entry.part.distribution == OURS
    facts = [
        "" if listed.size is None else told(listed.size),
        f"{sum(plain['examples'].values()):,} examples" if plain["examples"] else "",
        "" if ours else f"from {entry.part.distribution} {entry.part.version}",
    ]
    head = Text(f"{entry.part.name:<14} ", style="bold")
    if entry.broken is None:
        head.append(f"{listed.state:<17} ", style=Style.parse(f"not bold {COLOURS.get(listed.state, 'cyan')}"))
    else:
        head.append(f"BROKEN: {entry.broken} ", style="not bold red")
    head.append(", ".join(fact for fact in facts if fact), style="not bold")
    out.print(head)
    about = [Text(entry.description), Text(" · ".join(filter(None, (plain["source"], plain["licence"]))), style="dim")]
    for line in filter(None, about):
        out.print(Padding(line, (0, 0, 0, 2), expand=False))


def _split(checked: Checked, split: str) -> dict[str, Any]:
    counts = dict(zip(checked.classes, checked.counts(split), strict=False))
    return {"examples": len(checked.splits[split]), "classes": counts}


def _print_checked(checked: Checked) -> None:
    from acaikit.data.location import data_dir

    title = Text(f"Files in {data_dir()}")
    files = Table("file", "verdict", title=title, title_justify="left", title_style="bold", expand=True)
    for finding in checked.findings:
        name = finding.what.removeprefix(f"{data_dir()}/")
        verdict = Text(finding.verdict, style="red" if finding.wrong else "green")
        files.add_row(Text(name, overflow="fold"), verdict)
    out.print(files)
    if not checked.splits:
        return
    columns = {split: checked.counts(split) for split in checked.splits}
    examples = Table("class", title="Examples", title_justify="left", title_style="bold", show_footer=True)
    examples.columns[0].footer = "all"
    for split, found in checked.splits.items():
        examples.add_column(split, justify="right", footer=f"{len(found):,}")
    if len(checked.classes) <= MANY:
        for number, name in enumerate(checked.classes):
            cells = [f"{counts[number]:,}" if counts else "" for counts in columns.values()]
            examples.add_row(Text(name), *cells)
    else:
        spans = [f"{min(counts):,} to {max(counts):,}" if counts else "" for counts in columns.values()]
        examples.add_row(f"{len(checked.classes):,} classes, each", *spans)
    out.print(examples)
