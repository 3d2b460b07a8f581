"""Publishing a file whole: at every instant its name holds the old bytes or the new ones, never a mixture."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

_TEMP = re.compile(r"\.(.+)\.\d+\.[0-9a-f]{16}\.tmp", re.DOTALL)


def publish(path: Path, data: bytes | memoryview) -> None:
    """Write a file so that a crash, a full disk or a power loss can't leave it half written.

    Parameters
    ----------
    path : Path
        The final name. A file of that name is replaced; its folder must exist.
    data : bytes or memoryview
        The whole content.

    Raises
    ------
    OSError
        The file can't be written; on a full disk the message says how much room it needs. The previous file, if any,
        is intact and no temporary file is left. (Where only the last step fails, the fsync of the folder, the new file
        is complete but may not survive a power loss.)
    """
    temp = _temporary(path)
    descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            _write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temp.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temp.unlink()
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            free = shutil.disk_usage(path.parent).free
            error.strerror = f"{error.strerror}: {len(data):,} bytes are needed, {free:,} are free"
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def publishing(path: Path) -> Iterator[Path]:
    """Write a file that is too large for memory: what the block wrote to the yielded name becomes `path`, whole.

    Parameters
    ----------
    path : Path
        The final name. A file of that name is replaced; its folder must exist.

    Yields
    ------
    Path
        A temporary name in the same folder, for the block to create. If the block raises, it is removed, and the
        previous file is intact.

    Raises
    ------
    OSError
        The file can't be made whole; as in `publish`.
    """
    temp = _temporary(path)
    try:
        yield temp
        put_in_place(temp, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temp.unlink()
        raise


def put_in_place(source: Path, path: Path) -> None:
    """Give a complete file its final name, in the same folder, so that both survive a power loss.

    Raises
    ------
    OSError
        It can't be done. Unless only the last step failed, the fsync of the folder, `source` and the previous file of
        the name are as they were.
    """
    descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    source.replace(path)
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents so that they survive a power loss; a folder that exists is left as it is.

    Raises
    ------
    OSError
        The folder can't be created, or not so that it survives; it isn't there then.
    """
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        try:
            sync_folder(folder.parent)
        except BaseException:
            # The next attempt would take a folder that exists for one that is safe.
            with contextlib.suppress(OSError):
                folder.rmdir()
            raise


def sync_folder(folder: Path) -> None:
    """Make the folder's names (created, replaced, removed) survive a power loss.

    Raises
    ------
    OSError
        The folder can't be opened or synchronised.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_temporary(path: Path) -> bool:
    """Say whether a name is that of a temporary file: a live writer's, or one that a killed process left."""
    return _TEMP.fullmatch(path.name) is not None


def remove_stale(folder: Path, name: str | None = None) -> list[Path]:
    """Remove the temporary files that a killed process left in a folder, and make the names that stay survive.

    A process that was killed between a rename and the fsync of the folder left a file that can be read, but that a loss
    of power may still take; what is built on it must not outlive it.

    Call it under a lock and only for what the lock guards: the temporary file of a live writer looks the same.

    Parameters
    ----------
    folder : Path
        Where to look; it needn't exist.
    name : str, optional
        Only the temporary files of this file, for a folder whose files have a lock each.

    Returns
    -------
    list of Path
        What was removed.

    Raises
    ------
    OSError
        A file can't be removed, or the folder not synchronised.
    """
    if not folder.is_dir():
        return []
    found = ((path, _TEMP.fullmatch(path.name)) for path in folder.iterdir())
    stale = sorted(path for path, match in found if match and name in (None, match[1]))
    for path in stale:
        path.unlink(missing_ok=True)
    sync_folder(folder)
    return stale


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(8)}.tmp")


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
