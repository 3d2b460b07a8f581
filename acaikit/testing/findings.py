"""What is found of a part, rule by rule; an exception that somebody else's code raises is a finding too."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from acaikit.errors import UserError
from acaikit.registry import Part
from acaikit.testing.rules import NotApplicable, NotConforming, Refused
from acaikit.testing.suites import SUITES

NOT_TRIED = "not tried"
"""What is said of the rules that come after a broken one."""


class Verdict(StrEnum):
    """What became of a rule; `refused`: the part doesn't take such data."""

    kept = "kept"
    broken = "broken"
    skipped = "skipped"
    refused = "refused"


@dataclass(frozen=True)
class Finding:
    """What was found of one rule.

    Attributes
    ----------
    rule : str
        The rule, as a sentence about the part.
    verdict : Verdict
        Whether it is kept.
    data : str or None
        The kind of data that it was checked on.
    message : str
        What is wrong and what to do, or why the rule was skipped.
    where : str or None
        The last line of the part's own files on the way to what is wrong, as ``file:line``.
    traceback : str or None
        Python's, where the part broke the rule.
    """

    rule: str
    verdict: Verdict
    data: str | None = None
    message: str = ""
    where: str | None = None
    traceback: str | None = None


def find_out(rule: str, check: Callable[[], Any], home: Path | None, data: str | None = None) -> Finding:
    """Check one rule of a part whose files are `home`, or lie below it."""
    try:
        check()
    except NotApplicable as reason:
        return Finding(rule, Verdict.skipped, data, str(reason))
    except Refused as refusal:
        return Finding(rule, Verdict.refused, data, str(refusal))
    except (Exception, SystemExit) as error:
        meant = isinstance(error, NotConforming | UserError)
        message = str(error) if meant else f"{type(error).__name__}: {error}".removesuffix(": ")
        told = "".join(traceback.format_exception(error)).rstrip()
        return Finding(rule, Verdict.broken, data, message, _last_line(error, home), told)
    return Finding(rule, Verdict.kept, data)


def examine(part: Part, factory: Callable[..., Any], home: Path | None, data: str | None) -> Iterator[Finding]:
    """Check what a factory makes by the rules of the part's kind, on `data` or on every kind of data in turn.

    The first rule that is broken is the last that is tried on that kind of data. A part may refuse some kinds, not all.
    Where it keeps the rules on images and breaks one elsewhere, it is told how to refuse the rest.
    """
    suite = SUITES[part.kind]
    cases: list[str | None] = [None] if not suite.data else [data] if data else list(suite.data)
    refused, keeps = 0, set()
    for case in cases:
        on = () if case is None else (case,)
        stopped = False
        for rule in suite.rules:
            if stopped:
                yield Finding(rule.title, Verdict.skipped, case, NOT_TRIED)
                continue
            found = find_out(rule.title, partial(rule.check, factory, *on), home, case)
            stopped = found.verdict is Verdict.broken
            if stopped and "images" in keeps and suite.only_images:
                hint = f"if it is for images only, {suite.only_images}"
                found = replace(found, message=f"{found.message}; {hint}")
            yield found
            if found.verdict is Verdict.refused:
                refused += 1
                break
        else:
            if not stopped:
                keeps.add(case)
    if refused == len(cases):
        said = f"it refuses {', '.join(filter(None, cases))}: nothing could be checked"
        yield Finding("takes some kind of data", Verdict.broken, message=said)


def _last_line(error: BaseException | None, home: Path | None) -> str | None:
    """Return the innermost line of `home` that an error, or what caused it, came by, or that can't be read."""
    while error is not None and home is not None:
        if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_relative_to(home):
            return f"{error.filename}:{error.lineno}"
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if Path(frame.filename).is_relative_to(home):
                return f"{frame.filename}:{frame.lineno}"
        error = error.__cause__
    return None
