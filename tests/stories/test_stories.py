"""Acceptance stories: Markdown that says why, and fenced blocks that prove it.

A file holds several stories, each under a heading. Blocks in order: `policy`
(a YAML document; the next ones add to it), `facts` (an HL7 v2 message as
received), `request` (AuthZEN JSON) and `expect` (what the decision must say).
A request is decided with all that stands above it under its heading.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from adapters.hl7v2.facts import Reader
from adapters.hl7v2.message import parse
from adapters.hl7v2.source import Source
from adapters.hl7v2.tables import load
from spir.embed import default_vocabulary
from spir.engine.reference import decide
from spir.engine.ruleset import RuleSet, Site
from spir.language.document import read_documents
from spir.model.facts import FactStore, empty_snapshot
from spir.model.request import Request
from spir.model.value import thaw
from tests.given import HIS, NOON

FOLDER = Path(__file__).parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)


@dataclass
class Story:
    title: str
    policies: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    checks: list[tuple[str, str, int]] = field(default_factory=list)  # request, expectation, messages before it


def stories() -> Iterator[Any]:
    for file in sorted(FOLDER.glob("*.md")):
        for part in re.split(r"^## ", file.read_text("utf-8"), flags=re.M)[1:]:
            title = part.split("\n", 1)[0]
            yield pytest.param(_story(title, part), id=f"{file.stem}: {title}")


def _story(title: str, text: str) -> Story:
    story = Story(title)
    request = ""
    for kind, body in BLOCK.findall(text):
        match kind:
            case "policy":
                story.policies.append(body)
            case "facts":
                story.messages.append(body)
            case "request":
                request = body
            case "expect":
                story.checks.append((request, body, len(story.messages)))
            case other:
                raise AssertionError(f"unknown block `{other}` in `{title}`")
    return story


@pytest.mark.parametrize("story", list(stories()))
def test_story(story: Story) -> None:
    assert story.checks, "a story that expects nothing tells nothing"
    files = {f"{number}.yaml": text for number, text in enumerate(story.policies)}
    documents = read_documents(files, vocabulary_text=default_vocabulary())
    rules = RuleSet.of(documents.policy_sets, documents.fingerprint, Site("cn/zj/hospital-a", ZoneInfo("UTC")))
    for request, expectation, heard in story.checks:
        store = FactStore(empty_snapshot(documents.vocabulary.joins()))
        for message in story.messages[:heard]:
            store.apply(_changes(message))
        decision = decide(rules, Request.from_json(json.loads(request)), store.snapshot, NOON)
        expected = yaml.safe_load(expectation)
        said = decision.to_json()
        said["reasons"] = [reason["code"] for reason in said["reasons"]]
        said["obligations"] = [{"type": o["type"], **o["properties"]} for o in said["obligations"]]
        said["if"] = [
            {a.attribute: [a.op, thaw(a.value)] for a in clause.atoms} for clause in decision.residual.clauses
        ]
        assert {key: said[key] for key in expected} == expected


def _changes(text: str) -> Any:
    reader = Reader(HIS, lambda authority, id: {"1001": "dr.li", "1002": "dr.chen"}.get(id), ZoneInfo("UTC"), load())
    message = parse("\r".join(line.strip() for line in text.strip().splitlines()))
    return reader.read(message, Source("HIS", "H1", ("127.0.0.1",)), NOON).changes
