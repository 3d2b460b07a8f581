from __future__ import annotations

import io
import re
import tokenize
import warnings

import pytest
from gin import config_parser
from hypothesis import example, given, settings
from hypothesis import strategies as st

from acaikit.config.syntax import Binding, Broken, Include, Macro, Reference, Statement, parse


def faults(text: str) -> list[str]:
    return [f"{s.where}: {s.why}" for s in parse(text, "r.gin") if isinstance(s, Broken) and s.why is not None]


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


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(end: str) -> None:
    found = parse(end.join(["x = 1", "", "y = 2", ""]), "r.gin")
    assert [(b.value, b.where.line) for b in found if isinstance(b, Binding)] == [(1, 1), (2, 3)]


@pytest.mark.parametrize("line", ["import os", "from os import path", "import acaikit.plugins as p"])
def test_imports_are_refused(line: str) -> None:
    (fault,) = faults(f"x = 1\n{line}\n")
    assert fault.startswith(f"r.gin:2: `{line}` is refused")


VALUES = "a value is a number, a 'text', True, False, None, a [list], a (tuple,), a {'dict': 1}, @Part() or %macro"
BINDS = "a line binds a value: Part.parameter = value"
NESTED = "x = " + "[" * 5000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # brackets
        ("x = [1,\n\n\n", "1: the bracket [ in `x = [1,` is never closed"),
        ("y = 1\nx = {'a': (1,\n", "2: the bracket { in `x = {'a': (1,` is never closed"),
        ("x = [\n  (1, [2],\n", "1: the bracket [ in `x = [` is never closed"),
        (
            "x = [@A()\nA.b = 5\n",
            "1: the bracket [ in `x = [@A()` is not closed when `A.b = 5` begins in line 2",
        ),
        (
            "x = (1,\ninclude 'a.gin'\n",
            "1: the bracket ( in `x = (1,` is not closed when `include 'a.gin'` begins in line 2",
        ),
        (
            "x = (1,  # why\n\nPart:  # b\n  y = 1",
            "1: the bracket ( in `x = (1,  # why` is not closed when `Part:  # b` begins in line 3",
        ),
        ("x = [1, 2]]", "1: the bracket ] in `x = [1, 2]]` closes none"),
        ("x = [\n  (1, 2],\n]", "2: the bracket ( in `(1, 2],` is closed by ]"),
        (f"{NESTED}{']' * 5000}", f"1: more than 100 brackets are open in `{NESTED[:160]} ...`"),
        (NESTED, f"1: more than 100 brackets are open in `{NESTED[:160]} ...`"),
        # texts
        ("y = 1\nx = 'abc\n", "2: the text in `x = 'abc` is never closed: it ends with a second '"),
        ('x = ["abc, 1]', '1: the text in `x = ["abc, 1]` is never closed: it ends with a second "'),
        ("y = 1\nx = '''abc\n\n", "2: the text in `x = '''abc` is never closed: it ends with '''"),
        ("x = f'{1}'", "1: `x = f'{1}'` is refused: write the text itself, without the f"),
        ("x = rF'{1}'", "1: `x = rF'{1}'` is refused: write the text itself, without the rF"),
        ("x = 1\n\0\n", r"2: `\x00` holds a NUL character: this is no text"),
        ("\\\nx = 1", r"1: `\` stands in a line of its own: it joins what is before it with the next line"),
        # values
        ("path = slerp", "1: `path = slerp` can't be read: a text needs quotes ('slerp')"),
        (
            "path = slerp  # the round one",
            "1: `path = slerp` can't be read: a text needs quotes ('slerp')",
        ),
        ("path = big", "1: `path = big` can't be read: a text needs quotes ('big'), a part an @ (@big())"),
        ("critic = ACAI", "1: `critic = ACAI` can't be read: a part needs an @ (@ACAI())"),
        ("path = /data/lines", "1: `path = /data/lines` can't be read: a text needs quotes ('/data/lines')"),
        (
            "path = “slerp”",
            "1: `path = “slerp”` can't be read: a text needs quotes ('slerp')",
        ),
        (
            "x = [\n  1,\n  slerp,\n]\n",
            "3: `slerp,` can't be read: a text needs quotes ('slerp')",
        ),
        ("probe = true", "1: `probe = true` can't be read: write True"),
        ("critic = null", "1: `critic = null` can't be read: write None"),
        ("flags = [TRUE]", "1: `flags = [TRUE]` can't be read: write True"),
        ("x = 2**14", "1: `x = 2**14` can't be read: nothing is calculated: write the result"),
        ("x = 1; y = 2", "1: `x = 1; y = 2` can't be read: each binding has a line of its own"),
        (
            "x = @Part(3)",
            "1: `x = @Part(3)` can't be read: nothing stands between the brackets of @Part(): bind its parameters, "
            "Part.parameter = value",
        ),
        ("x =", "1: `x =` can't be read: there is no value behind ="),
        ("x = -True", f"1: `x = -True` can't be read: {VALUES}"),
        ("x = {1, 2}", f"1: `x = {{1, 2}}` can't be read: {VALUES}"),
        ("x = 012", f"1: `x = 012` can't be read: {VALUES}"),
        ("x = {[1]: 2}", "1: `x = {[1]: 2}` can't be read: a list or a dict can't be a dict's key"),
        # statements
        ("include model/acai.gin", "1: `include model/acai.gin` can't be read: write include 'file.gin'"),
        ("include", "1: `include` can't be read: write include 'file.gin'"),
        ("include 5", "1: `include 5` can't be read: write include 'file.gin'"),
        ("x == 5", f"1: `x == 5` can't be read: {VALUES}"),
        ("hello world", f"1: `hello world` can't be read: {BINDS}"),
        ("<html>", f"1: `<html>` can't be read: {BINDS}"),
        (
            "😀 = 5",
            f"1: `😀 = 5` can't be read: {BINDS}, and the name left of = has only letters, digits, _ . and /",
        ),
        ("a/b = 3", "1: a/b names a part but no parameter: write a/b.parameter = ..."),
        # blocks
        ("Part:\n  x 5\n", f"2: `x 5` can't be read: {BINDS}"),
        ("Part:\nx = 5\n", "1: `Part:` has no lines below it: each is indented, and says parameter = value"),
        ("a//b:\n  x = 1\n  y = 2\n", f"1: `a//b:` can't be read: {BINDS}"),
        ("Part:\n  x = 1\n    y = 2\n", "3: `y = 2` is indented in another way than the lines above it"),
        ("x = 1\n  y = 2\n z = 3\n", "3: `z = 3` is indented in another way than the lines above it"),
    ],
)
def test_a_fault_names_its_line_and_what_to_write(text: str, said: str) -> None:
    """Word for word in every version of Python, whose own messages differ."""
    assert faults(text) == [f"r.gin:{said}"]


@pytest.mark.parametrize("broken", ["x = [1,", "x = (1", "x = 'abc", "x = '''abc", "x 5", "x = slerp", "import os"])
def test_what_follows_a_statement_that_cannot_be_read_is_read(broken: str) -> None:
    after = "# a comment\n\nA.b = [\n  1]\nPart:\n  c = 2\n  d = oops\n  e = 3\ninclude 'a.gin'\nlast = 4"
    first, *found = parse(f"{broken}\n{after}", "r.gin")
    assert isinstance(first, Broken) and first.where.line == 1
    assert [s.label for s in found if isinstance(s, Binding)] == ["A.b", "Part.c", "Part.e", "last"]
    assert [str(s.where) for s in found if isinstance(s, Broken)] == ["r.gin:8"]
    assert [s.file for s in found if isinstance(s, Include)] == ["a.gin"]


def test_what_a_broken_statement_is_about_is_kept() -> None:
    (one, two, three) = parse("a/ACAI.weight = @Half(1)\nKL weight = @b/Part()\nPart:\n  x = oops\n", "r.gin")
    assert isinstance(one, Broken) and isinstance(two, Broken) and isinstance(three, Broken)
    assert one.binding is not None and one.binding.label == "a/ACAI.weight"
    assert one.mentioned == {"Half"}
    assert two.binding is None and two.bound == {"KL", "weight"} and two.mentioned == {"b", "Part"}
    assert three.binding is not None and three.binding.label == "Part.x"


def test_control_characters_are_written_out() -> None:
    (fault,) = faults("x = red \x1b[31m")
    assert "\x1b" not in fault and r"\x1b[31m" in fault


PIECES = r"""Part a/ . = x 1 -2.5 'text' ' ''' @ @Part @a/Part() %m % [ ] ( ) { } : , include import from # \ $ ?
é 😀 True null 0x 1e999 b'' f'' 012"""
pieces = st.sampled_from([*PIECES.split(), "\0", "\f", "\t"])
texts = st.lists(
    pieces | st.sampled_from([" ", "\n", "\n  ", "x = 1\n", "Part:\n", "\n y = [2, "]) | st.text(max_size=3),
    max_size=20,
).map("".join)


@given(texts)
@settings(deadline=None, max_examples=300)
def test_any_text_is_read_or_refused_with_a_line_of_it(text: str) -> None:
    found = parse(text, "r.gin")
    for statement in found:
        assert 1 <= statement.where.line <= len(re.split(r"[\n\r]", text)) + 1


class Delegate(config_parser.ParserDelegate):
    def configurable_reference(self, scoped_name: str, evaluate: bool) -> Reference:
        scope, _, name = scoped_name.rpartition("/")
        return Reference(name, scope, evaluate)

    def macro(self, name: str) -> Macro:
        return Macro(name)


def gins(text: str) -> list[tuple[object, ...]] | None:
    """What gin makes of a whole text; None where it refuses it, or has its own ideas."""
    if re.search(r"^[ \t\f]*\\\n", text, re.MULTILINE):  # versions of Python differ
        return None
    found: list[tuple[object, ...]] = []
    try:
        for s in config_parser.ConfigParser(io.StringIO(text), Delegate()):
            if isinstance(s, config_parser.IncludeStatement):
                found.append((s.location.line_num, s.filename))
            elif isinstance(s, config_parser.BindingStatement):
                found.append((s.location.line_num, s.scope, s.selector, s.arg_name, repr(s.value)))
            elif isinstance(s, config_parser.ImportStatement):
                return None
    except (SyntaxError, tokenize.TokenError, TypeError, ValueError):
        return None
    return None if any(len(s) > 2 and s[1] and not s[3] for s in found) else found


def plain(statement: Statement) -> tuple[object, ...]:
    assert not isinstance(statement, Broken), statement
    if isinstance(statement, Include):
        return statement.where.line, statement.file
    b = statement
    selector, argument = (b.name, b.parameter) if b.name else (b.parameter, "")
    return b.where.line, b.scope, selector, argument, repr(b.value)


words = st.sampled_from(["x", "Part.y", "a/b/Part.z", "Part"])
values = st.sampled_from(
    [
        "1",
        "'a # b'",
        "'''c\n x = 1\n'''",
        "[1, # ]\n 2]",
        "{\n'k': (1,\n)}",
        "@a/P()",
        "%m",
        "-2",
        "oops",
        "(1 \\\n)",
        "[",
    ]
)
gap = st.sampled_from(["", " ", "  ", "\t", "\n", "# it's [ a comment\n"])
lines = st.one_of(
    st.builds("{}{} = {}\n".format, gap, words, values),
    st.builds("{}{}:{}\n".format, gap, words, gap),
    st.just("include 'f.gin'\n"),
    gap,
)


@given(st.lists(lines, max_size=8).map("".join) | texts)
@example("Part:\n\tx = 1\n        y = 2\n")
@settings(deadline=None, max_examples=400)
def test_statements_read_one_by_one_are_what_gin_reads_in_the_whole(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = gins(text)
    if whole is not None:
        assert [plain(s) for s in parse(text, "r.gin")] == whole
