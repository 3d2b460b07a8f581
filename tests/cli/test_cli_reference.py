from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from acaikit.artifacts.evaluations import protocol_hash
from acaikit.data import Digits
from acaikit.evaluators.codes import Codes
from acaikit.evaluators.linear_probe import LinearProbe
from acaikit.report import paper

QUICK = ["--set", "LinearProbe.seeds=1", "--set", "LinearProbe.strengths=(0.01,)"]

SOURCE = """
from acaikit.evaluators.base import Result
from acaikit.evaluators.of_codes import OfCodes


class Dimensions(OfCodes):
    \"\"\"How many numbers a code has.\"\"\"

    key = "dimensions"

    def __init__(self, examples=100):
        super().__init__(examples)

    def measure(self, codes):
        return Result({"dimensions": float(codes.train.shape[1]), "examples": float(len(codes.train))})
"""


def test_without_a_flag_it_is_the_linear_probe_of_the_data(acaikit) -> None:
    told = json.loads(acaikit("data", "reference", "Digits", *QUICK, "--json", "-q").out)
    data = Digits()
    flat = [split.examples(slice(None)).flatten(1).numpy() for split in (data.training(), data.test())]
    labels = [split.labels.numpy() for split in (data.training(), data.test())]
    expected = LinearProbe(seeds=1, strengths=(0.01,)).measure(Codes(flat[0], labels[0], flat[1], labels[1], 10))
    assert told["scores"] == {"linear_probe": expected.scores}
    assert told["dataset"] == "Digits" and told["paper"] == {"linear_probe": None}
    protocol = told["protocols"]["linear_probe"]
    assert protocol["strengths"] == [0.01] and protocol["data"]["dataset"] == "Digits"
    assert protocol.pop("sha256") == protocol_hash(protocol)


def test_settings_are_for_the_dataset_or_for_the_evaluators(acaikit) -> None:
    flags = ["--knn-probe", "--set", "KNNProbe.examples=50", "--set", "Lines.test_size=30", "--set", "Lines.height=8"]
    told = json.loads(acaikit("data", "reference", "Lines", *flags, "--set", "Lines.width=8", "--json").out)
    protocol = told["protocols"]["knn_probe"]
    assert (protocol["examples"], protocol["data"]["test_size"], protocol["data"]["height"]) == (50, 30, 8)
    assert told["scores"]["knn_probe"]["accuracy"] > 20


def test_each_flag_adds_a_table(acaikit) -> None:
    flags = ["--linear-probe", "--knn-probe", "--kmeans", "--set", "KMeans.restarts=1", "--set", "KMeans.examples=200"]
    out = acaikit("data", "reference", "Digits", *flags, *QUICK).out
    assert [line.split()[0] for line in out.splitlines() if "· protocol" in line] == [
        "linear_probe",
        "knn_probe",
        "kmeans",
    ]
    assert "paper" not in out.lower()  # which has no digits
    assert acaikit("data", "reference", "Digits", *QUICK, "--quiet") == (0, "", "")


def test_the_paper_s_number_stands_beside_and_it_is_said_that_its_probe_was_another(
    acaikit, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def raw_data(key: str, dataset: str) -> float:
        asked.append((key, dataset))
        return 92.31

    monkeypatch.setattr(paper, "raw_data", raw_data)
    out = acaikit("data", "reference", "Digits", "--linear-probe", "--knn-probe", *QUICK).out
    assert asked == [("linear_probe", "Digits"), ("knn_probe", "Digits")]
    rows = [line for line in out.splitlines() if "92.31" in line]
    assert len(rows) == 2 and all(" accuracy " in row for row in rows)
    assert out.count("in tandem with an autoencoder") == 1


def test_the_numbers_of_the_paper_are_known_by_these_names() -> None:
    found = [paper.raw_data("linear_probe", name) for name in ("MNIST", "SVHN", "CIFAR10", "Digits")]
    assert found == [92.31, 23.48, 39.70, None]
    assert paper.raw_data("knn_probe", "MNIST") is None


def test_a_protocol_says_how_to_measure(acaikit) -> None:
    quick = ["--set", "StrictKMeans.restarts=1", "--set", "KMeans.restarts=1"]
    told = json.loads(acaikit("data", "reference", "Digits", "--kmeans", "--protocol", "strict", *quick, "--json").out)
    assert list(told["scores"]) == ["kmeans_strict"]


def test_an_evaluator_of_codes_from_elsewhere_is_measured_by_name(acaikit, install: Callable[..., Path]) -> None:
    install("acai-dims", "0.1", {"evaluators": {"Dimensions": "acai_dims:Dimensions"}}, {"acai_dims.py": SOURCE})
    told = json.loads(acaikit("data", "reference", "Digits", "--with", "Dimensions", "--json").out)
    assert told["scores"] == {"dimensions": {"dimensions": np.prod(Digits().shape), "examples": 100}}
    err = acaikit("data", "reference", "Digits", "--with", "Reconstruction", code=2).err
    assert "Reconstruction measures a model" in err and "LinearProbe" in err and "Dimensions" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["CelebA"], "CelebA has no labels"),
        (["Digitz"], "did you mean Digits"),
        (["Digits", "--with", "LinearProb"], "did you mean LinearProbe"),
        (["Digits", "--set", "KNNProbe.seeds=2"], "KNNProbe.seeds is read by none of what is measured"),
        (["Digits", "--set", "LinearProbe.seeds=0"], "LinearProbe.seeds must be a whole number of at least 1"),
        (["Digits", "--set", "Digits.colour=1"], "colour"),
        (["Digits", "--set", "ACAI.weight=1"], "ACAI.weight"),
    ],
)
def test_a_mistake_is_one_message(acaikit, arguments: list[str], said: str) -> None:
    ran = acaikit("data", "reference", *arguments, code=2)
    assert said in ran.err and not ran.out.strip().startswith("{")
