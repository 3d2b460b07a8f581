from __future__ import annotations

import re
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import Any

import gin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit import registry
from acaikit.config import build, read_resolved
from acaikit.errors import ConfigError, UserError

Record = tuple[str, tuple[tuple[str, object], ...]]
NAMES = ("Root", "Beta", "Gamma", "Delta")


def recorder(name: str) -> Callable[..., Record]:
    """Make a part that returns its name and arguments, calling those that are callable: alone, and with arguments."""

    def part(x: object = 0, y: object = 0, z: object = 0) -> Record:
        said = {"x": x, "y": y, "z": z}
        return name, tuple((key, (v(), v(7, z=8)) if callable(v) else _called(v)) for key, v in said.items())

    return part


def _called(value: object) -> object:
    match value:
        case list() | tuple():
            return type(value)([v() if callable(v) else _called(v) for v in value])
        case dict():
            return {k: v() if callable(v) else _called(v) for k, v in value.items()}
        case _:
            return value


Root, Beta, Gamma, Delta = (recorder(name) for name in NAMES)
in_gin = {name: gin.external_configurable(globals()[name], name, module="other.parts") for name in NAMES}


class Strict:
    def __init__(self, needed: int, *, named: int, weight: float = 1.0) -> None:
        if weight < 0:
            raise UserError(f"Strict.weight must be at least 0, not {weight}")
        self.total = needed + named


def anything(**given: object) -> dict[str, object]:
    return given


def keep(later: object = None) -> object:
    return later


class Maker:
    """An object that stands in place of a class: it has no name of its own."""

    def __call__(self, x: int = 0) -> int:
        if x < 0:
            raise UserError(f"Maker.x must be at least 0, not {x}")
        return x


made_already = Maker()
MORE = ("Strict", "anything", "keep", "made_already")


@pytest.fixture(autouse=True)
def _fake_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = [
        registry.Part("parts", name, "other", "1.0", EntryPoint(name, f"{__name__}:{name}", "acaikit.parts"))
        for name in (*NAMES, *MORE)
    ]
    monkeypatch.setattr(registry, "installed", lambda: tuple(fake))


def ours(text: str, root: str = "Root") -> Any:
    return build(read_resolved(text, "r.gin"), root)


def faults(text: str, root: str = "Root") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        ours(text, root)
    return caught.value.faults


def gins(text: str) -> Record:
    gin.clear_config()
    try:
        gin.parse_config(text)
        made: Record = in_gin["Root"]()
        return made
    finally:
        gin.clear_config()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Root.x = {'a': [1, (2, None)], 3: 'text'}",
        "Root.x = @Beta()\nRoot.y = @Beta()\nBeta.x = 1",
        "Root.x = [@a/Beta(), (@b/Beta(),), {'k': @Beta()}]\nBeta.x = 1\nBeta.y = 1\na/Beta.x = 2\nb/Beta.y = 3",
        # a reference without a scope inherits the one in force, one with a scope replaces it
        "Root.x = @a/Beta()\nBeta.x = @Gamma()\nBeta.y = @b/Gamma()\nGamma.x = 1\na/Gamma.x = 2\nb/Gamma.y = 3",
        # each prefix of the scope in force counts, the deepest on top; a suffix doesn't
        "Root.x = @a/b/Beta()\nRoot.y = @a/Beta()\nRoot.z = @Beta()\nBeta.x = 1\nBeta.y = 1\nBeta.z = 1\n"
        "a/Beta.y = 2\na/Beta.z = 2\na/b/Beta.z = 3",
        "Root.x = @a/b/Beta()\nRoot.y = @b/Beta()\nb/Beta.x = 1\na/Beta.y = 2",
        "a/Beta.z = @c/d/Gamma()\nRoot.x = @a/b/Beta()\nc/Gamma.x = 1\nd/Gamma.y = @Delta()\nRoot.y = @d/Gamma()",
        # macros are evaluated anew each time they are read, in a scope of their own name
        "m = @Beta()\nBeta.x = 1\nRoot.x = %m\nRoot.y = [%m, {'k': %m}]",
        "m = @Beta()\nm/Beta.x = 1\nBeta.y = 2\nRoot.x = @a/Gamma()\nGamma.x = %m\nRoot.y = @Beta()",
        "m = [%n, @Beta()]\nn = @Gamma()\nRoot.x = %m\nRoot.y = @a/Beta()\nn/Gamma.x = 1\na/Beta.x = 2",
        # parts that are handed over unmade
        "Root.x = @Beta\nBeta.x = 1\nBeta.y = @Gamma()\nBeta.z = @Gamma()\nGamma.x = %m\nm = 5",
        "Root.x = @a/Beta\nRoot.y = @c/Gamma()\na/Beta.x = 1\na/Beta.y = 2\nBeta.z = 3\nGamma.x = @Beta\nc/Beta.y = 6",
        "Root.x = [@Beta, {'k': @a/Beta}]\nBeta.x = 1\na/Beta.y = @Delta\nDelta.x = 4",
        "one = %two\ntwo = [@Delta]\nRoot.y = @b/Beta()\nBeta.x = %one\nb/Delta.x = 't'",
        "Beta:\n  x = 1\n  y = @a/Gamma()\na/Gamma:\n  x = 2\nRoot.x = @parts.Beta()",
    ],
)
def test_the_same_calls_as_gin_makes(text: str) -> None:
    assert ours(text) == gins(text)


scopes = st.sampled_from(["", "a", "b", "a/b"])
MACROS = ("one", "two")
ORDER = ("Root", "Beta", "one", "Gamma", "two", "Delta")


def _in_scope(scope: str, *rest: str) -> str:
    return "".join([scope, "/" if scope else "", *rest])


def written(after: int, calls: str) -> st.SearchStrategy[str]:
    """What may stand on a right-hand side: only what comes later in ORDER, so that nothing needs itself."""
    later = ORDER[after + 1 :]
    parts, macros = [n for n in later if n in NAMES], [n for n in later if n in MACROS]
    options: list[st.SearchStrategy[str]] = [st.integers(0, 9).map(str), st.sampled_from(["'t'", "None", "True"])]
    if parts:
        called = st.sampled_from(calls.split("|"))
        options.append(st.tuples(scopes, st.sampled_from(parts), called).map(lambda r: f"@{_in_scope(*r)}"))
    if macros:
        options.append(st.sampled_from(macros).map("%{}".format))
    leaf = st.one_of(options[::-1])
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, max_size=2).map(lambda v: f"[{', '.join(v)}]"),
            st.lists(inner, max_size=2).map(lambda v: f"({''.join(i + ', ' for i in v)})"),
            inner.map("{{'k': {}}}".format),
        ),
        max_leaves=3,
    )


@st.composite
def recipes(draw: st.DrawFn, calls: str) -> dict[str, str]:
    """Bindings by what they bind; `calls` is what may follow a reference."""
    bindings = {macro: draw(written(ORDER.index(macro), calls)) for macro in MACROS}
    for name in NAMES:
        chosen = draw(
            st.lists(st.tuples(st.just("") if name == "Root" else scopes, st.sampled_from("xyz")), max_size=5)
        )
        for scope, parameter in [("", "x"), ("", "y"), *chosen] if name == "Root" else chosen:
            bindings[f"{_in_scope(scope, name)}.{parameter}"] = draw(written(ORDER.index(name), calls))
    return dict(draw(st.permutations(list(bindings.items()))))


def text_of(bindings: dict[str, str]) -> str:
    return "\n".join(f"{key} = {value}" for key, value in bindings.items())


def without_unread(bindings: dict[str, str]) -> dict[str, str]:
    """Leave out what acaikit says that nothing reads, until it is content."""
    while True:
        try:
            ours(text_of(bindings))
        except ConfigError as error:
            lines = {int(fault.split(":")[1]) for fault in error.faults if "nothing reads" in fault}
            if not lines:
                raise
            bindings = {key: value for i, (key, value) in enumerate(bindings.items(), 1) if i not in lines}
        else:
            return bindings


@given(recipes("()|()|"))
@settings(deadline=None, max_examples=120)
def test_the_same_calls_as_gin_makes_of_any_recipe(bindings: dict[str, str]) -> None:
    """gin evaluates the whole recipe: if something that "nothing reads" mattered, it would show."""
    assert ours(text_of(without_unread(bindings))) == gins(text_of(bindings))


@given(recipes("()"), st.data())
@settings(deadline=None, max_examples=60)
def test_every_binding_that_is_accepted_matters(bindings: dict[str, str], data: st.DataObject) -> None:
    """With another value there, gin makes other calls."""
    bindings = without_unread(bindings)
    changed = data.draw(st.sampled_from(sorted(bindings)))
    assert gins(text_of({**bindings, changed: "'other'"})) != gins(text_of(bindings))


def test_a_part_handed_over_unmade_takes_what_its_caller_gives() -> None:
    make = ours("keep.later = @a/Beta\na/Beta.x = 1\na/Beta.y = 2", "keep")
    assert make() == ("Beta", (("x", 1), ("y", 2), ("z", 0)))
    assert make(3, z=4) == ("Beta", (("x", 3), ("y", 2), ("z", 4)))


def test_what_a_part_handed_over_unmade_will_read_is_read_and_checked() -> None:
    text = "keep.later = @a/Beta\nBeta.x = %m\nm = {'k': [@b/Gamma()]}\nb/Gamma.x = @Delta\nb/Delta.y = 1"
    make = ours(text, "keep")
    delta = ("Delta", (("x", 0), ("y", 1), ("z", 0)))
    assert make()[1][0] == (
        "x",
        {"k": [("Gamma", (("x", (delta, ("Delta", (("x", 7), ("y", 1), ("z", 8))))), ("y", 0), ("z", 0)))]},
    )
    assert faults(text.replace("b/Delta.y", "b/Delta.q"), "keep") == [
        "r.gin:5: Delta has no parameter 'q'; known: x, y, z"
    ]
    assert faults(text.replace("m =", "n ="), "keep") == [
        "r.gin:2: no macro is called 'm': define it in a line of its own, m = ...; defined are n"
    ]
    (fault,) = faults(f"{text}\na/Delta.z = 2", "keep")
    assert (
        fault
        == "r.gin:6: nothing reads a/Delta.z: Delta is not built in the scope 'a': write @a/Delta() where it is meant"
    )


def test_the_scope_of_a_part_handed_over_unmade_is_its_receivers() -> None:
    make = ours("keep.later = @a/Beta\nBeta.x = %m\nm = [@Gamma]\na/Gamma.x = 1", "keep")
    assert make()[1][0] == ("x", [("Gamma", (("x", 1), ("y", 0), ("z", 0)))])


def test_a_part_that_fails_when_it_is_made_later_says_where() -> None:
    make = ours("keep.later = @Strict\n\nStrict.weight = -1\nStrict.named = 1", "keep")
    assert make(needed=1, weight=2).total == 2
    with pytest.raises(ConfigError, match=r"r.gin:1: nothing sets Strict.needed"):
        make()
    with pytest.raises(ConfigError, match=r"r.gin:3: Strict.weight must be at least 0"):
        make(1)


def test_every_use_of_a_reference_makes_an_object_of_its_own() -> None:
    text = "anything.x = %m\nanything.y = %m\nm = @b/keep()\nkeep.later = []"
    made = ours(text, "anything")
    assert made == {"x": [], "y": []}
    assert made["x"] is not made["y"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Root.x = 1\nRoot.q = 1", ["r.gin:2: Root has no parameter 'q'; known: x, y, z"]),
        (
            "Root.x = @Strict()\nStrict.neded = 1\nStrict.named = 1",
            ["r.gin:2: Strict has no parameter 'neded': did you mean needed"],
        ),
        ("\nRoot.x = @Strict()\nStrict.needed = 1", ["r.gin:2: nothing sets Strict.named, which has no default"]),
        ("Root.x = @Strict()", ["r.gin:1: nothing sets Strict.needed, Strict.named, which have no default"]),
        ("Root.x = %speling\nspelling = 1", ["r.gin:1: no macro is called 'speling': did you mean spelling?"]),
        ("m = [%speling]\nRoot.x = %m\nRoot.y = %m\nspelling = 1", ["r.gin:1: no macro is called 'speling'"]),
        ("Root.x = %m\nm = %n\nn = [%m]", ["the macro 'm' is defined by itself"]),
        ("Root.x = @Beta()\nBeta.x = {'k': @Root()}", ["a circle of references: Root needs Beta needs Root"]),
        (
            "Root.x = %gin.REQUIRED",
            ['r.gin:1: Root.x is yours to give: in a recipe, or with --set "Root.x = ..."'],
        ),
        ("Root.x = [%REQUIRED]", ["r.gin:1: a value is required here: set it in your recipe or with --set"]),
        ("k = [1]\nRoot.x = {%k: 1}", ["r.gin:2: a dict's key can't be used: unhashable type: 'list'"]),
        ("Root.x = 1\nBeta.x = 1", ["r.gin:2: nothing reads Beta.x: Beta is not part of this experiment"]),
        ("m = 1\nRoot.x = 1", ["r.gin:1: nothing reads the macro 'm': write %m where it is meant"]),
        ("dpeth = 1\nRoot.x = %depth\ndepth = 2", ["r.gin:1: nothing reads the macro 'dpeth': did you mean depth?"]),
        (
            "Beta = 1",
            ["r.gin:1: nothing reads the macro 'Beta': Beta is a part, and no parameter of it is named: write Beta."],
        ),
        (
            "Root.x = @small/Beta()\nsmal/Beta.x = 1",
            ["reads smal/Beta.x: no reference has the scope 'smal': did you mean small"],
        ),
        ("Root.x = @a/Beta()\nRoot.y = @Gamma()\na/Gamma.x = 1", ["Gamma.x: Gamma is not built in the scope 'a'"]),
        (
            "Root.x = @a/Beta()\nBeta.x = 1\na/Beta.x = 2",
            [r"r.gin:2: nothing reads Beta.x: wherever Beta is built, a/Beta.x \(r.gin:3\) stands above it: leave"],
        ),
        ("Root.x = @Beta\nBeta.q = 1", ["r.gin:2: Beta has no parameter 'q'"]),
        (
            "Root.x = @Strict()\nStrict.needed = 1\nStrict.named = 1\nStrict.weight = -1",
            ["r.gin:4: Strict.weight must be at least 0, not -1"],
        ),
        (
            "Root.x = @Strict()\nStrict.needed = 'a'\nStrict.named = 1",
            [r"r.gin:1: Strict refuses its values \(needed = r.gin:2, named = r.gin:3\): "],
        ),
        # every fault of a recipe in one report
        (
            "Root.x = [%m]\nRoot.y = @Strict()\nRoot.q = 1",
            ["r.gin:1: no macro", "r.gin:2: nothing sets", "r.gin:3: Root"],
        ),
    ],
)
def test_faults(text: str, said: list[str]) -> None:
    found = faults(text)
    assert len(found) == len(said)
    for fault, expected in zip(sorted(found), sorted(said), strict=True):
        assert re.search(expected, fault)
        assert re.match(r"r\.gin:\d+: ", fault)


def test_a_long_chain_of_macros_is_a_fault() -> None:
    chain = "\n".join(f"m{i} = %m{i + 1}" for i in range(2000))
    assert "macros or references" in faults(f"Root.x = %m0\n{chain}\nm2000 = 1")[0]


def test_a_part_handed_over_unmade_can_be_made_any_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["acaikit.config.build"], "MOST_VALUES", 10)
    make = ours("keep.later = @Beta\nBeta.x = [1, 2, 3]", "keep")
    assert [make() for _ in range(10)] == [("Beta", (("x", [1, 2, 3]), ("y", 0), ("z", 0)))] * 10


def test_a_part_that_refuses_a_value_refuses_it_each_time() -> None:
    make = ours("keep.later = @Strict\nStrict.weight = -1\nStrict.named = 1\nStrict.needed = 1", "keep")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"r.gin:2: Strict.weight must be at least 0"):
            make()


def test_a_part_that_takes_any_parameter() -> None:
    assert ours("anything.a = 1\nanything.b = @keep()\nkeep.later = 2", "anything") == {"a": 1, "b": 2}


def test_an_object_in_place_of_a_class() -> None:
    assert ours("made_already.x = 3", "made_already") == 3
    with pytest.raises(ConfigError, match=r"^r\.gin:1: Maker\.x must be at least 0, not -1$"):
        ours("made_already.x = -1", "made_already")
