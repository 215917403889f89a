"""What tests of documents are given: the default vocabulary, and documents with one thing changed."""

from __future__ import annotations

from pathlib import Path

from spir.language.document import Documents, read_documents
from spir.model.policy import Policy

ROOT = Path(__file__).resolve().parents[3]
VOCABULARY = (ROOT / "mappings" / "vocabulary.yaml").read_text("utf-8")
FIXTURES = [path.read_text("utf-8") for path in sorted((ROOT / "fixtures/policies/language").glob("*.yaml"))]

HEAD = """\
spir: "1"
kind: PolicySet
name: radiology
layer: institution
jurisdiction: cn/zj/hospital-a
version: 1.2.0
policies:
"""


def read(*texts: str, **named: str) -> Documents:
    """Documents from texts; file names are given by position, or by keyword with `_` for the dot."""
    files = {f"{n}.yaml": text for n, text in enumerate(texts)}
    files |= {name.replace("_", "."): text for name, text in named.items()}
    return read_documents(files, vocabulary_text=VOCABULARY)


def policy(body: str) -> str:
    """A PolicySet with one policy, whose fields are `body` (lines without indentation)."""
    first, *rest = body.strip("\n").split("\n")
    return HEAD + "\n".join([f"  - {first}", *(f"    {line}" for line in rest)]) + "\n"


def read_policy(body: str) -> Policy:
    return read(policy(body)).policy_sets[0].policies[0]
