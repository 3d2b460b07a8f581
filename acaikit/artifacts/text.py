"""Text inside HDF5 files: UTF-8 in uint8 datasets, and free names turned into safe HDF5 names."""

from __future__ import annotations

from urllib.parse import quote, unquote

import h5py
import numpy as np


def write_text(group: h5py.Group, name: str, text: str) -> h5py.Dataset:
    """Store a text of any length, exactly; with h5py alone ``bytes(file[name][:]).decode()`` reads it.

    HDF5's own string types lose trailing NULs, can't be empty, or need its variable-length heap.

    Returns
    -------
    h5py.Dataset
        uint8, one dimension, UTF-8.
    """
    return group.create_dataset(name, data=np.frombuffer(text.encode(), np.uint8))


def read_text(group: h5py.Group, name: str) -> str:
    """Read what `write_text` stored.

    Raises
    ------
    KeyError
        There is no such dataset.
    ValueError
        It holds something else than text.
    """
    data = group[name]
    if not isinstance(data, h5py.Dataset) or data.dtype != np.uint8 or data.ndim != 1:
        raise ValueError(f"{name!r} isn't a text")
    return bytes(data[...]).decode()


def to_name(title: str) -> str:
    """Turn any title ('loss/train', 'psnr, dB') into a flat HDF5 name, percent-encoded as in a URL.

    A slash becomes '%2F' rather than a group, so that 'loss' and 'loss/train' can stand side by side.

    Raises
    ------
    ValueError
        The title is empty or isn't valid Unicode.
    """
    if not title:
        raise ValueError("a name can't be empty")
    name = quote(title, safe=" ,:=@+()[]")
    return "%2E" + name[1:] if name.startswith(".") else name


def to_title(name: str) -> str:
    """Undo `to_name`.

    Raises
    ------
    ValueError
        No title gives this name.
    """
    title = unquote(name, errors="strict")
    if to_name(title) != name:
        raise ValueError(f"{name!r} isn't a safe name")
    return title


def text_attribute(item: h5py.Group | h5py.Dataset, name: str) -> str:
    """Read a short text from a fixed-length string attribute.

    Raises
    ------
    KeyError
        There is no such attribute.
    ValueError
        It holds something else than text.
    """
    value = item.attrs[name]
    if not isinstance(value, bytes):
        raise ValueError(f"attribute {name!r} isn't a text")
    return bytes(value).decode()
