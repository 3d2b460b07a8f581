from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit.config.syntax import Binding, Include, Macro, Reference, parse
from acaikit.errors import ConfigError


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "r.gin")
    return caught.value.faults


def test_statements_keep_their_names_scopes_and_lines() -> None:
    text = """# a comment
include 'data/lines.gin'

Part.x = 1
a/b/kind.Part.x = 2
macro = 3
a/Block:
  x = 4
  # between
  y = [
    5,
  ]
"""
    include, *bindings = parse(text, "r.gin")
    assert isinstance(include, Include)
    assert (include.file, str(include.where)) == ("data/lines.gin", "r.gin:2")
    assert all(isinstance(binding, Binding) for binding in bindings)
    assert [(*b.key, b.value, str(b.where)) for b in bindings] == [
        ("", "Part", "x", 1, "r.gin:4"),
        ("a/b", "kind.Part", "x", 2, "r.gin:5"),
        ("", "", "macro", 3, "r.gin:6"),
        ("a", "Block", "x", 4, "r.gin:8"),
        ("a", "Block", "y", [5], "r.gin:10"),
    ]
    assert [b.label for b in bindings] == ["Part.x", "a/b/Part.x", "macro", "a/Block.x", "a/Block.y"]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-4", 1e-4),
        ("-3", -3),
        ("'it''s'", "its"),
        ("None", None),
        ("()", ()),
        ("(1)", 1),
        ("(1,)", (1,)),
        ("{'a': [1, (2, True)], 3: {}}", {"a": [1, (2, True)], 3: {}}),
        ("@Part", Reference("Part", "", call=False)),
        ("@Part()", Reference("Part", "", call=True)),
        ("@a/b/kind.Part()", Reference("kind.Part", "a/b", call=True)),
        ("%macro", Macro("macro")),
        ("%gin.REQUIRED", Macro("gin.REQUIRED")),
        ("[@a/Part(), %m]", [Reference("Part", "a", call=True), Macro("m")]),
    ],
)
def test_values(written: str, value: object) -> None:
    (binding,) = parse(f"x = {written}", "r.gin")
    assert isinstance(binding, Binding)
    assert binding.value == value
    assert type(binding.value) is type(value)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment", "\t\n  \n"])
def test_nothing_is_a_recipe_too(text: str) -> None:
    assert parse(text, "r.gin") == []


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends(end: str) -> None:
    assert [(b.value, b.where.line) for b in parse(end.join(["x = 1", "", "y = 2", ""]), "r.gin")] == [(1, 1), (2, 3)]


@pytest.mark.parametrize("line", ["import os", "from os import path", "import acaikit.plugins as p"])
def test_imports_are_refused(line: str) -> None:
    (fault,) = faults(f"x = 1\n{line}\n")
    assert fault.startswith(f"r.gin:2: `{line}` is refused")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("x = [1,\n\n\n", 1, r"the bracket \[ in `x = \[1,` is never closed"),
        ("y = 1\nx = {'a': (1,\n", 2, r"the bracket \{ in .* is never closed"),
        ("x = [@ACAI()\nACAI.weight = 5\n", 1, r"\[ in `x = \[@ACAI\(\)` is not closed when `ACAI.w.* line 2"),
        ("x = (1,\ninclude 'a.gin'\n", 1, r"the bracket \( .* is not closed when `include"),
        ("x = [\n  1,\n  slerp,\n]\n", 3, "a text needs quotes"),
        ("y = 1\nx = '''abc\n\n", 2, "x = '''abc"),
        ("y = 1\nx = 'abc\n", 2, "x = 'abc"),
        ("path = slerp", 1, r"a text needs quotes \('slerp'\), a part an @ \(@slerp\(\)\)"),
        ("path = slerp  # the round one", 1, r"\('slerp'\)"),
        ("path = /data/lines", 1, r"\('/data/lines'\)"),
        ("path = “slerp”", 1, r"\('slerp'\)"),
        ("paths = [slerp, lerp]", 1, r"\('slerp'\)"),
        ("probe = true", 1, "write True"),
        ("critic = null", 1, "write None"),
        ("flags = [TRUE]", 1, "write True"),
        ("include model/acai.gin", 1, "write include 'file'"),
        ("include", 1, "include"),
        ("include 5", 1, "include"),
        ("x = 2**14", 1, r"x = 2\*\*14"),
        ("x == 5", 1, "x == 5"),
        ("x = 1; y = 2", 1, "newline"),
        ("x = -True", 1, "-True is no value"),
        ("x =", 1, "x ="),
        ("x = $", 1, r"x = \$"),
        ("hello world", 1, "hello world"),
        ("x = [1, 2]]", 1, r"x = \[1, 2\]\]"),
        ("x = {1, 2}", 1, "':'"),
        ("x = {[1]: 2}", 1, "unhashable type: 'list'"),
        ("y = 1\nx = " + "[" * 5000 + "]" * 5000, 2, "nested too deeply|too many nested|never closed"),
        ("Part:\n  x 5\n", 2, "x 5"),
        ("x = 1\n  y = 2\n z = 3\n", 3, "unindent"),
        ("x = @Part(3)", 1, "x = @Part"),
        ("a/b = 3", 1, "a/b names a part but no parameter: write a/b.parameter = ..."),
        ("<html>", 1, "<html>"),
        ("x = 1\n\0\n", 2, ""),
    ],
)
def test_a_fault_names_its_line_and_what_to_write(text: str, line: int, said: str) -> None:
    (fault,) = faults(text)
    assert fault.startswith(f"r.gin:{line}: ")
    assert re.search(said, fault)
    assert "object at 0x" not in fault
    assert len(fault) < 600


PIECES = r"""Part a/ . = x 1 -2.5 'text' ' ''' @ @Part @a/Part() %m % [ ] ( ) { } : , include import from # \ $ ?
é 😀 True null 0x 1e999 b'' f''"""
pieces = st.sampled_from([*PIECES.split(), "\0", "\f", "\t"])


@given(st.lists(pieces | st.just(" ") | st.just("\n") | st.just("\n  ") | st.text(max_size=3), max_size=20))
@settings(deadline=None, max_examples=300)
def test_any_text_is_read_or_refused_with_a_line_of_it(parts: list[str]) -> None:
    text = "".join(parts)
    try:
        statements = parse(text, "r.gin")
    except ConfigError as error:
        (fault,) = error.faults
        found = re.match(r"r\.gin:(\d+): .", fault, re.DOTALL)
        assert found
        assert 1 <= int(found[1]) <= len(re.split(r"[\n\r]", text)) + 1
    else:
        lines = [statement.where.line for statement in statements]
        assert lines == sorted(lines)
