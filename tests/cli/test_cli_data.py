from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from PIL import Image

NAME = "tiny.bin"
LABELS = np.arange(48) % 3
PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)
CONTENT = np.column_stack([LABELS.astype(np.uint8), PIXELS]).tobytes()

SOURCE = """
import numpy as np

from acaikit.data.fetch import Remote
from acaikit.data.published import Published


class Tiny(Published):
    \"\"\"Forty-eight tiny images.\"\"\"

    shape, classes, class_names = (1, 8, 8), 3, ("ant", "[bee]", "cow")
    counts = {{"train": 40, "test": 8}}
    folder, source, licence = "tiny", "https://tiny.example", "public domain"
    files = (Remote("tiny.bin", ("{address}/",), "{md5}", {size}),)

    def read(self, files, writer):
        rows = np.frombuffer(files["tiny.bin"].read_bytes(), np.uint8).reshape(48, 65)
        for split, part in {{"train": rows[:40], "test": rows[40:]}}.items():
            writer.split(split, len(part), self.shape, labels=True)
            writer.append(split, part[:, 1:].reshape(-1, *self.shape), part[:, 0])


class Mine(Tiny):
    \"\"\"The same from one's own file.\"\"\"

    def __init__(self, path):
        self.path = path
"""

RECIPE = """
include 'quickstart_baseline.gin'
Experiment.dataset = @Tiny()
Experiment.evaluators = [@Reconstruction()]
scales = 2
depth = 2
latent = 2
Experiment.batch_size = 16
Experiment.samples = 32
"""


class Server(ThreadingHTTPServer):
    """Serves CONTENT under every name; `pause` seconds after each of `pieces`."""

    pieces, pause = 1, 0.0
    asked: list[str]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        self.server.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        size = -(-len(CONTENT) // self.server.pieces)
        try:
            for start in range(0, len(CONTENT), size):
                self.wfile.write(CONTENT[start : start + size])
                self.wfile.flush()
                time.sleep(self.server.pause)
        except OSError:  # nobody listens any more
            pass

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def site(install: Callable[..., Path], server: Server, acaikit) -> Path:
    """A published set of 48 images, as a plugin, and a recipe of it in the working directory."""
    address = f"http://127.0.0.1:{server.server_port}"
    source = SOURCE.format(address=address, md5=hashlib.md5(CONTENT).hexdigest(), size=len(CONTENT))
    Path("tiny.gin").write_text(RECIPE)
    points = {"datasets": {"Tiny": "tiny_set:Tiny", "Mine": "tiny_set:Mine"}}
    return install("acai-tiny", "0.1", points, {"tiny_set.py": source})


@pytest.fixture
def here(site: Path, tmp_path: Path) -> Path:
    """The published file, where it belongs."""
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / NAME).write_bytes(CONTENT)
    return tmp_path / "tiny" / NAME


def listed(acaikit) -> dict[str, dict[str, object]]:
    return {found["name"]: found for found in json.loads(acaikit("data", "list", "--json").out)["datasets"]}


def pixels(file: str) -> np.ndarray:
    return np.asarray(Image.open(file).convert("RGB"))


def test_every_dataset_is_listed_with_where_it_is(acaikit, site: Path, tmp_path: Path) -> None:
    found = listed(acaikit)
    states = {name: told["state"] for name, told in found.items()}
    published = ("CIFAR10", "CelebA", "FashionMNIST", "KMNIST", "MNIST", "SVHN", "Tiny")
    assert {states.pop(name) for name in published} == {"missing"}
    assert states == {
        "Arrays": "yours",
        "Digits": "built in",
        "Disc": "drawn on the fly",
        "ImageFolder": "yours",
        "Lines": "drawn on the fly",
        "Mine": "yours",
        "Sinusoid": "drawn on the fly",
    }
    assert found["Tiny"] == {
        "name": "Tiny",
        "distribution": "acai-tiny",
        "version": "0.1",
        "description": "Forty-eight tiny images.",
        "parameters": {},
        "state": "missing",
        "bytes": len(CONTENT),
        "examples": {"train": 40, "test": 8},
        "folder": "tiny",
        "source": "https://tiny.example",
        "licence": "public domain",
        "broken": None,
    }
    assert list(tmp_path.glob("*")) == [path for path in tmp_path.glob("*") if path.name in ("work", "site-packages")]


@pytest.mark.parametrize("columns", ["80", "200"])
def test_the_list_is_as_wide_as_the_terminal(acaikit, site: Path, monkeypatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    out = acaikit("data", "list").out
    assert max(map(len, out.splitlines()[:-1])) <= int(columns)
    assert (
        "Tiny           missing           3.1 kB, 48 examples, from acai-tiny 0.1\n  Forty-eight tiny images.\n" in out
    )
    assert "  https://tiny.example · public domain\n" in out


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import os; os._exit(3)", "importing it ended the process"),
        ("class Broken: ...", "broken_set:Broken is no Dataset"),
        ("from acaikit.data import Lines\nclass Broken(Lines):\n def __init__(self): 1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_broken_dataset_is_listed_with_the_reason(acaikit, install, source: str, reason: str) -> None:
    install("acai-broken", "0.1", {"datasets": {"Broken": "broken_set:Broken"}}, {"broken_set.py": source})
    found = {name: told["broken"] for name, told in listed(acaikit).items()}
    assert found.pop("Broken").startswith(reason)
    assert set(found.values()) == {None}
    assert f"BROKEN: {reason}" in acaikit("data", "list").out
    acaikit("data", "check", "Lines")
    assert "did you mean svhn" not in acaikit("data", "check", "shvn", code=2).err


def test_what_is_missing_is_fetched_and_prepared_once(acaikit, site: Path, server: Server, tmp_path: Path) -> None:
    ran = acaikit("data", "fetch", "Tiny", "Lines")
    file = tmp_path / "prepared" / "tiny.h5"
    assert f"Tiny is ready: 40 train and 8 test examples, {file.stat().st_size / 1000:.1f} kB in {file}" in ran.out
    assert "Lines is drawn on the fly: there is nothing to fetch" in ran.out
    assert (tmp_path / "tiny" / NAME).read_bytes() == CONTENT
    with h5py.File(file) as opened:
        np.testing.assert_array_equal(opened["train/x"][:].reshape(40, 64), PIXELS[:40])
        np.testing.assert_array_equal(opened["test/y"], LABELS[40:])
    before = file.stat().st_mtime_ns
    assert "Tiny is here already: 40 train and 8 test" in acaikit("data", "fetch", "Tiny").out
    assert file.stat().st_mtime_ns == before
    assert server.asked == [f"/{NAME}"]
    assert listed(acaikit)["Tiny"]["state"] == "prepared"


def test_fetch_as_json_and_quietly(acaikit, site: Path, tmp_path: Path) -> None:
    told = json.loads(acaikit("data", "fetch", "tiny", "--json").out)
    file = tmp_path / "prepared" / "tiny.h5"
    fetched = {"name": "tiny", "before": "missing", "state": "prepared", "file": str(file)}
    assert told["datasets"] == [{**fetched, "bytes": file.stat().st_size, "examples": {"train": 40, "test": 8}}]
    file.unlink()
    ran = acaikit("data", "fetch", "Tiny", "--quiet")
    assert (ran.out, ran.err) == ("", "")
    assert file.is_file()


def test_a_data_folder_from_the_environment_is_made(acaikit, site: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ACAIKIT_DATA", str(tmp_path / "a" / "b"))
    acaikit("data", "list")
    assert not (tmp_path / "a").exists()
    acaikit("data", "fetch", "Tiny")
    assert (tmp_path / "a" / "b" / "tiny" / NAME).is_file()
    assert "is no folder" in acaikit("data", "fetch", "Tiny", "--data-dir", tmp_path / "c", code=2).err


def test_one_that_cannot_be_fetched_keeps_none_of_the_others(acaikit, site: Path, tmp_path: Path) -> None:
    ran = acaikit("data", "fetch", "CelebA", "Tiny", code=2)
    assert ran.err.startswith("error: CelebA: ")
    assert f"{tmp_path}/celeba" in ran.err
    assert "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html" in ran.err
    assert "Tiny is ready" in ran.out


def test_offline(acaikit, site: Path, server: Server, tmp_path: Path) -> None:
    server.shutdown()
    server.server_close()
    ran = acaikit("data", "fetch", "Tiny", code=2)
    assert f"{tmp_path}/tiny/{NAME}" in ran.err
    assert f"http://127.0.0.1:{server.server_port}/{NAME}: no connection" in ran.err
    assert "Traceback" not in ran.err
    for command in (["run", "tiny.gin"], ["data", "preview", "Tiny"]):
        assert "no connection" in acaikit(*command, code=2).err
    assert [path.name for path in Path().iterdir()] == ["tiny.gin"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["fetch", "Lnies"], "no dataset is called 'Lnies': did you mean Lines or MNIST?"),
        (["check", "mnits"], "no dataset is called 'mnits': did you mean MNIST or KMNIST?"),
        (["preview", "quickstart"], "no dataset is called 'quickstart'"),
        (["preview", "Mine"], 'Mine can\'t know its path: give --set "Mine.path=..."'),
        (["preview", "Lines", "--set", "Lines.hieght=8"], "Lines has no parameter 'hieght': did you mean height?"),
        (["preview", "Lines", "--set", "Disc.height=8"], "nothing reads Disc.height"),
        (["preview", "Lines", "--set", "Lines.height=3"], "Lines.height must be a whole number of at least 4"),
        (["preview", "Lines", "-o", "lines.jpg"], "--output lines.jpg: the picture is a PNG file"),
        (["preview", "Lines", "-o", "no/where.png"], "no/where.png can't be written"),
        (["preview", "Lines", "--count", "0"], "--count"),
        (["preview", "Lines", "--split", "validation"], "--split"),
        (["preview", "ImageFolder", "--set", "ImageFolder.path='no.zip'"], "no.zip (ImageFolder.path) is missing"),
        (["check", "Lines", "--data-dir", "nowhere"], "--data-dir nowhere is no folder"),
    ],
)
def test_mistakes(acaikit, site: Path, args: list[str], said: str) -> None:
    ran = acaikit("data", *args, code=2)
    assert said in " ".join(ran.err.split())
    assert ran.out == ""


def test_parameters_go_to_the_dataset_that_has_them(acaikit, site: Path) -> None:
    acaikit("data", "fetch", "Lines", "Disc", "--set", "Disc.height=8")
    assert (
        "nothing reads Digits.flat"
        in acaikit("data", "fetch", "Lines", "Disc", "--set", "Digits.flat=True", code=2).err
    )


def checked(acaikit, code: int, *args: str) -> dict[str, str]:
    told = json.loads(acaikit("data", "check", *(args or ("Tiny",)), "--json", code=code).out)
    assert told["wrong"] == (code == 2) == any(file["wrong"] for file in told["files"])
    return {Path(file["file"]).name: file["verdict"] for file in told["files"]}


def test_check_of_files_that_are_right(acaikit, here: Path) -> None:
    assert checked(acaikit, 0) == {NAME: "as published", "tiny.h5": "not made yet"}
    acaikit("data", "fetch", "Tiny")
    assert checked(acaikit, 0) == {NAME: "as published", "tiny.h5": "as it was written, from these files"}
    here.unlink()
    found = checked(acaikit, 0)
    assert found == {NAME: "missing, but the prepared file stands for it", "tiny.h5": "as it was written"}


def test_check_counts_examples_by_split_and_class(acaikit, here: Path) -> None:
    acaikit("data", "fetch", "Tiny")
    told = json.loads(acaikit("data", "check", "tiny", "--json").out)["splits"]
    for split, labels in {"train": LABELS[:40], "test": LABELS[40:]}.items():
        classes = {name: int((labels == i).sum()) for i, name in enumerate(("ant", "[bee]", "cow"))}
        assert told[split] == {"examples": len(labels), "classes": classes}
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in acaikit("data", "check", "Tiny").out.splitlines()
    ]
    for row in (["ant", "14", "2"], ["[bee]", "13", "3"], ["cow", "13", "3"], ["all", "40", "8"]):
        assert row in rows


def test_check_of_missing_and_half_downloaded_files(acaikit, here: Path) -> None:
    here.rename(here.with_name(f"{NAME}.part"))
    assert checked(acaikit, 2)[NAME] == "missing; 3.1 kB of 3.1 kB have come"
    here.with_name(f"{NAME}.part").unlink()
    assert checked(acaikit, 2)[NAME] == "missing"


def test_check_of_another_file(acaikit, here: Path) -> None:
    acaikit("data", "fetch", "Tiny")
    here.write_bytes(CONTENT[:-1] + b"x")
    found = checked(acaikit, 2)
    assert found[NAME].startswith("not the published file")
    assert found["tiny.h5"].startswith("made from other files than those there")
    ran = acaikit("data", "fetch", "Tiny")
    assert ran.err.count(f"note: {here} is not the published tiny.bin") == 1
    assert "DataWarning" not in ran.err
    assert "not the published file" not in acaikit("data", "fetch", "Tiny", "--quiet").err


@pytest.mark.parametrize(
    ("what", "verdict"),
    [("x", "the train examples have changed"), ("y", "/train/y is not what was written"), ("cut", "damaged")],
)
def test_check_of_a_prepared_file_that_was_changed(
    acaikit, here: Path, tmp_path: Path, what: str, verdict: str
) -> None:
    acaikit("data", "fetch", "Tiny")
    file = tmp_path / "prepared" / "tiny.h5"
    if what == "cut":
        file.write_bytes(file.read_bytes()[:2000])
    else:
        with h5py.File(file, "r+") as opened:
            opened[f"train/{what}"][3] = 77
    assert verdict in checked(acaikit, 2)["tiny.h5"]
    assert verdict in " ".join(acaikit("data", "check", "Tiny", code=2).out.split())


def test_check_of_the_real_mnist(acaikit, shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "mnist").symlink_to(shared_data / "mnist")
    found = checked(acaikit, 0, "MNIST")
    assert found.pop("train-images-idx3-ubyte.gz") == "as published, packed anew"
    assert found.pop("mnist.h5") == "not made yet"
    assert set(found.values()) == {"as published"}
    (tmp_path / "mnist").unlink()
    (tmp_path / "mnist").mkdir()
    labels = "t10k-labels-idx1-ubyte.gz"
    broken = (shared_data / "mnist" / labels).read_bytes()[:-100]
    (tmp_path / "mnist" / labels).write_bytes(broken)
    assert checked(acaikit, 2, "MNIST")[labels] == "its content is not what was published: delete it and fetch it again"


@pytest.mark.parametrize("name", ["Lines", "Digits"])
def test_check_of_what_needs_no_files(acaikit, name: str) -> None:
    assert "there are no files to check" in acaikit("data", "check", name).out
    assert checked(acaikit, 0, name) == {}


def test_a_preview_shows_the_images_of_each_class_in_its_row(acaikit, here: Path) -> None:
    ran = acaikit("data", "preview", "tiny", "--split", "test")
    assert ran.out == "Tiny.png\n"
    page = pixels("Tiny.png")
    scale = 26  # the nearest to 620 / 3 pixels for 8
    places = []
    for image in PIXELS[40:].reshape(-1, 8, 8):
        tile = np.kron(image, np.ones((scale, scale), np.uint8))
        line = np.lib.stride_tricks.sliding_window_view(page[..., 0], (1, 8 * scale))[..., 0, :]
        (found,) = np.argwhere((line == tile[0]).all(-1) & np.roll(line == tile[-1], 1 - 8 * scale, 0).all(-1))
        places.append(tuple(found))
    rows = [[y for (y, _), label in zip(places, LABELS[40:], strict=True) if label == c] for c in range(3)]
    assert [len(set(ys)) for ys in rows] == [1, 1, 1]
    assert rows[0][0] < rows[1][0] < rows[2][0]


def test_a_preview_is_always_the_same(acaikit, here: Path) -> None:
    for file in ("a.png", "b.png"):
        assert acaikit("data", "preview", "Tiny", "--count", 7, "-o", file).out == f"{file}\n"
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


@pytest.mark.parametrize(
    "args",
    [
        ["Lines"],
        ["Digits"],
        ["Digits", "--set", "Digits.flat=True"],
        ["Sinusoid", "--set", "Sinusoid.length=32"],
        ["Disc"],
    ],
)
@pytest.mark.parametrize("count", [1, 30])
@pytest.mark.parametrize("split", ["train", "test"])
def test_previews_of_every_kind(acaikit, args: list[str], count: int, split: str) -> None:
    assert acaikit("data", "preview", *args, "--count", count, "--split", split, "--quiet").out == ""
    assert (pixels(f"{args[0]}.png") != 255).any()


def test_a_preview_of_ones_own_arrays(acaikit) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (20, 2, 4, 4)).astype(np.float32)
    np.savez("two.npz", x=x)
    acaikit("data", "preview", "Arrays", "--set", "Arrays.path='two.npz'")
    assert Path("Arrays.png").is_file()
    assert checked(acaikit, 0, "Arrays", "--set", "Arrays.path='two.npz'")["what Arrays reads"] == "there"
    assert "missing" in checked(acaikit, 2, "Arrays", "--set", "Arrays.path='no.npz'")["what Arrays reads"]


def test_a_run_fetches_what_it_needs(acaikit, site: Path, tmp_path: Path) -> None:
    acaikit("run", "tiny.gin", "--dir", "r", "--quiet", "--device", "cpu")
    assert (tmp_path / "tiny" / NAME).is_file()
    for path in (tmp_path / "tiny" / NAME, tmp_path / "prepared" / "tiny.h5"):
        path.unlink()
    assert acaikit("show", "r").err == ""
    assert (tmp_path / "tiny" / NAME).exists() is False


def test_a_recipe_of_a_published_set_needs_no_data(acaikit, site: Path, server: Server) -> None:
    acaikit("run", "tiny.gin", "--dry-run")
    acaikit("show", "tiny.gin", "--sizes")
    assert server.asked == []


def test_a_run_whose_data_are_gone(acaikit, site: Path, server: Server, tmp_path: Path) -> None:
    acaikit("run", "tiny.gin", "--dir", "r", "--quiet", "--device", "cpu")
    (tmp_path / "tiny" / NAME).unlink()
    (tmp_path / "prepared" / "tiny.h5").unlink()
    server.shutdown()
    server.server_close()
    for command in ("eval", "resume"):
        ran = acaikit(command, "r", code=2)
        assert "no connection" in ran.err
        assert ran.out == ""
    acaikit("show", "r")


def test_a_run_notes_what_is_odd_about_its_data_once(acaikit, here: Path) -> None:
    here.write_bytes(CONTENT[:-1] + b"x")
    ran = acaikit("run", "tiny.gin", "--dir", "r", "--device", "cpu")
    assert ran.err.count(f"note: {here} is not the published tiny.bin byte for byte") == 1
    assert "Warning" not in ran.err
    assert acaikit("run", "tiny.gin", "--dir", "s", "--device", "cpu", "--quiet").err == ""


def test_time_and_signals_count_from_the_first_step(acaikit, here: Path, monkeypatch) -> None:
    from acaikit.data.stored import Stored
    from acaikit.runs import stopping

    clock, prepare, seen = [0.0], Stored.prepare, []

    def slow(dataset: Stored) -> None:
        seen.append((signal.getsignal(signal.SIGINT), Path("r").exists()))
        clock[0] += 100
        prepare(dataset)

    monkeypatch.setattr(Stored, "prepare", slow)
    monkeypatch.setattr(stopping, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    assert "32/32" in acaikit("run", "tiny.gin", "--dir", "r", "--device", "cpu", "--max-time", "99s").out
    acaikit("resume", "r", "--samples", 64, "--quiet", "--max-time", "99s")
    assert json.loads(acaikit("show", "r", "--json").out)["finished"]
    assert seen == [(signal.default_int_handler, False), (signal.default_int_handler, True)]


@pytest.mark.parametrize("command", [["run", "tiny.gin", "--dir", "r"], ["data", "fetch", "Tiny"]])
def test_ctrl_c_ends_a_download_at_once(site: Path, server: Server, tmp_path: Path, command: list[str]) -> None:
    server.pieces, server.pause = len(CONTENT), 0.05  # minutes in all
    ran = subprocess.Popen(
        [sys.executable, "-m", "acaikit", *command],
        env={**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not server.asked:
        assert ran.poll() is None
        time.sleep(0.01)
    time.sleep(0.3)
    ran.send_signal(signal.SIGINT)
    out, err = ran.communicate(timeout=20)
    assert ran.returncode == 130
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err
    assert out == ""
    assert not Path("r").exists()
    assert (tmp_path / "tiny" / f"{NAME}.part").is_file()
