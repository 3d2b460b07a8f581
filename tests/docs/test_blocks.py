"""Every code block of README.md, of docs/ and of the READMEs in plugins/ is run."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import blocks
import pytest
from runner import BlockError

ROOT = Path(__file__).parents[2]
FILES = (ROOT / "README.md", *sorted((*ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/*/README.md"))))
DOCUMENTS = {str(file.relative_to(ROOT)): file for file in FILES}


@pytest.mark.slow
@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_block_does_what_the_document_says(name: str, run_document) -> None:
    try:
        run_document(name, DOCUMENTS[name].read_text(encoding="utf-8"))
    except BlockError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


def test_ci_runs_the_block_of_tests_word_for_word() -> None:
    (block,) = (block for block in blocks.read(DOCUMENTS["README.md"].read_text()) if block.role == "tests")
    script = (ROOT / ".ci" / "run").read_text()
    (extraction,) = re.findall(r"^command=\$\((.*)\)$", script, re.MULTILINE)
    taken = subprocess.run(["bash", "-c", extraction], cwd=ROOT, capture_output=True, text=True, check=True)
    assert taken.stdout == block.text
    assert script.endswith('\neval "$command"\n')
