"""The source's mapping rules, compiled to policies."""

from __future__ import annotations

import pytest

from spir.errors import DocumentError
from spir.language.printer import to_cel
from spir.model.obligation import Obligation
from spir.model.policy import Kind, Layer, Policy
from tests.core.language.given_documents import read

HEAD = 'spir: "1"\nkind: PermissionMap\n'


def rules(*lines: str, head: str = HEAD) -> tuple[Policy, ...]:
    text = head + "rules:\n" + "".join(f"  - {{{line}}}\n" for line in lines) + "default: deny\n"
    return read(text).policy_sets[0].policies


def test_a_held_permission_permits_the_native_action_within_its_bounds():
    (found,) = rules('holds: "read:patient:allergy", grants: "retrieve-study;modality=CR,DX"')
    assert found.kind is Kind.PERMIT
    assert [str(pattern) for pattern in found.operations] == ["search:imaging:*", "retrieve:imaging:*"]
    assert to_cel(found.when) == ('"read:patient:allergy" in subject.permissions && resource.modality in ["CR", "DX"]')


@pytest.mark.parametrize(
    ("event", "does", "expected"),
    [
        (
            "view:result:critical",
            "notify:alert:priority=high",
            Obligation("permission-map-1-does", "notify", {"channel": "alert", "priority": "high"}),
        ),
        (
            "update:order:stat",
            "trigger:workflow:urgency=immediate",
            Obligation("permission-map-1-does", "trigger", {"workflow": "workflow", "urgency": "immediate"}),
        ),
    ],
)
def test_an_event_obliges(event: str, does: str, expected: Obligation):
    (found,) = rules(f'event: "{event}", does: "{does}"')
    assert found.kind is Kind.OBLIGE
    assert [str(pattern) for pattern in found.operations] == [event]
    assert found.obligations == (expected,)


def test_a_parameter_may_take_its_place_in_the_operations():
    (found,) = rules('holds: "read:patient", grants: "read-resource;type=vitals,allergy;status=active"')
    assert [str(pattern) for pattern in found.operations] == [
        "read:vitals:*",
        "search:vitals:*",
        "read:allergy:*",
        "search:allergy:*",
    ]
    assert to_cel(found.when) == '"read:patient" in subject.permissions && resource.status in ["active"]'


def test_a_rule_may_have_a_condition_and_an_id():
    (found,) = rules('id: mine, holds: "read:patient", grants: query-study, when: "subject.role == \'x\'"')
    assert found.id == "mine"
    assert to_cel(found.when) == '"read:patient" in subject.permissions && subject.role == "x"'


def test_a_map_is_the_institution_s_and_holds_everywhere_unless_it_says_otherwise():
    text = HEAD + "rules: []\n"
    (plain,) = read(text).policy_sets
    (other,) = read(text + "name: m\nlayer: provincial\njurisdiction: cn/zj\nversion: 2.0.0\n").policy_sets
    assert (plain.layer, plain.jurisdiction, plain.version) == (Layer.INSTITUTION, "", "1.0.0")
    assert (other.layer, other.jurisdiction, other.version) == (Layer.PROVINCIAL, "cn/zj", "2.0.0")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('holds: "read", grants: query-study', "is not an operation pattern"),
        ('holds: "raed:patient", grants: query-study', "did you mean `read`?"),
        ('holds: "read:patient:*", grants: query-study', "without `*`"),
        ('holds: "read:patient:allrgy", grants: query-study', "did you mean `allergy`?"),
        ('holds: "read:patient", grants: retreive-study', "did you mean `retrieve-study`?"),
        ('holds: "read:patient", grants: "query-study;modalty=CR"', "did you mean `modality`?"),
        ('holds: "read:patient", grants: "query-study;modality"', "write modality=value,value once"),
        ('holds: "read:patient", grants: "query-study;modality="', "malformed"),
        ('holds: "read:patient", grants: "query-study;modality=CR;modality=DX"', "once"),
        ('holds: "read:patient", grants: "read-resource;status=active"', "needs the parameter `type`"),
        ('holds: "read:patient", grants: "read-resource;type=vital"', "did you mean `vitals`?"),
        ('event: "view:result:critcal", does: "notify:alert"', "did you mean `critical`?"),
        ('event: "view:result:critical", does: "page:alert"', "an event can do notify or trigger"),
        ('event: "view:result:critical", does: "notify"', "write notify:name"),
        ('event: "view:result:critical", does: "notify:alert:prio=high"', "`notify` has no property `prio`"),
        ('event: "view:result:critical", does: "notify:alert:priority="', "write priority=value"),
        ('holds: "read:patient"', "a rule has `holds` and `grants`"),
        ('holds: "read:patient", does: "notify:alert"', "a rule has `holds` and `grants`"),
        ('holds: "read:patient", grant: query-study', "did you mean `grants`?"),
        ('holds: "read:patient", grants: query-study, when: "subject.rol == 1"', "is not declared"),
    ],
)
def test_a_wrong_rule_is_told_how(line: str, says: str):
    with pytest.raises(DocumentError) as caught:
        rules(line)
    assert says in str(caught.value)
    assert caught.value.location is not None and caught.value.location.line == 4


def test_the_default_can_only_be_deny():
    with pytest.raises(DocumentError, match="`default` must be deny"):
        read(HEAD + "rules: []\ndefault: permit\n")
