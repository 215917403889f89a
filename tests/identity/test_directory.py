"""The directory: one owner for each name, and every mistake with its place."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.identity.directory import Directory
from spir.errors import DocumentError, SpirError
from spir.model.request import Entity

STAFF = """\
- id: dr.li
  properties:
    role: physician
    department: cardiology
    permissions: ["read:patient:allergy"]
    clearance: 3
  hl7v2: ["1001"]
  ae_titles: [VIEWER1]
  tokens: [dr.li]
  certificates: ["spiffe://hospital-a.example/dr.li"]
- id: HIS
  type: system
  hl7v2: ["HIS|H1", HIS]
"""


def test_people_and_systems_are_found_by_their_names_elsewhere():
    directory = Directory.parse(STAFF, "staff.yaml")
    properties = {
        "role": "physician",
        "department": "cardiology",
        "permissions": ("read:patient:allergy",),
        "clearance": 3,
    }
    doctor = Entity("person", "dr.li", properties)
    assert directory.entities == {"dr.li": doctor, "HIS": Entity("system", "HIS")}
    assert directory.find("ae_titles", "VIEWER1") == doctor
    assert directory.find("certificates", "spiffe://hospital-a.example/dr.li") == doctor
    assert (directory.staff("hl7v2", "1001"), directory.staff("tokens", "1001")) == ("dr.li", None)
    assert directory.staff("hl7v2", "HIS|H1") == "HIS"
    assert directory.find("tokens", "nobody") is None


def test_an_empty_directory_knows_nobody():
    assert Directory.parse("", "staff.yaml") == Directory.parse("# nobody yet\n", "staff.yaml") == Directory()


def test_the_storys_directory_is_read():
    path = Path(__file__).parent.parent.parent / "fixtures/policies/staff.yaml"
    assert Directory.parse(path.read_text(), "staff.yaml").staff("hl7v2", "1001") == "dr.li"


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("id: x", "staff.yaml:1:1", "must be a list"),
        ("- x", "staff.yaml:1:3", "must be a mapping"),
        ("- {type: person}", "staff.yaml:1:3", "has no `id`"),
        ("- {id: ''}", "staff.yaml:1:8", "must be text"),
        ("- {id: 7}", "staff.yaml:1:8", "must be text"),
        ("- {id: a b}", "staff.yaml:1:8", "no name"),
        ("- {id: a, type: robot}", "staff.yaml:1:17", "cannot be `robot`"),
        ("- {id: a, role: x}", "staff.yaml:1:11", "no field `role`"),
        ("- {id: a, hl7: ['1']}", "staff.yaml:1:11", "did you mean `hl7v2`"),
        ("- {id: a, id: b}", "staff.yaml:1", "id"),
        ("- {id: a}\n- {id: a}", "staff.yaml:2:8", "`a` is there twice"),
        ("- {id: a, tokens: [x]}\n- {id: b, tokens: [x]}", "staff.yaml:2:20", "belongs to `a`"),
        ("- {id: a, ae_titles: [X]}\n- {id: b, ae_titles: [X]}", "staff.yaml:2:23", "belongs to `a`"),
        ("- {id: a, hl7v2: [1001]}", "staff.yaml:1:19", "in quotes"),
        ("- {id: a, hl7v2: '1001'}", "staff.yaml:1:18", "must be a list"),
        ("- {id: a, hl7v2: [' 1']}", "staff.yaml:1:19", "cannot be a name"),
        ("- {id: a, ae_titles: [SEVENTEEN_LETTERS]}", "staff.yaml:1:23", "cannot be a name"),
        ("- {id: a, ae_titles: ['A\\\\B']}", "staff.yaml:1:23", "cannot be a name"),
        ("- {id: a, certificates: [x]}", "staff.yaml:1:26", "cannot be a name"),
        ("- {id: a, properties: {scopes: [x]}}", "staff.yaml:1:32", "cannot be written here"),
        ("- {id: a, properties: {certificate: x}}", "staff.yaml:1:37", "cannot be written here"),
        ("- {id: a, properties: {role: }}", "staff.yaml:1:30", "no value"),
        ("- {id: a, properties: {permissions: x}}", "staff.yaml:1:37", "must be a list"),
        ("- {id: a, properties: {permissions: [1]}}", "staff.yaml:1:38", "must be text"),
        ("- {id: a}\n---\n- {id: b}", "staff.yaml:3:1", "one document"),
        ("- &x {id: a}\n- *x", "staff.yaml:1:3", "anchor"),
        ("- {id: a, properties: !!python/object:os.system {}}", "staff.yaml:1:23", "tag"),
        ("- {id: a", "staff.yaml", "YAML"),
    ],
)
def test_a_mistake_is_said_with_its_place(text: str, place: str, message: str):
    with pytest.raises(DocumentError) as mistake:
        Directory.parse(text, "staff.yaml")
    assert str(mistake.value).startswith(place)
    assert message in str(mistake.value)


def test_one_entry_may_list_a_name_twice():
    text = "- {id: a, certificates: ['CN=x', 'CN=x']}"
    assert Directory.parse(text, "staff.yaml").staff("certificates", "CN=x") == "a"


@given(
    st.text()
    | st.lists(st.sampled_from(["- ", "id: a\n", "{", "}", "[", "]", "tokens:", "\n  ", "x", "&a", "*a"])).map("".join)
)
def test_any_text_is_read_or_refused(text: str):
    with contextlib.suppress(SpirError):
        Directory.parse(text, "staff.yaml")
