"""Templates as documents: their schema, their canonical form, broken ones, and the order of versions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spir.embed import library_templates
from spir.errors import DocumentError
from spir.language.format import format_document, is_document
from spir.language.kinds.schema import schema
from spir.language.nodes import plain, read_nodes
from spir.language.versions import Range, order
from tests.core.language.given_documents import ROOT, policy
from tests.core.language.given_templates import BODY, HEAD, TEMPLATE, USE, read

jsonschema = pytest.importorskip("jsonschema", reason="the schemas are checked by the package jsonschema")

SOURCE = (ROOT / "fixtures/policies/templates/read_doc_sensitive.json").read_text("utf-8")


def valid(kind: str, text: str) -> bool:
    (node,) = read_nodes(text, "a")
    found: bool = jsonschema.Draft202012Validator(schema(kind)).is_valid(plain(node))
    return found


# -- schema ----------------------------------------------------------------------------------


def test_the_schema_knows_templates_as_others_exchange_them():
    assert valid("Template", SOURCE) and valid("Template", TEMPLATE)
    assert not valid("Template", TEMPLATE.replace('spir: "1"\n', ""))
    assert not valid("Template", TEMPLATE.replace("kind: Template\n", ""))


@pytest.mark.parametrize(
    "text",
    [
        TEMPLATE.replace("effect: permit", "effect: alow"),
        TEMPLATE.replace("effect: permit\n", ""),
        TEMPLATE.replace("template_id: own-department\n", ""),
        TEMPLATE.replace("conditions:", "condition:"),
        TEMPLATE.replace("conditions:", "when: 'true'\nconditions:"),
        TEMPLATE.replace("  subject:", "  subjects:"),
        TEMPLATE.replace("type: integer", "type: int"),
        TEMPLATE.replace("minimum: 1", "minLength: 1"),
        TEMPLATE.replace("items: {type: string}, ", ""),
        TEMPLATE.replace("items: {type: string}", "items: {type: array}"),
        TEMPLATE.replace("minItems: 1", "minItems: -1"),
        TEMPLATE.replace("  level:", "  le-vel:"),
        TEMPLATE.replace("version: 1.2.0", "version: '1.2'"),
        f"{TEMPLATE}digest: abc\n",
        f"{TEMPLATE}valid_from: [yesterday]\n",
        f"{TEMPLATE}signature: {{key: abc}}\n",
        f"{TEMPLATE}title: {{fr: Bonjour}}\n",
        TEMPLATE.replace("default: 3", "format: clock"),
    ],
)
def test_what_is_wrong_in_shape_schema_and_reader_refuse(text: str):
    assert not valid("Template", text)
    with pytest.raises(DocumentError):
        read(text)


@pytest.mark.parametrize(
    "use",
    [
        f"{USE}\neffect: permit",
        f"{USE}\nwhen: 'true'",
        "template: own-department",
        f"{USE}\nversion: 1",
        "id: a\ntemplate: []",
    ],
)
def test_a_policy_of_the_wrong_shape_both_refuse(use: str):
    assert valid("PolicySet", policy(USE))
    assert not valid("PolicySet", policy(use))
    with pytest.raises(DocumentError):
        read(policy(use), TEMPLATE)


# -- canonical form --------------------------------------------------------------------------

MIXED = f"""\
# what it is for
effect: allow
template_id: own-department   # its name
when: subject.department in  parameters.departments&&resource.sensitivity<=parameters.level
version: 1.2.0
{BODY[BODY.index("parameters:") : BODY.index("conditions:")]}spir: "1"
kind: Template
"""


def test_a_template_is_brought_into_one_form_and_keeps_its_comments():
    made = format_document(MIXED, "t.yaml")
    assert made.startswith('spir: "1"\nkind: Template\ntemplate_id: own-department  # its name\nversion: 1.2.0\n')
    assert "# what it is for\neffect: allow\n" in made
    assert made.endswith(
        "when: |\n  subject.department in parameters.departments\n  && resource.sensitivity <= parameters.level\n"
    )
    assert format_document(made, "t.yaml") == made
    assert read(made).templates[0].digest == read(MIXED).templates[0].digest


def test_a_template_of_others_is_a_document_of_ours():
    assert is_document(SOURCE, "a.json") and not is_document("template_id: a\n", "a.yaml")
    made = format_document(SOURCE, "a.json")
    assert json.loads(made) == json.loads(SOURCE) and format_document(made, "a.json") == made
    (first,), (second,) = (read(text).templates for text in (SOURCE, made))
    assert first.digest == second.digest


def test_the_keys_of_a_policy_made_from_a_template_have_an_order():
    text = policy('with: {departments: [a]}\nversion: ">=1"\ntemplate: own-department\nvalid: {}\nid: a')
    assert format_document(text, "a.yaml").endswith(
        '  - id: a\n    template: own-department\n    version: ">=1"\n    with: {departments: [a]}\n    valid: {}\n'
    )


# -- broken ones -----------------------------------------------------------------------------

TEXTS = [TEMPLATE, f"{SOURCE}", *list(library_templates().values())[:6], policy(USE)]
PIECES = [
    "'",
    '"',
    "{",
    "}",
    "[",
    "]",
    ":",
    "-",
    "\n",
    " ",
    "parameters",
    "parameters.x",
    "::",
    "null",
    "1e999",
    "&a",
    "#",
]


@settings(max_examples=250)
@given(st.data())
def test_a_mutated_template_is_one_or_our_error(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(TEXTS))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(st.sampled_from(PIECES)) + text[at + data.draw(st.integers(0, 6)) :]
    try:
        read(text, library={"own-department": TEMPLATE})
    except DocumentError as error:
        assert error.location is not None


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10) | st.sampled_from(["", "a", "string", "integer", "08:00", "("]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "items", "enum"]), inner),
    max_leaves=5,
)
KEYS = [
    "type",
    "items",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "pattern",
    "format",
    "minItems",
    "default",
    "examples",
]


@settings(max_examples=250)
@given(st.dictionaries(st.sampled_from(KEYS), values, max_size=5), values)
def test_any_schema_and_any_value_are_read_or_refused(body: dict[str, Any], value: Any) -> None:
    """And the published schema of parameters allows what the reader reads."""
    template = {"spir": "1", "kind": "Template", "template_id": "own-department", "effect": "permit"}
    template |= {"operations": ["read:document"], "parameters": {"x": body}, "when": "subject.id in [parameters.x]"}
    use = f"id: a\ntemplate: own-department\nwith: {json.dumps({'x': value})}"
    try:
        (found,) = read(json.dumps(template)).templates
    except DocumentError:
        return
    assert valid("Template", json.dumps(template))
    try:
        read(policy(use), json.dumps(template))
    except DocumentError:
        return
    assert jsonschema.Draft202012Validator(found.arguments_schema()).is_valid({"x": value})


# -- versions --------------------------------------------------------------------------------

# semver.org 2.0.0, 11
ASCENDING = [
    "0.9.9",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1",
    "1.2.0",
    "1.10.0",
    "2.0.0-rc.1",
    "2.0.0",
]


@given(st.permutations(ASCENDING))
def test_versions_have_the_order_of_the_standard(versions: list[str]) -> None:
    assert sorted(versions, key=order) == ASCENDING


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("", "0.9.9 1.0.0 1.0.1 1.2.0 1.10.0 2.0.0"),
        (">=1.0 <2", "1.0.0 1.0.1 1.2.0 1.10.0"),
        (">=1.0,<1.2", "1.0.0 1.0.1"),
        (">1 <=1.10", "1.0.1 1.2.0 1.10.0"),
        ("1.2", "1.2.0"),
        ("=2.0.0-rc.1", "2.0.0-rc.1"),
        (">2", ""),
    ],
)
def test_a_range_holds_what_its_bounds_say(text: str, inside: str) -> None:
    found = Range.read(text)
    assert [version for version in ASCENDING if version in found] == inside.split()


@pytest.mark.parametrize(
    "text", ["latest", ">=", "1..2", "^1", "1 || 2", ">=1.0 <2 x", "1.0.0.0", " ", "1" * 10, ">1" * 9]
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Range.read(text)


def test_a_head_alone_is_no_template() -> None:
    with pytest.raises(DocumentError, match="has no `effect`"):
        read(HEAD)
