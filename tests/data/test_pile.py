from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from acaikit.data.pile import BadImage, open_pile, state
from acaikit.errors import DataError


def zipped(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


# Piles

NAMES = ("b/2.PNG", "a/1.jpg", "a b/0.jpeg", "a/10.png")
IGNORED = (
    "a/notes.txt",
    ".hidden/1.png",
    "a/.hidden.png",
    "__MACOSX/a/._1.jpg",
    "__MACOSX/1.png",
    "png",
    "a/x.png.txt",
)


def content(name: str) -> bytes:
    return f"content of {name}".encode()


@pytest.fixture(params=["folder", "zip", "packed folder"])
def pile_path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    files = {name: content(name) for name in (*NAMES, *IGNORED)}
    if request.param == "zip":
        return zipped(tmp_path / "pile.zip", files)
    if request.param == "packed folder":
        inside = {f"top/{name}": data for name, data in files.items()}
        return zipped(tmp_path / "pile.zip", {"top/": b"", **inside, "__MACOSX/top/._b": b"", ".DS_Store": b""})
    for name, data in files.items():
        (tmp_path / "pile" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pile" / name).write_bytes(data)
    return tmp_path / "pile"


def test_images_are_listed_in_order_and_read_from_any_thread(pile_path: Path) -> None:
    with open_pile(pile_path) as pile:
        assert pile.names == ["a/1.jpg", "a/10.png", "a b/0.jpeg", "b/2.PNG"]
        start = threading.Barrier(8)

        def read(thread: int) -> list[bytes]:
            start.wait()
            return [pile.read(pile.names[(thread + i) % 4]) for i in range(40)]

        with ThreadPoolExecutor(8) as pool:
            for thread, found in enumerate(pool.map(read, range(8))):
                assert found == [content(pile.names[(thread + i) % 4]) for i in range(40)]


def test_a_stray_image_of_another_kind_leaves_the_packed_folder_around_the_rest(tmp_path: Path) -> None:
    files = {"photos/train/a.png": b"1", "photos/test/b.png": b"2", "cover.gif": b"3"}
    with open_pile(zipped(tmp_path / "x.zip", files)) as pile:
        assert pile.names == ["test/b.png", "train/a.png"]
        assert pile.passed_over == ["cover.gif"]
        assert pile.read("train/a.png") == b"1"


def test_a_zips_names_are_only_names(tmp_path: Path) -> None:
    names = {"../up.png": "../up.png", "/etc/x.png": "etc/x.png", "./d/y.png": "d/y.png", "w\\z.png": "w/z.png"}
    with open_pile(zipped(tmp_path / "x.zip", dict.fromkeys(names, b"!"))) as pile:
        assert set(pile.names) == set(names.values())
        assert {pile.read(name) for name in pile.names} == {b"!"}
    assert [f.name for f in tmp_path.iterdir()] == ["x.zip"]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    pile = tmp_path / "pile"
    (pile / "a").mkdir(parents=True)
    (pile / "a" / "1.png").write_bytes(b"1")
    (pile / "a" / "up").symlink_to(pile)
    (pile / "b").symlink_to(pile / "a")
    (pile / "broken.png").symlink_to(tmp_path / "nothing")
    with open_pile(pile) as found:
        assert found.names == ["a/1.png", "b/1.png", "broken.png"]
        assert found.read("b/1.png") == b"1"
        with pytest.raises(BadImage, match="No such file"):
            found.read("broken.png")
    assert state(pile) is not None


def test_what_is_no_pile(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    (tmp_path / "cut.zip").write_bytes(zipped(tmp_path / "x.zip", {"a.png": b"1" * 100}).read_bytes()[:60])
    for name, said in (("x.txt", "neither a folder nor a zip"), ("cut.zip", "neither"), ("nothing", "can't be read")):
        with pytest.raises(DataError, match=said) as caught, open_pile(tmp_path / name):
            pass
        assert str(tmp_path / name) in str(caught.value)


def test_a_damaged_entry(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"a.png": b"1" * 100})
    path.write_bytes(path.read_bytes().replace(b"1" * 100, b"1" * 99 + b"2"))
    with open_pile(path) as pile, pytest.raises(BadImage, match="CRC"):
        pile.read("a.png")


def test_the_state_is_that_of_every_file(tmp_path: Path) -> None:
    pile = tmp_path / "pile"
    assert state(pile) is None
    pile.mkdir()
    states = [state(pile)]
    (pile / "a.png").write_bytes(b"1")
    states.append(state(pile))
    (pile / "notes.txt").write_bytes(b"1")
    assert state(pile) == states[-1]
    (pile / "a.png").write_bytes(b"12")
    states.append(state(pile))
    os.utime(pile / "a.png", ns=(1, 1))
    states.append(state(pile))
    (pile / "a.png").rename(pile / "b.png")
    states.append(state(pile))
    assert len(set(states)) == 5
    assert state(zipped(tmp_path / "x.zip", {"a.png": b""})) != state(zipped(tmp_path / "x.zip", {"ab.png": b""}))
