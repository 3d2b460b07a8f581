from __future__ import annotations

import ast
import keyword
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit.errors import UserError
from acaikit.registry import KINDS
from acaikit.scaffold import Kind, Names, begin

# No part, no recipe and no keyword begins with q.
WORDS = st.builds(
    lambda first, rest: [first, *rest], st.from_regex(r"\Aq[a-z]{1,8}\Z"), st.lists(st.from_regex(r"\A[a-z]{2,8}\Z"))
)


@settings(deadline=None, max_examples=50)
@given(
    words=WORDS,
    prefix=st.sampled_from(["", "acaikit-", "acaikit_", "Acaikit-"]),
    written=st.sampled_from(["-", "_", "capitals"]),
    kind=st.sampled_from(Kind),
)
def test_every_way_to_write_a_name(words: list[str], prefix: str, written: str, kind: Kind) -> None:
    name, capitals = "_".join(words), "".join(word.capitalize() for word in words)
    assert Names.of(prefix + (capitals if written == "capitals" else written.join(words)), kind) == Names(
        distribution="-".join(["acaikit", *words]),
        module=f"acaikit_{name}",
        name=name,
        part=name if kind is Kind.path else capitals,
        recipe=f"quickstart_{name}",
    )


@pytest.mark.parametrize(
    ("said", "name", "part"),
    [
        ("KLAnneal", "kl_anneal", "KLAnneal"),
        ("AEAI", "aeai", "AEAI"),
        ("L2", "l2", "L2"),
        ("beta2Norm", "beta2_norm", "Beta2Norm"),
        ("my-2d", "my_2d", "My2d"),
        ("x", "x", "X"),
        ("acaikitty", "acaikitty", "Acaikitty"),
    ],
)
def test_capitals_and_digits(said: str, name: str, part: str) -> None:
    names = Names.of(said, Kind.regularizer)
    assert (names.name, names.part) == (name, part)
    assert Names.of(said, Kind.path).part == name


@settings(deadline=None)
@given(said=st.text("aQ1-_ é.\n$", max_size=12) | st.text(max_size=5), kind=st.sampled_from(Kind))
def test_what_is_not_refused_can_be_used(said: str, kind: Kind) -> None:
    try:
        names = Names.of(said, kind)
    except UserError:
        return
    for identifier in (names.module, names.part):
        assert identifier.isidentifier() and identifier.isascii() and not keyword.iskeyword(identifier)
    assert re.fullmatch(r"acaikit(-[a-z0-9]+)+", names.distribution)  # canonical in the sense of PEP 503


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("", ""),
        ("acaikit", ""),
        ("acaikit-", ""),
        ("2d", ""),
        ("acaikit-2d", ""),
        ("_a", "a"),
        ("a_", "a"),
        ("a--b", "a-b"),
        ("a b", "a-b"),
        ("naïve", ""),
        ("a.b", "a-b"),
    ],
)
def test_what_cannot_be_a_name(said: str, meant: str) -> None:
    with pytest.raises(UserError) as caught:
        Names.of(said, Kind.regularizer)
    assert str(caught.value) == (
        f"{said!r} can't name a plugin: a name is ASCII letters and digits that begin with a letter, in words joined "
        f"by - or _, such as sparse, my-idea or MyIdea" + (f": did you mean {meant}?" if meant else "")
    )


@pytest.mark.parametrize(
    ("said", "kind", "why"),
    [
        ("none", Kind.encoder, "the part would be called None, which is a word of Python's own"),
        ("lambda", Kind.path, "the part would be called lambda, which is a word of Python's own"),
        ("test-bow", Kind.path, "the part would be called test_bow, which pytest would take for a test"),
        ("ACAI", Kind.regularizer, r"acaikit \S+ has the regularizer ACAI already"),
        ("acai", Kind.evaluator, r"acaikit \S+ has the regularizer ACAI already"),
        ("linear-probe", Kind.dataset, r"acaikit \S+ has the evaluator LinearProbe already"),
        ("experiment", Kind.dataset, r"acaikit \S+ has the experiment Experiment already"),
        ("k-means", Kind.path, r"acaikit \S+ has the evaluator KMeans already"),
        ("slerp", Kind.path, r"acaikit \S+ has the path slerp already"),
        ("baseline", Kind.regularizer, "acaikit has the recipe quickstart_baseline already"),
        ("factor", Kind.evaluator, "the scores of an evaluator of acaikit's own are called factor already"),
    ],
)
def test_names_that_are_taken(said: str, kind: Kind, why: str) -> None:
    with pytest.raises(UserError, match=f"^{said!r} can't name a plugin: {why}$"):
        Names.of(said, kind)


def test_names_that_a_plugin_has_taken(install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    points = {"paths": {"wave": "acai_wave:wave"}, "recipes": {"wave": "acai_wave.recipes"}}
    install("acai-wave", "1.0", points, {"acai_wave/recipes/quickstart_ripple.gin": ""})
    with pytest.raises(UserError, match="acai-wave has the recipe quickstart_ripple already"):
        Names.of("ripple", Kind.encoder)
    monkeypatch.setenv("ACAIKIT_PLUGINS", "")  # it is there all the same
    with pytest.raises(UserError, match=r"acai-wave 1.0 has the path wave already"):
        Names.of("Wave", Kind.regularizer)


@pytest.mark.parametrize(
    ("said", "kind"),
    [("tensor", Kind.regularizer), ("user-error", Kind.encoder), ("torch", Kind.path), ("build", Kind.path)],
)
def test_names_that_the_code_itself_uses(tmp_path: Path, said: str, kind: Kind) -> None:
    names = Names.of(said, kind)
    with pytest.raises(UserError) as caught:
        begin(names, kind, tmp_path)
    assert str(caught.value) == (
        f"{names.part!r} can't name a plugin: the {kind}'s code uses another thing of that name"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", Kind)
def test_what_is_written(tmp_path: Path, kind: Kind) -> None:
    names = Names.of("my-idea", kind)
    files = begin(names, kind, tmp_path / "made" / "here")
    target = tmp_path / "made" / "here" / "acaikit-my-idea"
    assert sorted(file.relative_to(target).as_posix() for file in files) == [
        "README.md",
        "acaikit_my_idea/__init__.py",
        "acaikit_my_idea/recipes/quickstart_my_idea.gin",
        "pyproject.toml",
        "tests/test_my_idea.py",
    ]
    assert sorted(file for file in target.rglob("*") if file.is_file()) == sorted(files)
    assert list(target.parent.iterdir()) == [target]
    assert not any("$" in file.read_text(encoding="utf-8") for file in files)
    assert (target / "README.md").read_text(encoding="utf-8").count(f"`{names.part}`")
    project = tomllib.loads((target / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (project["name"], project["version"], project["dependencies"]) == ("acaikit-my-idea", "0.1.0", ["acaikit"])
    assert f"{kind}s" in KINDS
    assert project["entry-points"] == {
        f"acaikit.{kind}s": {names.part: f"acaikit_my_idea:{names.part}"},
        "acaikit.recipes": {"my_idea": "acaikit_my_idea.recipes"},
    }
    (made,) = (
        node
        for node in ast.parse((target / "acaikit_my_idea" / "__init__.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
    )
    assert made.name == names.part


def begun(folder: Path) -> Path:
    return begin(Names.of("sparse", Kind.regularizer), Kind.regularizer, folder)[0].parent


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    target = begun(tmp_path)
    (target / "README.md").write_text("mine")
    with pytest.raises(UserError) as caught:
        begun(tmp_path)
    assert str(caught.value) == (
        f"{target} is there already, and nothing is overwritten: choose another name or another -o"
    )
    assert (target / "README.md").read_text() == "mine"


@pytest.mark.parametrize("what", ["file", "link to a folder", "broken link"])
def test_what_is_no_folder_is_left_alone(tmp_path: Path, what: str) -> None:
    target, other = tmp_path / "here" / "acaikit-sparse", tmp_path / "other"
    target.parent.mkdir()
    if what == "file":
        target.write_text("mine")
    else:
        target.symlink_to(other)
    if what == "link to a folder":
        other.mkdir()
    with pytest.raises(UserError, match=re.escape(str(target))):
        begun(tmp_path / "here")
    assert list(target.parent.iterdir()) == [target]
    assert target.is_symlink() or target.read_text() == "mine"
    assert not other.exists() or list(other.iterdir()) == []


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "acaikit-sparse").mkdir()
    assert (begun(tmp_path) / "pyproject.toml").is_file()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_is_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    write, written = Path.write_text, []

    def until_full(path: Path, *args: object, **kwargs: object) -> int:
        if len(written) == 3:
            raise error
        written.append(path)
        return write(path, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "write_text", until_full)
    with pytest.raises((UserError, KeyboardInterrupt)) as caught:
        begun(tmp_path)
    if isinstance(error, OSError):
        assert str(caught.value) == f"{tmp_path / 'acaikit-sparse'} can't be written: No space left on device"
    assert len(written) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/below/acaikit-sparse can't be written: Not a directory$"):
        begun(tmp_path / "file" / "below")


def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("whoever runs this may write everywhere")
    with pytest.raises(UserError, match=r"acaikit-sparse can't be written: Permission denied$"):
        begun(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("said", ["q", "a-name-of-thirty-letters-or-so"])
def test_it_is_formatted_whatever_its_name(tmp_path: Path, said: str) -> None:
    pytest.importorskip("ruff")
    for kind in Kind:
        target = begin(Names.of(said, kind), kind, tmp_path / kind)[0].parent
        for words in (["check"], ["format", "--check", "--diff"]):
            command = [sys.executable, "-m", "ruff", *words, "--no-cache", "."]
            ran = subprocess.run(command, cwd=target, capture_output=True, text=True, check=False)
            assert ran.returncode == 0, ran.stdout
