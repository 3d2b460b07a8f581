from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from local_server import Page, Server, serving

from acaikit.data import fetch as fetch_module
from acaikit.data.fetch import MIRROR, Remote
from acaikit.data.location import prepared_files
from acaikit.data.published import Published, check_labels
from acaikit.data.writer import Writer
from acaikit.errors import DataError, DataWarning

TRAIN, TEST = bytes(range(30)), bytes(range(100, 112))


class Small(Published):
    shape = (3,)
    classes = 2
    class_names = ("even", "odd")
    folder = "small"
    source = "https://small.example"
    licence = "free"

    def __init__(self, *addresses: str, content: str | None = None) -> None:
        self.files = tuple(  # type: ignore[misc]
            Remote(f"{name}.gz", addresses, hashlib.md5(data).hexdigest(), len(data), (name,), content)
            for name, data in (("train", TRAIN), ("test", TEST))
        )

    def read(self, files: Mapping[str, Path], writer: Writer) -> None:
        for name in ("train", "test"):
            x = np.frombuffer(files[f"{name}.gz"].read_bytes(), np.uint8).reshape(-1, 3)
            writer.split(name, len(x), self.shape, labels=True)
            writer.append(name, x, np.arange(len(x)) % 2)


@pytest.fixture
def server(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(fetch_module, "PAUSES", (0.0,))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        for name, data in (("train", TRAIN), ("test", TEST)):
            server.pages[f"/files/{name}.gz"] = Page(data)
        yield server


def put(folder: Path, **files: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name.replace("_", ".")).write_bytes(data)


def check(small: Small) -> None:
    assert small.prepared.splits["train"].data.numpy().tobytes() == TRAIN
    assert small.test().data.numpy().tobytes() == TEST
    assert small.test().labels.tolist() == [0, 1, 0, 1]
    assert (small.prepared.notes.classes, small.prepared.notes.class_names) == (2, ("even", "odd"))


def message(small: Small) -> list[str]:
    with pytest.raises(DataError) as caught:
        small.prepare()
    return str(caught.value).splitlines()


def test_files_are_got_prepared_and_found_again(server: Server, data_folder: Path) -> None:
    small = Small(f"{server.url}files/")
    assert (small.state, small.found()) == ("missing", {})
    check(small)
    assert small.found() == {f"{name}.gz": data_folder / "small" / f"{name}.gz" for name in ("train", "test")}
    check(Small(f"{server.url}files/"))
    assert [path for path, _ in server.asked] == ["/files/train.gz", "/files/test.gz"]


def test_only_what_is_missing_is_got(server: Server, data_folder: Path) -> None:
    put(data_folder / "small", train=TRAIN)
    small = Small(f"{server.url}files/", content="known")
    check(small)
    assert small.found()["train.gz"] == data_folder / "small" / "train"
    assert [path for path, _ in server.asked] == ["/files/test.gz"]


def test_the_mirror_holds_a_folder_for_each_set(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("train", "test"):
        server.pages[f"/all/small/{name}.gz"] = server.pages[f"/files/{name}.gz"]
    monkeypatch.setenv(MIRROR, f"{server.url}all/")
    check(Small())
    assert [path for path, _ in server.asked] == ["/all/small/train.gz", "/all/small/test.gz"]


def test_offline_the_message_says_what_to_do(data_folder: Path) -> None:
    lines = message(Small("http://one.example/", "http://two.example/a/"))
    assert lines == [
        f"{data_folder / 'small' / 'train.gz'} is missing, and could not be got:",
        "  http://one.example/train.gz: no connection (tests use no network)",
        "  http://two.example/a/train.gz: no connection (tests use no network)",
        f"Get train.gz on another machine or in a browser (see https://small.example) and put it in "
        f"{data_folder / 'small'}, or name the folder that holds the folder 'small' with --data-dir or ACAIKIT_DATA, "
        f"or a mirror with ACAIKIT_MIRROR. Missing as well: test.gz ({len(TEST)} bytes)",
    ]
    put(data_folder / "small", train_gz=TRAIN)
    lines = message(Small("http://one.example/"))
    assert lines[0].startswith(str(data_folder / "small" / "test.gz"))
    assert "Missing as well" not in lines[-1]
    put(data_folder / "small", test_gz=TEST)
    check(Small("http://one.example/"))


def test_files_one_folder_too_high_are_not_got_again(data_folder: Path) -> None:
    put(data_folder, train_gz=TRAIN)
    (line,) = message(Small("http://one.example/"))
    assert line == (
        f"{data_folder / 'train.gz'} lies in the data folder itself, but belongs in a folder 'small' in it: move it to "
        f"{data_folder / 'small'}, or name the folder above with --data-dir or ACAIKIT_DATA"
    )


def test_another_sets_file_in_the_data_folder_is_none_of_this_sets(data_folder: Path) -> None:
    put(data_folder, train_gz=b"another")
    assert message(Small("http://one.example/"))[0].endswith("could not be got:")


def test_a_set_without_addresses(data_folder: Path) -> None:
    (line,) = message(Small())
    assert line.startswith(f"{data_folder / 'small' / 'train.gz'} is missing, and it has no lasting address")
    assert f"put it in {data_folder / 'small'}" in line


def test_a_read_only_folder_that_lacks_a_file(server: Server, data_folder: Path) -> None:
    put(data_folder / "small", train_gz=TRAIN)
    (data_folder / "small").chmod(0o555)
    data_folder.chmod(0o555)
    (line,) = message(Small(f"{server.url}files/"))
    assert f"{data_folder / 'small' / 'test.gz'} is missing, and nothing can be written to" in line
    assert "ACAIKIT_DATA" in line
    assert server.asked == []


def test_a_read_only_folder_that_lacks_nothing(data_folder: Path) -> None:
    put(data_folder / "small", train_gz=TRAIN, test_gz=TEST)
    (data_folder / "small").chmod(0o555)
    data_folder.chmod(0o555)
    small = Small()
    check(small)
    assert small.prepared.file == prepared_files("small")[1]
    assert [path.name for path in data_folder.iterdir()] == ["small"]


def test_a_damaged_prepared_file_without_its_sources_and_offline(data_folder: Path) -> None:
    put(data_folder / "small", train_gz=TRAIN, test_gz=TEST)
    small = Small("http://one.example/")
    small.prepare()
    small.prepared.file.write_bytes(small.prepared.file.read_bytes()[:-1])
    for name in ("train.gz", "test.gz"):
        (data_folder / "small" / name).unlink()
    lines = message(Small("http://one.example/"))
    assert lines[0].startswith(f"{small.prepared.file} is damaged: ")
    assert lines[1] == f"{data_folder / 'small' / 'train.gz'} is missing, and could not be got:"


@pytest.mark.parametrize(("content", "remarks"), [(None, 1), ("known", 0)])
def test_a_file_that_nobody_published_is_remarked_on(data_folder: Path, content: str | None, remarks: int) -> None:
    put(data_folder / "small", train=TRAIN[::-1], test_gz=TEST)
    small = Small(content=content)
    if remarks:
        with pytest.warns(DataWarning, match="byte for byte, so nothing vouches for its content") as caught:
            small.prepare()
        assert str(caught[0].message).startswith(str(data_folder / "small" / "train"))
    small.prepare()
    assert len(small.prepared.notes.remarks) == remarks


def test_the_fingerprint_follows_the_files(data_folder: Path) -> None:
    small = Small()
    assert small.fingerprint() is None
    put(data_folder / "small", train_gz=TRAIN)
    assert small.fingerprint() is None
    put(data_folder / "small", test_gz=TEST)
    prints = [small.fingerprint(), small.fingerprint()]
    assert prints[0] == prints[1]
    os.utime(data_folder / "small" / "test.gz", ns=(0, 1))
    prints.append(small.fingerprint())
    put(data_folder / "small", test_gz=TEST + TEST)
    prints.append(small.fingerprint())
    (data_folder / "small" / "test.gz").rename(data_folder / "small" / "test")
    prints.append(small.fingerprint())
    assert len(set(prints)) == 4


def test_labels_out_of_range() -> None:
    check_labels(np.array([0, 1, 2]), 3, Path("/d/labels"))
    for wrong in (3, -1):
        with pytest.raises(DataError, match=rf"/d/labels has the label {wrong} at position 1, but labels are 0 to 2"):
            check_labels(np.array([0, wrong, 9]), 3, Path("/d/labels"))
    check_labels(np.array([1, 3]), 3, Path("/d/labels"), first=1)
    with pytest.raises(DataError, match="labels are 1 to 3"):
        check_labels(np.array([0]), 3, Path("/d/labels"), first=1)
