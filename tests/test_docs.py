"""What the pages say is so: their documents load, their commands exist, their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapters.cli import parser
from spir.embed import default_vocabulary, library_templates
from spir.language.document import read_documents

HERE = Path(__file__).resolve().parent.parent
PAGES = sorted([HERE / "README.md", HERE / "README.zh-CN.md", *(HERE / "docs").glob("*.md")])

BLOCK = re.compile(r"^( *)```yaml\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
COMMAND = re.compile(r"`spir ([a-z][a-z0-9]*)")


def documents() -> list[tuple[str, str]]:
    """Every YAML block of a page that is a document."""
    found = []
    for page in PAGES:
        for number, (indent, text) in enumerate(BLOCK.findall(page.read_text("utf-8"))):
            lines = "\n".join(line.removeprefix(indent) for line in text.splitlines())
            if "kind:" in lines:
                found.append((f"{page.name}:{number}", lines))
    return found


@pytest.mark.parametrize(("name", "text"), documents(), ids=[name for name, _ in documents()])
def test_the_documents_of_the_pages_load(name: str, text: str) -> None:
    found = read_documents({f"{name}.yaml": text}, vocabulary_text=default_vocabulary(), templates=library_templates())
    assert found.policy_sets or found.tests or "kind: Template" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_the_pages_lead_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text("utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_the_pages_exist(page: Path) -> None:
    (commands,) = (action for action in parser()._actions if action.dest == "==SUPPRESS==" or action.choices)
    assert set(COMMAND.findall(page.read_text("utf-8"))) <= set(commands.choices)
