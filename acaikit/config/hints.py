"""What to write instead of a line that can't be read."""

from __future__ import annotations

import re

from acaikit.registry import parts

_MEANT = {"true": "True", "false": "False", "none": "None", "null": "None"}
_VALUES = "a value is a number, a 'text', True, False, None, a [list], a (tuple,), a {'dict': 1}, @Part() or %macro"
_BINDING = "a line binds a value: Part.parameter = value"


def hint(content: str, token: str) -> str:
    """Return how to write what can't be read.

    Parameters
    ----------
    content : str
        The line that goes wrong.
    token : str
        The value in it that goes wrong, as far as it is known.
    """
    if content.startswith("include"):
        return "write include 'file.gin'"
    left, equals, right = content.partition("=")
    right = right.strip()
    if equals and not re.fullmatch(r"[\w./]+", left.strip()):
        return f"{_BINDING}, and the name left of = has only letters, digits, _ . and /"
    if equals and not right:
        return "there is no value behind ="
    unquoted = re.fullmatch(r"[^\d\s=#'\"\[({@%+-][^'\"]*", right)
    value = right.strip("“”‘’") if unquoted else token
    if value.lower() in _MEANT and value != _MEANT[value.lower()]:
        return f"write {_MEANT[value.lower()]}"
    if re.fullmatch(r"[\w./]+\(\)", value):
        return f"a part needs an @ (@{value})"
    if unquoted or value.isidentifier():
        kinds = {part.kind for part in parts() if part.name == value}
        if kinds - {"paths"}:
            return f"a part needs an @ (@{value}())"
        part = f", a part an @ (@{value}())" if value.isidentifier() and not kinds else ""
        return f"a text needs quotes ('{value}'){part}"
    if not equals and not token:
        return _BINDING
    if re.search(r"@[\w./]+\([^)]", right):
        return "nothing stands between the brackets of @Part(): bind its parameters, Part.parameter = value"
    if ";" in right:
        return "each binding has a line of its own"
    if re.search(r"[\w)]\s*(\*\*|[*/+-])\s*[\w(]", right):
        return "nothing is calculated: write the result"
    return _VALUES
