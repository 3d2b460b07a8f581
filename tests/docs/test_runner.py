from __future__ import annotations

import time
from pathlib import Path

import beforehand
import blocks
import commands
import pytest
import runner
from runner import BlockError


def fault(run_document, text: str, limit: float = 60) -> str:
    with pytest.raises(BlockError) as raised:
        run_document("doc.md", text, limit)
    return str(raised.value)


def test_blocks_share_variables_folder_and_files(run_document, tmp_path: Path) -> None:
    run_document(
        "doc.md",
        """
```sh
set +u; here=sub  # a comment
mkdir "$here" && cd "$here"
cat > told.txt <<END
two
lines
END
```

1. A list has blocks too.

   ```python
   from pathlib import Path
   count = len(Path("told.txt").read_text().splitlines())
   ```

   <!-- file: more/there.txt -->
   ```toml
   not = [toml
   ```

```sh
python -c 'import sys, torch; print(sys.argv[1])' a
for name in *; do
    echo $here \\
        $name
done
```
<!-- output -->
```text
sub m...
sub told.txt
```
```python
assert count == 2
Path("made.txt").touch()
```
```sh
test -f made.txt
cd ..
```
```python
assert Path("sub", "made.txt").exists()
```
""",
    )
    assert (tmp_path / "work" / "sub" / "more" / "there.txt").read_text() == "not = [toml\n"


def block(language: str, *lines: str) -> str:
    return "\n".join((f"```{language}", *lines, "```\n"))


FALSE = "ends with exit code 1:\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (block("sh", "true", "", "# so", "echo said; false"), f"doc.md:5: echo said; false\n{FALSE}said\n"),
        ("text\n\n" + block("sh", "false", "true"), f"doc.md:4: false\n{FALSE}"),
        (block("sh", "false | true"), f"doc.md:2: false | true\n{FALSE}"),
        (block("sh", "echo $nothing"), f"doc.md:2: echo $nothing\n{FALSE}"),
        (block("sh", "true", "if true"), "doc.md:3: if true\nends with exit code 2:\n"),
        (block("sh", "acaikit show no_such"), "doc.md:2: acaikit show no_such\nends with exit code 2:\nerror: "),
        (block("sh", "pip install -q torch not-there"), f"doc.md:2: pip install -q torch not-there\n{FALSE}pip "),
        (block("python", "x = 1", "", "x / 0"), "doc.md:4: this Python fails:\nTraceback"),
        (block("python", "x = 1") + block("python", "y +"), "doc.md:5: this Python fails:\n"),
        (block("python", "def fail():", "    1 / 0", "fail()"), "doc.md:3: this Python fails:\nTraceback"),
        (block("toml", "x = ["), "doc.md:2: this toml is wrong: "),
        (block("json", "{"), "doc.md:2: this json is wrong: "),
        (
            block("gin", "no = "),
            "doc.md:2: acaikit show line_2.gin --sizes\nends with exit code 2:\nerror: line_2.gin:1",
        ),
        (
            block("sh", "echo a", "echo b") + "<!-- output -->\n" + block("text", "a", "b"),
            "doc.md:7: the output is said to be\na\nb\n\nbut it is\nb\n",
        ),
        ("\n" + block("bash", "true"), "doc.md:2: 'bash' is none of sh, python, "),
        ("```sh\ntrue\n", "doc.md:1: this fence is never closed"),
    ],
)
def test_a_block_that_fails_is_reported_with_its_line(run_document, text: str, said: str) -> None:
    found = fault(run_document, text)
    assert found.startswith(said), found


SLEEP = "import time; print('tired', flush=True); time.sleep(60)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (block("sh", "true", f'python -c "{SLEEP}"'), f'doc.md:3: python -c "{SLEEP}"'),
        (block("python", "", SLEEP), "doc.md:2: this Python"),
    ],
)
def test_what_takes_too_long_is_stopped(run_document, text: str, said: str) -> None:
    began = time.monotonic()
    assert fault(run_document, text, limit=1) == f"{said}\ntakes longer than 1 s:\ntired\n"
    assert time.monotonic() - began < 50


@pytest.mark.parametrize(
    ("said", "output", "so"),
    [
        ("a\nb", "a\nb\n", True),
        ("a  ", "\na \n\n", True),
        ("a\nb", "a\n", False),
        ("a", "a\nb\n", False),
        ("a...c", "a b c\n", True),
        ("a...c", "a\nc\n", False),
        ("a\n...\nc", "a\nb\nb\nc\n", True),
        ("a\n...\nc", "a\nc\n", True),
        ("...", "", True),
        ("a.c", "abc\n", False),
    ],
)
def test_output_is_compared_line_by_line(said: str, output: str, so: bool) -> None:
    assert runner.fits(said, output) is so


def test_a_block_is_what_is_between_its_fences() -> None:
    directive = "````{note}\n```sh\n```\n````\n"
    text = f"~~~python\n```\n~~~\n{directive}<!-- file: a/b.gin -->\n  ```gin\n  x\n    y\n  ```\n```\n```\n"
    assert blocks.read(text) == [
        blocks.Block("python", "```\n", 2),
        blocks.Block("gin", "x\n  y\n", 10, "file", "a/b.gin"),
        blocks.Block("", "", 14),
    ]


@pytest.mark.parametrize(
    ("said", "run"),
    [
        ("show quickstart", "show quickstart"),
        ("run digits_acai_16 --dry-run", "run digits_acai_16 --dry-run"),
        (
            "run digits_acai_16 --set Experiment.samples=1000 --seed 2 --set ACAI.weight=1",
            "run digits_acai_16 --seed 2 --set ACAI.weight=1 --set Experiment.samples=128 "
            "--set Experiment.evaluate_every=128",
        ),
        (
            "run quickstart --set Experiment.evaluators=[]",
            "run quickstart --set Experiment.evaluators=[] --set Experiment.samples=128 --set "
            "Experiment.evaluate_every=128 --set depth=2 --set Lines.test_size=64",
        ),
        ("run no_such", "run no_such"),
        ("resume a --samples 5000 --quiet", "resume a --samples 256 --quiet"),
        ("eval a --kmeans --lines", "eval a --kmeans --lines --set KMeans.restarts=4 --set KMeans.examples=500"),
        ("eval a --lines", "eval a --lines"),
    ],
)
def test_only_the_budget_is_reduced(said: str, run: str) -> None:
    assert [word.replace(" = ", "=") for word in commands.reduced(said.split())] == run.split()


def test_small_sets_stand_in_for_the_published_ones(run_document) -> None:
    run_document("doc.md", "```sh\nacaikit data fetch MNIST SVHN CIFAR10 CelebA\nacaikit data check SVHN\n```")


def test_an_installed_part_counts_at_once(run_document, tmp_path: Path) -> None:
    names = "import importlib.metadata as m; print([e.name for e in m.entry_points(group='acaikit.regularizers')])"
    project = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "acaikit-mine"
version = "0.1"
[project.entry-points."acaikit.regularizers"]
Mine = "acaikit_mine:Mine"
"""
    run_document(
        "doc.md",
        f"""
<!-- file: acaikit-mine/pyproject.toml -->
```toml
{project}
```
<!-- file: acaikit-mine/acaikit_mine/__init__.py -->
```python
from acaikit.regularizers import Regularizer as Mine
```
```sh
python3 -m venv .venv && . .venv/bin/activate && pip install acaikit -e ./acaikit-mine
acaikit show quickstart_baseline --set "Experiment.regularizers = [@Mine()]"
```
```python
{names}
assert "Mine" in [e.name for e in m.entry_points(group="acaikit.regularizers")]
```
""",
    )
    assert any((tmp_path / "site").iterdir())


def test_what_a_document_takes_for_granted_is_there(tmp_path: Path) -> None:
    beforehand.prepare("docs/index.md", tmp_path)
    assert not any(tmp_path.iterdir())
    beforehand.prepare("README.md", tmp_path)
    assert {"README.md", "acaikit", "gin", "photos.zip", "plugins"} < {path.name for path in tmp_path.iterdir()}
