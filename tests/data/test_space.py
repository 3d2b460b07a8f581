from __future__ import annotations

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from acaikit.data.space import room, told, writing
from acaikit.errors import DataError


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (28_881, "28.9 kB"),
        (182_040_794, "182 MB"),
        (1_329_278_602, "1.3 GB"),
        (5e15, "5000 TB"),
    ],
)
def test_sizes_as_people_say_them(size: float, text: str) -> None:
    assert told(size) == text


def test_room_where_the_folder_will_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []

    def usage(place: Path) -> SimpleNamespace:
        looked.append(place)
        return SimpleNamespace(free=2_000_000)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    room(tmp_path, 2_000_000, "it")
    with pytest.raises(DataError) as caught:
        room(tmp_path / "a" / "b", 2_100_000, "the set")
    assert str(caught.value) == (
        f"the set needs 2.1 MB in {tmp_path / 'a' / 'b'}, where 2.0 MB are free: make room, or name a folder on "
        f"another disk with --data-dir or ACAIKIT_DATA"
    )
    assert looked == [tmp_path] * 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_became_full(number: int) -> None:
    said = r"the disk became full while /d/set\.h5 was written: make room"
    with pytest.raises(DataError, match=said), writing(Path("/d/set.h5")):
        raise OSError(number, "full", "/d/.tmp")


def test_what_else_the_system_refuses() -> None:
    said = r"/d/set\.h5 can't be made: .*Permission denied: '/d/source'"
    with pytest.raises(DataError, match=said), writing(Path("/d/set.h5")):
        raise PermissionError(errno.EACCES, "Permission denied", "/d/source")


@pytest.mark.parametrize("error", [DataError("what is wrong"), KeyboardInterrupt(), ValueError("a bug")])
def test_what_passes_as_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, writing(Path("/d/set.h5")):
        raise error
    assert caught.value is error
