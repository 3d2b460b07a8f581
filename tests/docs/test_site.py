"""The site: it builds without a warning, its links and pictures lead somewhere, and it leaves no part out."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from inspect import isfunction
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from acaikit.config import build, read_recipe
from acaikit.errors import UserError
from acaikit.registry import OURS, ROOTS, parts
from acaikit.regularizers import Regularizer

DOCS = Path(__file__).parents[2] / "docs"


class Page(HTMLParser):
    """What a page of the site can be linked by, and what it links to."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name == "id":
                self.ids.add(value)
            elif value and name in ("href", "src"):
                self.links.add(value)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """Every page of the site, which is built from the files of the checkout, by its file."""
    html, doctrees = tmp_path_factory.mktemp("html"), tmp_path_factory.mktemp("doctrees")
    before = sorted(DOCS.rglob("*"))
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", doctrees, DOCS, html]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert sorted(DOCS.rglob("*")) == before
    return {file: Page(file) for file in html.rglob("*.html") if "_static" not in file.parts}


@pytest.mark.slow
def test_every_link_and_picture_leads_somewhere(pages: dict[Path, Page]) -> None:
    broken = []
    for file, page in pages.items():
        for link in page.links:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (file.parent / unquote(url.path)).resolve() if url.path else file
            found = target.is_file() and (target not in pages or unquote(url.fragment) in {"", *pages[target].ids})
            if not found and link != "#":  # which the theme's scripts fill in
                broken.append(f"{file.name}: {link}")
    assert not broken


@pytest.mark.slow
def test_nothing_is_got_from_the_network(pages: dict[Path, Page]) -> None:
    got = r"<(?:script|img|link)[^>]*(?:src|href)=\"(?:https?:)?//"
    assert [file.name for file in pages if re.search(got, file.read_text(encoding="utf-8"))] == []


@pytest.mark.slow
def test_the_reference_has_every_part(pages: dict[Path, Page]) -> None:
    documented = {name for file, page in pages.items() if file.parent.name == "reference" for name in page.ids}
    ours = [part for part in parts() if part.distribution == OURS and part.kind != ROOTS]
    kinds = {part.kind[:-1] for part in ours}
    wanted = {part.name for part in ours} | {f"testing.check_{kind}" for kind in kinds}
    assert sorted(name for name in wanted if not any(id_.endswith(f".{name}") for id_ in documented)) == []


def test_the_concepts_have_every_hook() -> None:
    table = re.findall(r"^\| `(\w+)\(", (DOCS / "concepts.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(table) == {name for name, value in vars(Regularizer).items() if isfunction(value) and name[0] != "_"}


MISTAKES = (
    "Experiment.regularizers = [@ACIA()]",
    "ACAI.wieght = 1",
    "ACAI.gamma = 2",
    "Experiment.regularizers = []\nKL.weight = 1",
    "Experiment.regularizers = [@big/ACAI()]\nbug/ACAI.weight = 1",
    "Experiment.samples = %smaples\nsamples = 5",
    "dpeth = 4",
    "ACAI.weight = 1\nACAI.weight = 2",
    "include 'model/vae.gin'",
    "FactorBenchmark.path = slerp",
    "FactorBenchmark.path = @slerp",
    "Experiment.regularizers = [@ACAI()",
    "include 'x.gin'",
    "include 'mistake.gin'",
    "import os",
    "Experiment.samples = %gin.REQUIRED",
    "Experiment.regularizers = [@ACAI()]\nACAI.critic = @EncoderCritic()",
    "scales = 3\nConvDecoder.scales = 2",
)
"""What added to the quickstart gives each message that the page of recipes explains, in its order."""


def test_the_messages_on_the_page_of_recipes_are_those_that_are_given(tmp_path: Path) -> None:
    table = (DOCS / "recipes.md").read_text(encoding="utf-8").partition("| message |")[2].partition("\n\n")[0]
    messages = re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)
    file = tmp_path / "mistake.gin"
    for message, mistake in zip(messages, MISTAKES, strict=True):
        file.write_text(f"include 'quickstart.gin'\n{mistake}\n", encoding="utf-8")
        with pytest.raises(UserError, match=re.escape(message).replace(r"\.\.\.", ".*")):
            build(read_recipe(str(file))).build()
