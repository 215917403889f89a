"""The published schemas: valid themselves, and of one mind with the reader about the shape of documents."""

from __future__ import annotations

from typing import Any

import pytest

from spir.errors import DocumentError
from spir.language.document import KINDS
from spir.language.kinds.schema import schema
from spir.language.nodes import plain, read_nodes
from tests.core.language.given_documents import FIXTURES, VOCABULARY, policy, read

jsonschema = pytest.importorskip("jsonschema", reason="the schemas are checked by the package jsonschema")

GOOD = [node for text in [*FIXTURES, VOCABULARY] for node in map(plain, read_nodes(text, "a"))]
RULE = 'spir: "1"\nkind: PermissionMap\nrules:\n  - '


def valid(document: dict[str, Any]) -> bool:
    found: bool = jsonschema.Draft202012Validator(schema(document["kind"])).is_valid(document)
    return found


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_schema_is_a_schema_and_knows_every_field(kind: str):
    found = schema(kind)
    jsonschema.Draft202012Validator.check_schema(found)
    assert list(found["properties"]) == list(KINDS[kind])


@pytest.mark.parametrize("document", GOOD, ids=lambda document: f"{document['kind']}-{document.get('name', 'one')}")
def test_what_the_reader_accepts_the_schema_accepts(document: dict[str, Any]):
    assert valid(document)


def test_there_is_a_good_example_of_every_kind():
    assert {document["kind"] for document in GOOD} == set(KINDS)


@pytest.mark.parametrize(
    "text",
    [
        policy("id: a\neffect: permt\noperations: ['*:*']"),
        policy("id: a\neffect: permit\noperations: []"),
        policy("id: a\neffect: permit\noperation: ['*:*']"),
        policy("id: a\neffect: permit\noperations: ['*:*']\nwhen: true"),
        policy("id: a\neffect: permit\noperations: ['*:*']\nwhen: {}"),
        policy("id: a\neffect: permit\noperations: ['*:*']\nobligations: [{type: mask}]"),
        policy("id: a\neffect: permit\noperations: ['*:*']\nobligations: [{type: limit}]"),
        policy("id: a\neffect: permit\noperations: ['*:*']\nobligations: [{type: notify, channel: a, paths: [a.b]}]"),
        policy("id: a\neffect: permit\noperations: ['*:*']\nvalid: {since: 2026-01-01T00:00:00Z}"),
        policy("id: a\neffect: permit\noperations: ['*:*']").replace("1.2.0", "'1.2'"),
        policy("id: a\neffect: permit\noperations: ['*:*']").replace("cn/zj/hospital-a", "/cn"),
        f'{RULE}{{holds: "read:patient"}}',
        f'{RULE}{{holds: "read:patient", grants: query-study, does: "notify:alert"}}',
        f"{RULE}[]",
        'spir: "1"\nkind: Vocabulary\nattributes: {role: {type: string}}',
        'spir: "1"\nkind: Vocabulary\nattributes: {subject.role: {type: text}}',
        'spir: "1"\nkind: Vocabulary\nverbs: [Search]',
        'spir: "1"\nkind: PolicyTest\nname: a\ncases: []',
        'spir: "1"\nkind: PolicyTest\nname: a\ncases: [{name: b, expect: {}}]',
    ],
)
def test_what_is_wrong_in_shape_both_refuse(text: str):
    (node,) = read_nodes(text, "a")
    assert not valid(plain(node))
    with pytest.raises(DocumentError):
        read(text)


def test_a_kind_that_is_not_read_has_no_schema():
    with pytest.raises(DocumentError, match="did you mean `PolicySet`"):
        schema("PolicySat")
