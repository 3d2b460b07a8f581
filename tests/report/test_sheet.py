from __future__ import annotations

import csv
import io
import json
import math
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from acaikit.config import build, read_bindings, read_recipe
from acaikit.evaluators import FactorBenchmark, Interpolation, ProbeAccuracy
from acaikit.evaluators.base import Evaluator
from acaikit.evaluators.kmeans import KMeans
from acaikit.evaluators.linear_probe import LinearProbe
from acaikit.evaluators.scorecard import Scorecard
from acaikit.paths import Geodesic
from acaikit.report.layout import lay_out, said
from acaikit.report.machine import FIELDS, as_csv, as_json
from acaikit.report.measured import Group, RunResults, Value
from acaikit.report.missing import command
from acaikit.report.results import Column, Missing, Results, tabulate
from acaikit.report.sheet import escape
from acaikit.runs.chosen import choose

MNIST = {"dataset": "MNIST", "digests": {"train": "0123456789abcdef", "test": "fedcba9876543210"}}
EVALUATORS = {"probe": ProbeAccuracy(), "kmeans": KMeans(), "factor": FactorBenchmark(pairs=3)}
PROTOCOLS = {key: evaluator.protocol | {"data": MNIST} for key, evaluator in EVALUATORS.items()}


def runs(recipe: str, values: dict[str, list[float]], samples: int = 64, of: int = 20, *bindings: str):
    config = read_recipe(recipe, bindings)
    count = max(map(len, values.values()))
    return [
        RunResults(
            Path(f"{recipe}-s{seed}"),
            f"{recipe}-s{seed}",
            seed,
            config,
            [recipe],
            [],
            MNIST,
            samples,
            64,
            {s: [value(s, column[seed], of)] for s, column in values.items() if seed < len(column)},
        )
        for seed in range(count)
    ]


def value(score: str, number: float, of: int) -> Value:
    return Value(number, PROTOCOLS[score.partition("/")[0]], 0 if math.isnan(number) else of)


@pytest.fixture
def results() -> Results:
    scores = {"probe/accuracy": [98.8, 99.0], "kmeans/accuracy": [90.0]}
    mnist = Group("mnist_acai_256", "mnist_acai_256", [], runs("mnist_acai_256", scores))
    lines = runs("lines_acai_64", {"factor/mean_distance": [0.0005], "factor/smoothness_paper": [float("nan")]}, of=3)
    short = ["Experiment.samples: 16777216 -> 64"]
    live = Group("live [x] | 50%", None, [], runs("quickstart", {"probe/accuracy": [50.0]}, samples=32))
    return tabulate([mnist, Group("lines_acai_64, a = 1", "lines_acai_64", short, lines), live], paper=True)


def cells(results: Results) -> list[list[str]]:
    sheet = lay_out(results)
    return [[f"{cell.text}{cell.marks or ''}" for cell in row] for row in sheet.rows]


def test_cells(results: Results) -> None:
    sheet = lay_out(results)
    assert sheet.headings == [
        "experiment",
        *("factor/mean_distance (1e-3)", "paper", "difference"),
        *("factor/smoothness_paper", "paper", "difference"),
        *("probe/accuracy (%)", "paper", "difference"),
        *("kmeans/accuracy (%)", "paper", "difference"),
    ]
    mnist, lines, live = cells(results)
    assert mnist[7:] == [
        *("98.90 ± 0.10 (2)", "99.00 ± 0.08 (5)", "−0.10 outside"),
        *("90.00 (1)", "96.17 (5)", "−6.17[1]"),
    ]
    assert mnist[1:7] == lines[7:] == ["–"] * 6
    assert lines[1:4] == ["0.50 (1)[2]", "0.24 ± 0.01 (5)[3]", "+0.26[4]"]
    assert lines[4:7] == ["nan (0)[5]", "0.10 ± 0.01 (5)[3]", "–"]
    assert live[0] == "live [x] | 50%[6]" and live[7] == "50.00 (1)"
    assert sheet.footnotes == [
        "the paper gives no standard deviation",
        "median of 3 of 20 values",
        "not the paper's experiment: Experiment.samples: 16777216 -> 64",
        "not the paper's protocol: pairs 3, not 256",
        "undefined in 1 of 1 runs",
        "not finished: left out of the means of its experiment",
    ]


def test_below_the_table(results: Results) -> None:
    told = "\n".join(lay_out(results).below())
    sha = next(sha for sha, protocol in results.protocols.items() if protocol["evaluator"] == "ProbeAccuracy")
    assert f"protocol {sha[:8]}: data MNIST (test fedcba98, train 01234567), evaluator ProbeAccuracy, version 1" in told
    assert (
        "missing: kmeans/accuracy of mnist_acai_256 and 2 more; to measure it: "
        "acaikit eval --with KMeans mnist_acai_256-s1 lines_acai_64-s0 quickstart-s0" in told
    )
    assert "population standard deviation" in told


def test_a_zero_difference_has_no_minus() -> None:
    found = tabulate(
        [Group("x", "mnist_acai_256", [], runs("mnist_acai_256", {"probe/accuracy": [98.999]}))], paper=True
    )
    assert cells(found)[0][3] == "+0.00 within"


def test_for_a_terminal(results: Results) -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    tables = lay_out(results).rich()
    for table in tables:
        console.print(table)
    shown = console.file.getvalue()
    assert len(tables) == 4  # three columns for each score
    assert "live [x] | 50% [6]" in shown
    assert "98.90 ± 0.10 (2)" in shown and "−0.10 outside" in shown
    assert all("…" not in line for line in shown.splitlines())


def test_markdown(results: Results) -> None:
    lines = lay_out(results).markdown().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 5
    bars = {len(line.replace("\\|", "").split("|")) for line in table}
    assert bars == {15}
    assert r"live \[x\] \| 50% \[6\]" in table[-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 50% #1 {x} $", r"a\_b \& 50\% \#1 \{x\} \$"),
        ("\\textbf{x}", r"\textbackslash{}textbf\{x\}"),
        ("~^ -> <", r"\textasciitilde{}\textasciicircum{} -\textgreater{} \textless{}"),
        ("1 ± 2, −3, –", r"1 $\pm$ 2, $-$3, --"),
        ("plain", "plain"),
    ],
)
def test_latex_escapes(text: str, expected: str) -> None:
    assert escape(text) == expected


def test_latex(results: Results) -> None:
    text = lay_out(results).latex()
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 3
    assert {len(row.replace(r"\&", "").split("&")) for row in rows} == {13}
    assert r"mnist\_acai\_256 & " in text
    assert r"98.90 $\pm$ 0.10 (2)" in text and r"$-$6.17\textsuperscript{1}" in text
    assert r"nan (0)\textsuperscript{5}" in text
    assert text.isascii()


def test_csv(results: Results) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(results))))
    assert tuple(rows[0]) == FIELDS
    by = {(row["experiment"], row["score"]): row for row in rows}
    probe = by["mnist_acai_256", "probe/accuracy"]
    assert float(probe["mean"]) == pytest.approx(98.9) and float(probe["std"]) == pytest.approx(0.1)
    assert float(probe["difference"]) == pytest.approx(-0.1) and probe["within"] == "False"
    assert (probe["n"], probe["paper_mean"], probe["paper_std"]) == ("2", "99.0", "0.08")
    assert probe["protocol_sha256"] in results.protocols
    assert by["mnist_acai_256", "kmeans/accuracy"]["std"] == by["mnist_acai_256", "kmeans/accuracy"]["paper_std"] == ""
    distance = by["lines_acai_64, a = 1", "factor/mean_distance"]
    assert float(distance["mean"]) == 0.0005 and float(distance["paper_mean"]) == pytest.approx(0.00024)
    assert distance["differences"] == "Experiment.samples: 16777216 -> 64"


def test_json(results: Results) -> None:
    told = json.loads(json.dumps(as_json(results, ["a note"]), allow_nan=False))
    assert told.keys() == {"experiments", "shared", "protocols", "missing", "notes"}
    mnist, lines, live = told["experiments"]
    assert mnist.keys() == {"name", "recipe", "differences", "finished", "runs", "scores"}
    assert mnist["runs"][1] == {
        "path": "mnist_acai_256-s1",
        "run_id": "mnist_acai_256-s1",
        "seed": 1,
        "samples": 64,
        "budget": 64,
    }
    probe = mnist["scores"][0]
    assert probe["seeds"] == {"0": 98.8, "1": 99.0}
    assert (probe["n"], probe["within"], probe["paper"]) == (2, False, {"mean": 99.0, "std": 0.08, "n": 5})
    assert told["protocols"][probe["protocol_sha256"]] == PROTOCOLS["probe"]
    smoothness = next(s for s in lines["scores"] if s["score"] == "factor/smoothness_paper")
    assert (smoothness["n"], smoothness["mean"], smoothness["undefined"]) == (0, None, 1)
    assert live["finished"] is False and live["scores"][0]["paper"] is None
    missing = told["missing"]
    assert {"experiment", "score", "runs", "command"} == missing[0].keys()
    assert told["notes"] == ["a note"]


def test_columns_under_several_protocols_say_which() -> None:
    one, two = runs("mnist_acai_256", {"probe/accuracy": [1.0, 2.0]})
    other = replace(two, values={"probe/accuracy": [Value(2.0, PROTOCOLS["probe"] | {"x": 1})]})
    found = tabulate([Group("x", None, [], [one, other])])
    assert lay_out(found).headings[1:] == [f"probe/accuracy (%) [{c.protocols[0][:8]}]" for c in found.columns]
    assert len(found.columns) == 2
    # Programs are told the same.
    assert len({s["protocol_sha256"] for s in as_json(found, [])["experiments"][0]["scores"]}) == 2


def missing(protocol: dict | None, *bindings: str, score: str = "kmeans/accuracy") -> Missing:
    lacking = runs("mnist_acai_256", {"probe/accuracy": [1.0, 2.0]}, 64, 20, *bindings)
    return Missing(Group("x", None, [], lacking), Column(score), lacking, protocol)


@pytest.mark.parametrize(
    ("evaluator", "bindings", "settings"),
    [
        (KMeans(), [], []),
        (KMeans(restarts=2, examples=None), [], ["KMeans.examples=None", "KMeans.restarts=2"]),
        (KMeans(), ["Experiment.evaluators = [@KMeans()]", "KMeans.restarts = 2"], ["KMeans.restarts=1000"]),
        (KMeans(), ["Experiment.evaluators = [@s/KMeans()]", "s/KMeans.seed = 2"], ["KMeans.seed=0"]),
        (LinearProbe(strengths=(0.1, 1e-9)), [], ["LinearProbe.strengths=[0.1, 1e-09]"]),
        (Interpolation(path="slerp"), [], ["Interpolation.path='slerp'"]),
        (Scorecard(), [], []),
    ],
)
def test_the_command_measures_what_is_missing(evaluator: Evaluator, bindings: list[str], settings: list[str]) -> None:
    protocol = json.loads(json.dumps(evaluator.protocol | {"data": MNIST}))
    one = missing(protocol, *bindings)
    words = shlex.split(command(one))
    name = type(evaluator).__name__
    given = [word for setting in settings for word in ("--set", setting)]
    assert words == ["acaikit", "eval", "--with", name, *given, "mnist_acai_256-s0", "mnist_acai_256-s1"]
    # What the command would measure with, as it chooses it for a run with these bindings.
    own = build(read_recipe("mnist_acai_256", bindings)).evaluators
    (chosen,) = choose(own, [name], None, read_bindings(settings))
    assert json.loads(json.dumps(chosen.protocol)) | {"data": MNIST} == protocol


@pytest.mark.parametrize(
    "protocol",
    [
        Interpolation(path=Geodesic(points=7)).protocol,
        KMeans().protocol | {"version": 0},
        KMeans().protocol | {"evaluator": "Nobody's"},
        KMeans().protocol | {"restarts": 0},
        {},
        {"restarts": 2},
    ],
)
def test_where_no_command_can_measure_it(protocol: dict, results: Results) -> None:
    one = missing({**protocol, "data": MNIST})
    assert command(one) is None
    told = replace(results, missing=[one])
    assert lay_out(told).below()[-1] == "missing: kmeans/accuracy of x"
    assert as_json(told, [])["missing"][0]["command"] is None


def test_of_the_papers_number_alone_the_paper_says_how() -> None:
    own = ["Experiment.evaluators = [@KMeans()]", "KMeans.restarts = 2"]
    assert command(missing(None)) == "acaikit eval --with KMeans mnist_acai_256-s0 mnist_acai_256-s1"
    assert "--set KMeans.restarts=1000 " in command(missing(None, *own))


def test_a_commands_words_are_quoted() -> None:
    one = missing(KMeans().protocol)
    path = "a folder/it's $HOME-s0"
    one = replace(one, runs=[replace(one.runs[0], path=Path(path))])
    assert shlex.split(command(one)) == ["acaikit", "eval", "--with", "KMeans", path]


def test_what_a_protocol_says() -> None:
    drawn = {"dataset": "Lines", "width": 16, "height": 16}
    assert said({"version": 1, "data": drawn}) == "data Lines (height 16, width 16), version 1"
    assert said({"data": {"dataset": "Digits"}}) == "data Digits"
    assert said({"b": [1], "a": None}) == "a None, b [1]"


def test_undefined_in_all_of_the_last_values() -> None:
    nan = float("nan")
    found = tabulate([Group("x", None, [], runs("mnist_acai_256", {"probe/accuracy": [nan, 90.0, nan]}))])
    assert cells(found) == [["x", "90.00 (1)[1]"]]
    assert lay_out(found).footnotes == ["undefined in 2 of 3 runs"]


def row(recipe: str, *bindings: str, changes: dict[str, str] | None = None) -> Group:
    """A group of two runs with a probe's accuracy."""
    different = [f"{label}: before -> {value}" for label, value in (changes or {}).items()]
    found = runs(recipe, {"probe/accuracy": [98.0, 99.0]}, 64, 20, *bindings)
    return Group(recipe, recipe, different, found, changes or {})


def test_what_all_have_in_common_is_said_once() -> None:
    size = {"depth": "4", "Experiment.samples": "64"}
    bindings = ["depth = 4", "Experiment.samples = 64"]
    groups = [
        row("mnist_vae_32", *bindings, "latent = 3", changes={**size, "latent": "3"}),
        row("mnist_acai_32", *bindings, changes=size),
        row("mnist_vqvae_32", *bindings, changes={"Experiment.samples": "64"}),  # has its depth from its recipe
    ]
    found = tabulate(groups, paper=True)
    sheet = lay_out(found)
    assert [cells[0].text for cells in sheet.rows] == ["mnist_vae_32, latent = 3", "mnist_acai_32", "mnist_vqvae_32"]
    assert sheet.remarks[0] == "all: depth = 4, samples = 64"
    common = "not the paper's experiment: what all have in common, see below"
    assert sheet.footnotes[:2] == [f"{common}; latent: before -> 3", common]
    for text in (sheet.markdown(), sheet.latex()):
        assert text.count("samples = 64") == 1
    # Programs are told each experiment's whole name, which doesn't depend on the others.
    told = as_json(found, [])
    assert told["shared"] == size
    assert [one["name"] for one in told["experiments"]] == [group.name for group in groups]
    assert groups[1].name == "mnist_acai_32, depth = 4, samples = 64"


def test_what_one_lacks_is_not_in_common() -> None:
    groups = [row("mnist_vae_32", "latent = 3", changes={"latent": "3"}), row("mnist_acai_32")]
    assert tabulate(groups).shared == {}
    assert not lay_out(tabulate(groups)).remarks[0].startswith("all: ")


def test_of_one_experiment_the_row_is_short() -> None:
    found = tabulate([row("mnist_vae_32", "latent = 3", changes={"latent": "3"})])
    sheet = lay_out(found)
    assert [cells[0].text for cells in sheet.rows] == ["mnist_vae_32"]
    assert sheet.remarks[0] == "all: latent = 3"


def test_what_rows_of_one_recipe_differ_in_all_of_them_say() -> None:
    weight = "ACAI.weight"
    groups = [
        row("mnist_acai_32", f"{weight} = 0.0", changes={weight: "0.0"}),
        row("mnist_acai_32"),  # the recipe's own
        row("mnist_acai_32", f"{weight} = 1.0", "latent = 3", changes={weight: "1.0", "latent": "3"}),
        row("mnist_vae_32"),
    ]
    own = groups[1].settings[weight]
    assert [cells[0].text for cells in lay_out(tabulate(groups)).rows] == [
        f"mnist_acai_32, {weight} = 0.0, latent = 2",
        f"mnist_acai_32, {weight} = {own}, latent = 2",
        f"mnist_acai_32, {weight} = 1.0, latent = 3",
        "mnist_vae_32",
    ]


def test_a_score_that_the_paper_does_not_have() -> None:
    plain = row("mnist_acai_32")
    runs = [replace(run, values={"reconstruction/mse": [Value(0.5, {}, 20)]}) for run in plain.runs]
    assert cells(tabulate([replace(plain, runs=runs)], ["reconstruction/*"], paper=True))[0][1] == "0.5 ± 0 (2)"


def test_in_what_the_reporting_is_not_the_papers() -> None:
    once = row("mnist_acai_32")
    once = replace(
        once, runs=[replace(r, values={s: [replace(v[0], of=None)] for s, v in r.values.items()}) for r in once.runs]
    )
    coarse = row("mnist_vae_32")
    coarse = replace(coarse, runs=[replace(run, precision="bf16", asked=True) for run in coarse.runs])
    sheet = lay_out(tabulate([once, coarse], paper=True))
    assert [row[3].marks for row in sheet.rows] == [[1], [2]]
    assert not any("within" in row[3].text or "outside" in row[3].text for row in sheet.rows)
    assert sheet.footnotes[:2] == [
        "one evaluation at the end, not the median of the last 20 as in the paper",
        "computed in bf16, as was asked for",
    ]


def test_another_experiment_is_neither_within_nor_outside() -> None:
    scaled, plain = row("mnist_vae_32", "latent = 3", changes={"latent": "3"}), row("mnist_acai_32")
    found = tabulate([scaled, plain], paper=True)
    assert [found.cells[i, 0].within for i in (0, 1)] == [None, False]
    assert [row[3].text for row in lay_out(found).rows] == ["+1.94", "+0.25 outside"]


def test_a_rule_stands_between_the_papers_rows() -> None:
    names = ["mnist_vae_32", "mnist_acai_32", "mnist_acai_256"]
    assert list(lay_out(tabulate(list(map(row, names)), paper=True)).sections) == [2]
    assert list(lay_out(tabulate(list(map(row, names)))).sections) == []
    assert lay_out(tabulate(list(map(row, names)), paper=True)).latex().count(r"\midrule") == 2


def test_a_wide_terminal_has_one_table(results: Results) -> None:
    sheet = lay_out(results)
    assert [len(sheet.rich(width)) for width in (60, 80, 120, 400)] == [4, 4, 3, 1]
    for width in (100, 140, 200):
        console = Console(file=io.StringIO(), width=width, force_terminal=False)
        for table in sheet.rich(width):
            console.print(table)
        shown = console.file.getvalue()
        assert "+0.26" in shown and "within" not in shown and all(len(line) <= width for line in shown.splitlines())


def test_of_many_runs_the_command_has_room_for_any() -> None:
    groups = [row(f"mnist_{model}_{size}") for model in ("vae", "aae", "acai", "vqvae") for size in (32, 256)]
    sheet = lay_out(tabulate(groups, paper=True))
    assert len(sheet.rich(60)) == 1  # none of what nobody has measured
    line = sheet.below()[-1]
    assert (
        line
        == "missing: kmeans/accuracy of mnist_vae_32 and 7 more; to measure it: acaikit eval --with KMeans RUN_DIR ..."
    )
