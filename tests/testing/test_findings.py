from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from acaikit.errors import UserError
from acaikit.registry import KINDS, find
from acaikit.regularizers import Architecture, Regularizer
from acaikit.testing import NotApplicable, NotConforming, Refused
from acaikit.testing.findings import NOT_TRIED, Finding, Verdict, examine, find_out
from acaikit.testing.suites import SUITES

HERE = Path(__file__)
PART = find("ACAI")


def test_every_kind_has_rules_with_titles_of_their_own() -> None:
    assert set(SUITES) == set(KINDS)
    for suite in SUITES.values():
        titles = [rule.title for rule in suite.rules]
        assert len(set(titles)) == len(titles) > 4


def fails_below() -> None:
    raise ZeroDivisionError("no number")


def not_conforming() -> None:
    try:
        fails_below()
    except ZeroDivisionError as error:
        raise NotConforming("divide by something else") from error


def raises(error: BaseException) -> Callable[[], None]:
    def check() -> None:
        raise error

    return check


@pytest.mark.parametrize(
    ("check", "verdict", "message"),
    [
        (lambda: None, Verdict.kept, ""),
        (raises(NotApplicable("no labels")), Verdict.skipped, "no labels"),
        (raises(Refused("no vectors")), Verdict.refused, "no vectors"),
        (raises(NotConforming("do this")), Verdict.broken, "do this"),
        (raises(UserError("X.y must be 1")), Verdict.broken, "X.y must be 1"),
        (raises(KeyError("z")), Verdict.broken, "KeyError: 'z'"),
        (raises(SystemExit(3)), Verdict.broken, "SystemExit: 3"),
    ],
)
def test_what_becomes_of_a_rule(check: Callable[[], None], verdict: Verdict, message: str) -> None:
    found = find_out("a rule", check, None, "images")
    assert (found.rule, found.verdict, found.data, found.message) == ("a rule", verdict, "images", message)
    assert (found.traceback is not None) == (verdict is Verdict.broken)


def test_an_interruption_is_no_finding() -> None:
    with pytest.raises(KeyboardInterrupt):
        find_out("a rule", raises(KeyboardInterrupt()), None)


@pytest.mark.parametrize("check", [fails_below, not_conforming])
def test_the_last_line_of_the_parts_own_files(check: Callable[[], None]) -> None:
    guilty = next(n for n, line in enumerate(HERE.read_text().splitlines(), 1) if "no number" in line)
    raised = guilty if check is fails_below else check.__code__.co_firstlineno + 4
    assert find_out("a rule", check, HERE).where == f"{HERE}:{raised}"
    assert find_out("a rule", check, HERE.parent).where == f"{HERE}:{raised}"
    assert find_out("a rule", check, Path(traceback.__file__)).where is None
    found = find_out("a rule", check, HERE)
    assert found.traceback is not None and found.traceback.count("Traceback") == (1 if check is fails_below else 2)


def test_the_line_behind_what_a_check_says_is_the_cause() -> None:
    def check() -> Any:
        exec(compile("not_conforming()", "elsewhere.py", "exec"), {"not_conforming": not_conforming})

    inside = find_out("a rule", check, Path("elsewhere.py"))
    assert inside.where == "elsewhere.py:1"


class Picky(Regularizer):
    refuses: tuple[int, ...] = ()

    def build(self, architecture: Architecture) -> None:
        if len(architecture.data_shape) in self.refuses:
            raise UserError("Picky needs other data")

    def posterior(self, h: Tensor, noise: Any) -> Tensor:
        return 2 * h


class TakesImages(Picky):
    refuses = (1, 2)


class TakesNothing(Picky):
    refuses = (1, 2, 3)


class MovesNothing(Picky):
    def model_loss(self, step: Any) -> Tensor:
        return step.z.detach().square().mean()


def told(kind: Any, data: str | None = None) -> Iterator[Finding]:
    return examine(PART, kind, HERE, data)


def test_a_part_may_refuse_some_kinds_of_data() -> None:
    found = list(told(TakesImages))
    assert [f.data for f in found] == ["images"] * len(SUITES["regularizers"].rules) + ["sequences", "vectors"]
    assert [f.verdict for f in found[-2:]] == [Verdict.refused] * 2
    assert found[-1].message == "TakesImages refuses vectors: Picky needs other data"
    assert Verdict.broken not in {f.verdict for f in found}


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        (TakesNothing, None, "it refuses images, sequences, vectors: nothing could be checked"),
        (TakesImages, "vectors", "it refuses vectors: nothing could be checked"),
    ],
)
def test_a_part_may_not_refuse_all_of_them(kind: type[Picky], data: str | None, said: str) -> None:
    *refused, last = told(kind, data)
    assert {f.verdict for f in refused} == {Verdict.refused}
    assert (last.verdict, last.message) == (Verdict.broken, said)


def test_what_comes_after_a_broken_rule_is_not_tried() -> None:
    found = list(told(MovesNothing, "vectors"))
    assert [f.rule for f in found] == [rule.title for rule in SUITES["regularizers"].rules]
    broken = [f.verdict for f in found].index(Verdict.broken)
    assert found[broken].message.startswith("MovesNothing's model_loss moves nothing")
    assert {f.message for f in found[broken + 1 :]} == {NOT_TRIED}
