from __future__ import annotations

import errno
import hashlib
import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from local_server import Page, Server, serving

from acaikit.data import fetch as fetch_module
from acaikit.data.fetch import MIRROR, Remote, fetch
from acaikit.errors import DataError

CONTENT = np.random.default_rng(0).bytes(1000)
OTHER = np.random.default_rng(1).bytes(1000)
FILE, PART, BAD = "a.gz", "a.gz.part", "a.gz.bad"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(fetch_module, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(fetch_module, "CHUNK", 100)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        yield server


@pytest.fixture
def folder(data_folder: Path) -> Path:
    return data_folder / "set"


def remote(*addresses: str) -> Remote:
    return Remote(FILE, addresses, hashlib.md5(CONTENT).hexdigest(), len(CONTENT))


def get(server: Server, folder: Path, page: Page, *more: Page) -> Path:
    """Fetch from a server that has the pages at one address each."""
    for number, content in enumerate((page, *more)):
        server.pages[f"/{number}/{FILE}"] = content
    return fetch(remote(*(f"{server.url}{n}/" for n in range(1 + len(more)))), folder, "HELP")


def keep(folder: Path, part: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / PART).write_bytes(part)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def check(folder: Path, *beside: str) -> None:
    assert (folder / FILE).read_bytes() == CONTENT
    assert names(folder) == {FILE, *beside}


def failure(call: Callable[[], object]) -> str:
    with pytest.raises(DataError) as caught:
        call()
    return str(caught.value)


def test_a_file_is_got_whole(server: Server, folder: Path) -> None:
    assert get(server, folder, Page(CONTENT)) == folder / FILE
    check(folder)
    assert server.asked == [(f"/0/{FILE}", None)]


def test_a_file_that_is_there_is_not_got_again(server: Server, folder: Path) -> None:
    keep(folder, b"")
    (folder / FILE).write_bytes(b"mine")
    get(server, folder, Page(CONTENT))
    assert (folder / FILE).read_bytes() == b"mine"
    assert server.asked == []


@pytest.mark.parametrize("ranges", [True, False])
def test_it_goes_on_from_what_is_there_where_the_server_can(server: Server, folder: Path, ranges: bool) -> None:
    keep(folder, CONTENT[:700])
    get(server, folder, Page(CONTENT, ranges=ranges))
    check(folder)
    assert server.ranges == ["bytes=700-"]


def test_it_goes_on_through_a_redirection(server: Server, folder: Path) -> None:
    keep(folder, CONTENT[:700])
    server.pages["/elsewhere"] = Page(CONTENT)
    get(server, folder, Page(statuses=[302], headers={"Location": "/elsewhere"}))
    check(folder)
    assert server.asked == [(f"/0/{FILE}", "bytes=700-"), ("/elsewhere", "bytes=700-")]


def test_it_goes_on_as_often_as_it_gets_further(server: Server, folder: Path) -> None:
    get(server, folder, Page(CONTENT, cuts=[200] * 4))
    check(folder)
    assert server.ranges == [None, *(f"bytes={n}-" for n in range(200, 801, 200))]


@pytest.mark.parametrize("page", [Page(CONTENT, cuts=[400, 0, 0, 0]), Page(CONTENT, ranges=False, cuts=[400] * 4)])
def test_a_server_that_keeps_breaking_off(server: Server, folder: Path, page: Page) -> None:
    message = failure(lambda: get(server, folder, page))
    assert f"{server.url}0/{FILE}: it broke off" in message
    assert f"400 bytes of 1.0 kB are kept in {folder / PART}" in message
    assert names(folder) == {PART}
    assert len(server.asked) == 4
    get(server, folder, Page(CONTENT))
    check(folder)
    assert server.ranges[-1] == "bytes=400-"


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_busy_server_is_asked_again(server: Server, folder: Path, status: int) -> None:
    get(server, folder, Page(CONTENT, statuses=[status] * 2))
    check(folder)


@pytest.mark.parametrize(("status", "times"), [(404, 1), (403, 1), (410, 1), (304, 1), (500, 3), (503, 3), (429, 3)])
def test_the_next_address_is_tried(server: Server, folder: Path, status: int, times: int) -> None:
    get(server, folder, Page(statuses=[status] * times), Page(CONTENT))
    check(folder)
    assert [path for path, _ in server.asked] == [f"/0/{FILE}"] * times + [f"/1/{FILE}"]


def test_every_address_is_named_with_its_reason(server: Server, folder: Path) -> None:
    with serving() as gone:
        closed = gone.url
    server.pages[f"/busy/{FILE}"] = Page(statuses=[503] * 3)
    addresses = [
        closed,
        "http://nowhere.example/",
        "gopher://old.example/",
        f"{server.url}lacks/",
        f"{server.url}busy/",
    ]
    message = failure(lambda: fetch(remote(*addresses), folder, "HELP"))
    assert message.splitlines() == [
        f"{folder / FILE} is missing, and could not be got:",
        f"  {closed}{FILE}: no connection (Connection refused)",
        f"  http://nowhere.example/{FILE}: no connection (tests use no network)",
        f"  gopher://old.example/{FILE}: no connection (tests use no network)",
        f"  {server.url}lacks/{FILE}: the server says 404 Not Found",
        f"  {server.url}busy/{FILE}: the server says 503 Service Unavailable",
        "HELP",
    ]
    assert names(folder) == set()


@pytest.mark.parametrize("part", [b"", CONTENT[:300]])
def test_a_file_of_another_size_is_not_even_begun(server: Server, folder: Path, part: bytes) -> None:
    keep(folder, part)
    message = failure(lambda: get(server, folder, Page(b"<html>", ranges=False), Page(CONTENT + b"!", ranges=False)))
    assert "it has 6 bytes there" in message
    assert "it has 1001 bytes there" in message
    assert names(folder) == ({PART} if part else set())
    get(server, folder, Page(b"<html>"), Page(CONTENT))
    check(folder)


def test_other_content_of_the_right_size_is_kept_aside(server: Server, folder: Path) -> None:
    message = failure(lambda: get(server, folder, Page(OTHER)))
    assert f"what came has MD5 {hashlib.md5(OTHER).hexdigest()}, not {hashlib.md5(CONTENT).hexdigest()}" in message
    assert f"kept as {folder / BAD}" in message
    assert names(folder) == {BAD}
    assert len(server.asked) == 1
    get(server, folder, Page(OTHER), Page(CONTENT))
    check(folder, BAD)
    assert (folder / BAD).read_bytes() == OTHER


def test_other_content_that_came_in_pieces_is_kept_aside_too(server: Server, folder: Path) -> None:
    failure(lambda: get(server, folder, Page(OTHER, cuts=[300, 300])))
    assert (folder / BAD).read_bytes() == OTHER
    assert names(folder) == {BAD}


@pytest.mark.parametrize("ranges", [True, False])
def test_what_another_address_began_wrongly_is_begun_anew(server: Server, folder: Path, ranges: bool) -> None:
    get(server, folder, Page(OTHER, cuts=[500, 0, 0, 0]), Page(CONTENT, ranges=ranges))
    check(folder)
    assert server.ranges[4:] == (["bytes=500-", None] if ranges else ["bytes=500-"])


def test_a_beginning_that_fits_no_address(server: Server, folder: Path) -> None:
    keep(folder, OTHER[:500])
    message = failure(lambda: get(server, folder, Page(OTHER[::-1])))
    assert "kept as" in message
    assert (folder / BAD).read_bytes() == OTHER[::-1]
    assert names(folder) == {BAD}


def test_a_server_whose_file_ends_earlier_takes_nothing_away(server: Server, folder: Path) -> None:
    keep(folder, CONTENT[:700])
    get(server, folder, Page(CONTENT[:600]), Page(CONTENT))
    check(folder)
    assert server.ranges == ["bytes=700-", None, "bytes=700-"]


def test_a_server_that_goes_on_elsewhere(server: Server, folder: Path) -> None:
    keep(folder, CONTENT[:700])
    get(server, folder, Page(CONTENT, headers={"Content-Range": "bytes 100-999/1000"}))
    check(folder)
    assert server.ranges == ["bytes=700-", None]


def test_a_server_without_an_end(server: Server, folder: Path) -> None:
    message = failure(lambda: get(server, folder, Page(CONTENT * 20, length=False)))
    assert "more than the 1000 bytes" in message
    assert names(folder) == set()


def test_a_page_of_unknown_length_is_kept_aside(server: Server, folder: Path) -> None:
    get(server, folder, Page(b"<html>log in", length=False), Page(CONTENT))
    check(folder, BAD)
    assert (folder / BAD).read_bytes() == b"<html>log in"


def test_what_a_server_calls_packed_stays_packed(server: Server, folder: Path) -> None:
    get(server, folder, Page(CONTENT, headers={"Content-Encoding": "x-gzip"}))
    check(folder)


@pytest.mark.parametrize("length", ["many", "-1", "1000, 1000"])
def test_a_length_that_is_no_number(server: Server, folder: Path, length: str) -> None:
    get(server, folder, Page(CONTENT, headers={"Content-Length": length}), Page(CONTENT))
    check(folder)


def test_a_complete_part_needs_no_server(server: Server, folder: Path) -> None:
    keep(folder, CONTENT)
    get(server, folder, Page())
    check(folder)
    assert server.asked == []


@pytest.mark.parametrize("part", [OTHER, CONTENT + b"!"])
def test_a_part_that_can_only_be_wrong_is_begun_anew(server: Server, folder: Path, part: bytes) -> None:
    keep(folder, part)
    get(server, folder, Page(CONTENT))
    check(folder)
    assert server.ranges == [None]


def test_the_mirror_comes_first(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIRROR, f"{server.url}mirror")
    get(server, folder, Page(CONTENT))
    (folder / FILE).unlink()
    server.pages[f"/mirror/set/{FILE}"] = Page(CONTENT)
    get(server, folder, Page(CONTENT))
    assert [path for path, _ in server.asked] == [f"/mirror/set/{FILE}", f"/0/{FILE}", f"/mirror/set/{FILE}"]


def test_a_file_without_an_address(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = failure(lambda: fetch(remote(), folder, "HELP"))
    assert message == f"{folder / FILE} is missing, and it has no lasting address to be got from. HELP"
    assert not folder.exists()
    server.pages[f"/set/{FILE}"] = Page(CONTENT)
    monkeypatch.setenv(MIRROR, server.url)
    fetch(remote(), folder, "HELP")
    check(folder)


@pytest.mark.parametrize("free", [0, 599, 600])
def test_room_is_looked_for_beforehand(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    keep(folder, CONTENT[:400])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    if free >= 600:
        get(server, folder, Page(CONTENT))
        return check(folder)
    message = failure(lambda: get(server, folder, Page(CONTENT)))
    assert f"{FILE} needs 600 bytes in {folder}, where {free} bytes are free" in message
    assert names(folder) == {PART}
    assert server.asked == []


def fails_after(monkeypatch: pytest.MonkeyPatch, size: int, error: BaseException) -> None:
    write = fetch_module._Download.write

    def fail(self: fetch_module._Download, data: bytes) -> None:
        if self.file.tell() >= size:
            raise error
        write(self, data)

    monkeypatch.setattr(fetch_module._Download, "write", fail)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_fails_in_the_middle(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with monkeypatch.context() as patch:
        fails_after(patch, 300, OSError(number, "what the system says"))
        message = failure(lambda: get(server, folder, Page(CONTENT), Page(CONTENT)))
    assert str(folder / FILE) in message
    assert ("what the system says" if number == errno.EIO else "the disk became full") in message
    assert names(folder) == {PART}
    assert len(server.asked) == 1
    get(server, folder, Page(CONTENT))
    check(folder)
    assert server.ranges[-1] == "bytes=300-"


def test_an_interrupt_keeps_what_came(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        fails_after(patch, 300, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            get(server, folder, Page(CONTENT))
    assert (folder / PART).read_bytes() == CONTENT[:300]
    get(server, folder, Page(CONTENT))
    check(folder)
    assert server.ranges == [None, "bytes=300-"]


def test_a_name_is_given_to_what_is_safely_on_the_disk_only(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def power_loss(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda fd: power_loss() if Path(f"/proc/self/fd/{fd}").is_file() else None)
        failure(lambda: get(server, folder, Page(CONTENT)))
    assert names(folder) == {PART}
    get(server, folder, Page())
    check(folder)


@pytest.mark.parametrize("made", [True, False])
def test_a_read_only_folder(server: Server, folder: Path, made: bool) -> None:
    closed = folder if made else folder.parent
    closed.mkdir(parents=True)
    closed.chmod(0o555)
    message = failure(lambda: get(server, folder, Page(CONTENT)))
    assert message == f"{folder / FILE} is missing, and nothing can be written to {folder}. HELP"
    assert list(closed.iterdir()) == []
    assert server.asked == []


def test_a_file_where_the_folder_should_be(server: Server, folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_bytes(b"")
    assert str(folder / FILE) in failure(lambda: get(server, folder, Page(CONTENT)))


def fetch_together(wanted: Remote, folder: Path, barrier: Barrier) -> None:
    barrier.wait(60)
    assert fetch(wanted, folder, "HELP").read_bytes() == CONTENT


def test_two_processes_at_once_get_it_once(server: Server, folder: Path) -> None:
    server.pages[f"/{FILE}"] = Page(CONTENT)
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2)
    processes = [spawn.Process(target=fetch_together, args=(remote(server.url), folder, barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
        process.close()
    assert len(server.asked) == 1
    check(folder)


def test_one_line_for_each_address(
    server: Server, folder: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    get(server, folder, Page(statuses=[503] * 3), Page(CONTENT, cuts=[200, 200]))
    out, err = capfd.readouterr()
    assert out == ""
    begun = [f"{FILE} from {server.url}{n}/{FILE}" for n in range(2)]
    assert err.splitlines() == [*begun, f"not from {server.url}0/{FILE}: the server says 503 Service Unavailable"]
    assert caplog.records == []


def test_what_does_instead(tmp_path: Path) -> None:
    wanted = Remote("a.gz", (), hashlib.md5(b"packed").hexdigest(), 6, ("a", "b"))
    assert wanted.find(tmp_path) is None
    for name in ("b", "a", "a.gz"):
        (tmp_path / name).write_bytes(b"packed" if name == "a.gz" else b"content")
        assert wanted.find(tmp_path) == tmp_path / name
        assert wanted.is_published(tmp_path / name) == (name == "a.gz")
