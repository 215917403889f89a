"""Documents: what they become, what they are told when they are wrong, and what their fingerprint depends on."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spir.errors import ConditionError, DocumentError, Location, SpirError
from spir.language.document import LATER
from spir.language.printer import to_cel
from spir.model.obligation import Obligation
from spir.model.policy import Emergency, Kind, Layer, OnMissing, OperationPattern, Validity
from tests.core.language.given_documents import FIXTURES, HEAD, VOCABULARY, policy, read, read_policy

WHOLE = """\
id: care-team-reads-images
description: Whoever treats the patient sees the images.
effect: permit
operations: ["search:imaging:*", "retrieve:imaging:study"]
when: |
  subject.role == "physician" && subject.id in resource.patient.care_team
  && resource.modality in ["CR", "DX"]
obligations:
  - {id: mask-phone, type: mask, paths: ["patient.telecom"]}
valid: {from: 2026-01-01T00:00:00+08:00, until: 2027-01-01T00:00:00+08:00}
emergency: overridable
"""


def test_the_policy_of_the_manual_is_read_as_it_is_meant():
    documents = read(policy(WHOLE))
    (found,) = documents.policy_sets
    assert (found.name, found.layer, found.jurisdiction, found.version) == (
        "radiology",
        Layer.INSTITUTION,
        "cn/zj/hospital-a",
        "1.2.0",
    )
    (rule,) = found.policies
    zone = timezone(timedelta(hours=8))
    assert rule.kind is Kind.PERMIT
    assert rule.operations == (OperationPattern("search", "imaging"), OperationPattern("retrieve", "imaging", "study"))
    assert rule.obligations == (Obligation("mask-phone", "mask", {"paths": ("patient.telecom",)}),)
    assert rule.valid == Validity(datetime(2026, 1, 1, tzinfo=zone), datetime(2027, 1, 1, tzinfo=zone))
    assert rule.emergency is Emergency.OVERRIDABLE
    assert rule.on_missing is OnMissing.DENY
    assert rule.location == Location("0.yaml", 8, 5)
    assert to_cel(rule.when) == (
        'subject.role == "physician" && subject.id in resource.patient.care_team && resource.modality in ["CR", "DX"]'
    )


def test_a_folder_of_every_kind_is_read():
    documents = read(*FIXTURES)
    assert [found.name for found in documents.policy_sets] == ["radiology", "mapping-rules"]
    assert [found.name for found in documents.permission_maps] == ["mapping-rules"]
    assert [found.name for found in documents.tests] == ["radiology"]
    assert "scan" in documents.vocabulary.verbs


@pytest.mark.parametrize(
    ("body", "line", "column", "says"),
    [
        ("id: a\neffect: permt\noperations: ['*:*']", 9, 13, "`effect` cannot be `permt`; did you mean `permit`?"),
        ("id: a\nefect: permit", 9, 5, "the policy has no field `efect`; did you mean `effect`?"),
        ("id: a\neffect: deny", 8, 5, "the policy has no `operations`"),
        ("id: a b\neffect: deny\noperations: ['*:*']", 8, 9, "`id` is no name"),
        ("id: a\neffect: deny\noperations: []", 10, 17, "`operations` is empty"),
        ("id: a\neffect: deny\noperations: [search]", 10, 18, "write verb:type[:category]"),
        ("id: a\neffect: deny\noperations: ['serch:imaging']", 10, 18, "the verb `serch` is not declared"),
        ("id: a\neffect: deny\noperations: ['search:image']", 10, 18, "did you mean `imaging`?"),
        ("id: a\neffect: deny\noperations: ['update:order:sta']", 10, 18, "did you mean `stat`?"),
        ("id: a\neffect: deny\noperations: ['*:*']\nwhen: true", 11, 11, "`when` must be a condition"),
        ("id: a\neffect: deny\noperations: ['*:*']\nwhen: subject.rol == ''", 11, 19, "did you mean `subject.role`?"),
        ("id: a\neffect: deny\noperations: ['*:*']\nwhen: |\n\n  true\n  && foo", 14, 10, "`foo` is not known"),
        ('id: a\neffect: deny\noperations: ["*:*"]\nwhen: "role == 1"', 11, 12, "did you mean `subject.role`?"),
        ("id: a\neffect: deny\noperations: ['*:*']\nwhen: {subjet: []}", 11, 12, "did you mean `subject`?"),
        (
            "id: a\neffect: deny\noperations: ['*:*']\nwhen: {subject: ['rle == 1']}",
            11,
            23,
            "did you mean `subject.role`?",
        ),
        ("id: a\neffect: deny\noperations: ['*:*']\nobligations: [{type: audit, level: x}]", 11, 18, "no obligations"),
        ("id: a\neffect: oblige\noperations: ['*:*']", 8, 5, "an oblige needs `obligations`"),
        ("id: a\neffect: permit\noperations: ['*:*']\non_missing: ignore", 11, 17, "what is unknown never grants"),
        ("id: a\neffect: deny\noperations: ['*:*']\non_missing: skip", 11, 17, "known: deny, ignore"),
        ("id: a\neffect: deny\noperations: ['*:*']\nvalid: {from: 2026-01-01}", 11, 19, "`from` must be a time"),
        (
            "id: a\neffect: deny\noperations: ['*:*']\n"
            "valid: {from: 2026-01-02T00:00:00Z, until: 2026-01-01T00:00:00Z}",
            11,
            48,
            "`until` must be later than `from`",
        ),
    ],
)
def test_a_wrong_policy_is_told_where_and_how(body: str, line: int, column: int, says: str):
    with pytest.raises(DocumentError) as caught:
        read_policy(body)
    assert says in str(caught.value)
    assert caught.value.location == Location("0.yaml", line, column)


@pytest.mark.parametrize(
    ("obligation", "says"),
    [
        ("{type: mak, paths: [a.b]}", "did you mean `mask`?"),
        ("{type: mask}", "a mask needs `paths`"),
        ("{type: mask, paths: patient.telecom}", "`paths` must be a list"),
        ("{type: mask, paths: [telecom]}", "as patient.telecom or Patient.telecom"),
        ("{type: mask, path: [a.b]}", "did you mean `paths`?"),
        ("{type: deidentify, profile: strong}", "`profile` cannot be `strong`"),
        ("{type: limit}", "a limit needs"),
        ("{type: limit, count: -1}", "must not be negative"),
        ("{type: limit, count: true}", "must be a whole number"),
        ("{type: notify, priority: high}", "has no `channel`"),
        ("{type: trigger, workflow: a, urgencie: b}", "did you mean `urgency`?"),
        ("{id: x, type: audit, level: full}, {id: x, type: limit, days: 1}", "`x` is there twice"),
    ],
)
def test_a_wrong_obligation_is_told_how(obligation: str, says: str):
    with pytest.raises(DocumentError) as caught:
        read_policy(f"id: a\neffect: permit\noperations: ['*:*']\nobligations: [{obligation}]")
    assert says in str(caught.value)
    assert caught.value.location is not None and caught.value.location.line == 11


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('spir: "2"', 'write spir: "1"'),
        ("spir: 1", "`spir` must be text; put it in quotes"),
        ("kind: PolicySat", "did you mean `PolicySet`?"),
        ("layer: regional", "`layer` cannot be `regional`"),
        ("jurisdiction: /cn/zj", "as cn/zj/hospital-a"),
        ("version: 1.2", "`version` must be text"),
        ("version: '1.2'", "a semantic version"),
        ("name: ''", "`name` must be text"),
        ("extra: 1", "a PolicySet has no field `extra`"),
        ("policies: {}", "`policies` must be a list"),
    ],
)
def test_a_wrong_head_is_told_how(line: str, says: str):
    key = line.partition(":")[0]
    kept = [old for old in HEAD.splitlines() if not old.startswith(f"{key}:")]
    kept = [f"{old} []" if old == "policies:" else old for old in kept]
    with pytest.raises(DocumentError, match="yaml") as caught:
        read("\n".join([*kept, line]))
    assert says in str(caught.value)


@pytest.mark.parametrize("kind", LATER)
def test_kinds_of_later_versions_are_refused_by_name(kind: str):
    with pytest.raises(DocumentError, match="not supported yet"):
        read(f'spir: "1"\nkind: {kind}\n')


def test_one_policy_id_stands_once_in_all_documents():
    one = policy("id: a\neffect: deny\noperations: ['*:*']")
    with pytest.raises(
        DocumentError, match=r"1\.yaml:8:5: the policy id `a` is there twice; the other is at 0\.yaml:8:5"
    ):
        read(one, one.replace("radiology", "other"))


def test_one_file_may_hold_several_documents():
    one = policy("id: a\neffect: deny\noperations: ['*:*']")
    documents = read(f"---\n{one}---\n{one.replace('id: a', 'id: b')}---\n# nothing\n")
    assert [found.policies[0].id for found in documents.policy_sets] == ["a", "b"]


def test_a_json_document_is_read_the_same():
    yaml = policy("id: a\neffect: permit\noperations: ['search:imaging']\nwhen: subject.department == '\U00020000'")
    data = {
        "spir": "1",
        "kind": "PolicySet",
        "name": "radiology",
        "layer": "institution",
        "jurisdiction": "cn/zj/hospital-a",
        "version": "1.2.0",
        "policies": [
            {
                "id": "a",
                "effect": "permit",
                "operations": ["search:imaging"],
                "when": "subject.department == '\U00020000'",
            }
        ],
    }
    written = json.dumps(data, indent="\t")
    assert "\\ud840\\udc00" in written
    assert read(a_json=written).fingerprint == read(yaml).fingerprint


def test_the_fingerprint_is_of_the_meaning_not_of_the_writing():
    one = policy(WHOLE)
    other = policy("id: b\neffect: deny\noperations: ['*:*']\nwhen: {subject: [\"role == 'x'\"]}").replace(
        "radiology", "b"
    )
    same = policy("operations: ['*:*']\neffect: deny   # why\nid: b\nwhen: 'subject.role==\"x\"'").replace(
        "radiology", "b"
    )
    first = read(one, other).fingerprint
    assert first.startswith("sha256:") and len(first) == 71
    assert read(same, one).fingerprint == first
    assert read(one, other.replace("'x'", "'y'")).fingerprint != first
    assert read(one, other.replace("1.2.0", "1.2.1")).fingerprint != first


def test_the_fingerprint_depends_on_the_vocabulary_and_not_on_tests():
    one = policy(WHOLE)
    more = 'spir: "1"\nkind: Vocabulary\nname: site\nverbs: [scan]\n'
    test = 'spir: "1"\nkind: PolicyTest\nname: t\ncases: [{name: a, request: {}, expect: {effect: deny}}]\n'
    assert read(one, more).fingerprint != read(one).fingerprint
    assert read(one, test).fingerprint == read(one).fingerprint


def test_a_policy_test_keeps_its_cases_as_data():
    (found,) = read(
        'spir: "1"\nkind: PolicyTest\nname: t\ngiven: {facts: [1]}\n'
        "cases:\n  - {name: a, request: {subject: {id: x}}, expect: {effect: deny}, rows: [{modality: CT}]}\n"
    ).tests
    assert found.given == {"facts": [1]}
    assert found.cases[0].request == {"subject": {"id": "x"}}
    assert found.cases[0].rows == ({"modality": "CT"},)
    assert found.cases[0].expect == {"effect": "deny"}


# -- whatever comes in -----------------------------------------------------------------------

GOOD = [policy(WHOLE), VOCABULARY, *FIXTURES]


def refused_or_accepted(text: str) -> None:
    try:
        read(text)
    except SpirError as error:
        assert isinstance(error, DocumentError)
        assert error.location is not None


@given(st.sampled_from(GOOD), st.data())
@settings(max_examples=300, deadline=None)
def test_a_mutated_document_is_accepted_or_refused_with_our_error(text: str, data: st.DataObject):
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 12))
    put = data.draw(
        st.text(max_size=3) | st.sampled_from([": ", "\n", "- ", "{", "[", "'", '"', "|", "&a ", "*a", "!x "])
    )
    refused_or_accepted(text[:at] + put + text[at + cut :])


@given(st.sampled_from(GOOD), st.data())
@settings(max_examples=150, deadline=None)
def test_a_document_with_a_line_moved_is_accepted_or_refused_with_our_error(text: str, data: st.DataObject):
    lines = text.splitlines(keepends=True)
    line = lines.pop(data.draw(st.integers(0, len(lines) - 1)))
    lines.insert(data.draw(st.integers(0, len(lines))), data.draw(st.sampled_from(["", "  "])) + line)
    refused_or_accepted("".join(lines))


@given(st.text(max_size=100))
@settings(max_examples=300, deadline=None)
def test_any_text_is_accepted_or_refused_with_our_error(text: str):
    refused_or_accepted(text)


def test_a_condition_error_is_a_document_error():
    with pytest.raises(ConditionError):
        read_policy("id: a\neffect: deny\noperations: ['*:*']\nwhen: 'x'")
