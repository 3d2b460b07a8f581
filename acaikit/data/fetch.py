"""Getting a published file: mirrors in order, retries that go on where the last one broke off, a known hash."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from acaikit.artifacts.publish import make_folder, put_in_place
from acaikit.data.alone import alone
from acaikit.data.location import writable
from acaikit.data.space import room, told, writing
from acaikit.errors import DataError
from acaikit.progress import Advance, console, progress

if TYPE_CHECKING:
    import requests

MIRROR = "ACAIKIT_MIRROR"
TIMEOUT = (10, 60)
"""Seconds to wait for a connection, and for the next bytes."""
PAUSES = (0.0, 1.0, 4.0)
"""Seconds before each attempt at one address."""
AGAIN = (408, 416, 425, 429)
"""What may be mended by asking again: too slow, range not known, too early, too many."""
CHUNK = 2**18


@dataclass(frozen=True)
class Remote:
    """A published file.

    Attributes
    ----------
    name : str
        Its name, here and there.
    addresses : tuple of str
        The folders that it can be got from, the official one first; none where there is no lasting one.
    md5 : str
        The MD5 of the file as published.
    size : int
        In bytes.
    instead : tuple of str
        Names of what does as well: the same content packed differently, or not packed.
    content : str or None
        The MD5 of the unpacked content, where it is known.
    """

    name: str
    addresses: tuple[str, ...]
    md5: str
    size: int
    instead: tuple[str, ...] = ()
    content: str | None = None

    def find(self, folder: Path) -> Path | None:
        """Return the file, or what does instead of it, in `folder`; None if there is nothing."""
        return next((folder / name for name in (self.name, *self.instead) if (folder / name).exists()), None)

    def is_published(self, path: Path) -> bool:
        """Return whether `path` is the file as published, byte for byte."""
        return path.is_file() and _md5(path) == self.md5


def fetch(remote: Remote, folder: Path, help: str) -> Path:
    """Download `remote` into `folder`, unless another process has just done so.

    The addresses are tried in order, after that of ``ACAIKIT_MIRROR`` (a base address that holds a folder for each
    set). One that can't be reached, or has another file, is left at once; one that is busy, or breaks off, is asked
    again, up to three times without getting further. What arrived before is kept, as ``NAME.part``, and gone on from,
    by a later call too. The file gets its name only when its MD5 is the published one; what came with another MD5 is
    kept aside as ``NAME.bad``.

    Parameters
    ----------
    remote : Remote
        What to get.
    folder : Path
        Where to put it. Its name is that of the set at ``ACAIKIT_MIRROR``.
    help : str
        What to do if it can't be got.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DataError
        If no address yields the file, or it can't be kept; the message says what happened at each address.
    """
    file, part = folder / remote.name, folder / f"{remote.name}.part"
    mirror = os.environ.get(MIRROR)
    addresses = (*([f"{mirror.rstrip('/')}/{folder.name}/"] if mirror else []), *remote.addresses)
    if not addresses:
        raise DataError(f"{file} is missing, and it has no lasting address to be got from. {help}")
    with writing(file):
        if not writable(folder):
            raise DataError(f"{file} is missing, and nothing can be written to {folder}. {help}")
        make_folder(folder)
        with alone(file):
            if file.exists():
                return file
            if _size(part) >= remote.size and _md5(part) != remote.md5:
                part.unlink()
            room(folder, remote.size - _size(part), remote.name)
            failures = _complete(part, remote, [f"{address}{remote.name}" for address in addresses])
            if failures is None:
                put_in_place(part, file)
                return file
            if done := _size(part):
                failures.append(f"{told(done)} of {told(remote.size)} are kept in {part}, and gone on from next time.")
            else:
                part.unlink(missing_ok=True)
    raise DataError("\n".join([f"{file} is missing, and could not be got:", *failures, help]))


def _complete(part: Path, remote: Remote, urls: Sequence[str]) -> list[str] | None:
    """Complete `part` from the first address that yields the rest; return why none did, or None."""
    if _size(part) == remote.size:
        return None
    failures: list[str] = []
    for url in urls:
        with progress(f"{remote.name} from {url}", remote.size, in_bytes=True, done=_size(part)) as advance:
            failure = _Download(url, remote, part, advance).complete()
        if failure is None:
            for failed in failures:  # one of them may have left a file to be thrown away
                console.print(f"not from {failed.strip()}", markup=False, emoji=False, highlight=False, soft_wrap=True)
            return None
        failures.append(f"  {url}: {failure}")
    return failures


class _Again(Exception):
    """An attempt failed, and the next may not."""


class _Never(Exception):
    """An attempt failed, and so would any other at this address."""


class _Download:
    """The download from one address, and the file that pooch writes it to."""

    file: BinaryIO
    response: requests.Response | None = None
    # Where the file ends by what the server said of its length.
    end = 0

    def __init__(self, url: str, remote: Remote, part: Path, advance: Advance) -> None:
        self.url, self.remote, self.part, self.advance = url, remote, part, advance
        # Whether the server may be asked to begin in the middle; and whether all that is there came from here.
        self.ranges, self.ours = True, _size(part) == 0

    def complete(self) -> str | None:
        """Complete the partial file; return why that failed, or None."""
        attempt, furthest = 0, _size(self.part)
        while True:
            time.sleep(PAUSES[attempt])
            try:
                with self.part.open("ab") as self.file:
                    self._get()
                self._check()
            except _Never as failure:
                return str(failure)
            except _Again as failure:
                attempt += 1
                done = _size(self.part)
                if done >= furthest + CHUNK:
                    attempt, furthest = 0, done
                elif attempt == len(PAUSES):
                    return str(failure)
            else:
                return None

    def _get(self) -> None:
        # Here: they take a tenth of a second, which only a download is worth.
        import pooch
        import requests

        begin = self.file.tell()
        # The bytes as they are kept there: the hash is theirs, and so is what ranges count.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={begin}-"} if begin and self.ranges else {})
        get = pooch.HTTPDownloader(
            chunk_size=CHUNK, timeout=TIMEOUT, headers=headers, hooks={"response": self._look_at}
        )
        try:
            get(self.url, self, None)
        except requests.RequestException as error:
            if self.response is None:
                raise _Never(f"no connection ({_cause(error)})") from error
            raise _Again(f"it broke off ({_cause(error)})") from error
        finally:
            if self.response is not None:
                self.response.close()
        if self.file.tell() < self.end:
            raise _Again("it broke off")

    def _look_at(self, response: requests.Response, **_: object) -> None:
        """Decide by its head what a response is good for, before its content is read."""
        self.response, status, begin = response, response.status_code, self.file.tell()
        if response.is_redirect:
            return
        if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            again = status >= 500 or status in AGAIN
            self.ranges &= status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            raise (_Again if again else _Never)(f"the server says {status} {response.reason}")
        if status == HTTPStatus.OK:
            begin = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {begin}-"):
            self.ranges = False
            raise _Again("the server goes on elsewhere than it was asked to")
        offered, missing = response.headers.get("Content-Length"), self.remote.size - begin
        if offered not in (None, str(missing)):
            raise _Never(f"it has {offered} bytes there, where {missing} are to come: another file")
        # Some servers call every .gz file packed for the journey, to be unpacked on arrival.
        response.raw.headers.pop("Content-Encoding", None)
        self.ours |= begin == 0
        self.end = self.remote.size if offered else 0
        self.advance(begin - self.file.tell())
        self.file.truncate(begin)
        self.file.seek(begin)

    def write(self, data: bytes) -> None:
        """Take a piece of the content from pooch."""
        if self.file.tell() + len(data) > self.remote.size:
            self.advance(-self.file.tell())
            self.file.truncate(0)
            raise _Never(f"it sends more than the {self.remote.size} bytes of the file")
        self.file.write(data)
        self.advance(len(data))

    def flush(self) -> None:
        """Do nothing: the file is flushed when it is closed."""

    def _check(self) -> None:
        found = _md5(self.part)
        if found == self.remote.md5:
            return
        if not self.ours:
            # Two halves of different files. Only a download in one piece tells what this address has.
            self.advance(-_size(self.part))
            self.part.unlink()
            self.ours = True
            raise _Again("what came doesn't go on from what was there")
        bad = self.part.with_name(f"{self.remote.name}.bad")
        self.part.replace(bad)
        raise _Never(f"what came has MD5 {found}, not {self.remote.md5}: it is kept as {bad}")


def _cause(error: BaseException) -> str:
    """Return the operating system's word for it, if it had one."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.strerror:
            return link.strerror
        link = link.__cause__ or link.__context__
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    return str(error.args[0] if error.args else error)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _md5(path: Path) -> str:
    import pooch

    return str(pooch.file_hash(str(path), alg="md5"))
