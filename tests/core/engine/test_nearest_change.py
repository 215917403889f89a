"""The smallest change that flips an answer: found, worded, verified, and in a useful order."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import given, settings

from spir.embed import default_vocabulary
from spir.engine.attributes import NoFacts
from spir.engine.explain import explain
from spir.engine.reference import decide
from spir.engine.ruleset import RuleSet, Site
from spir.language.document import read_documents
from spir.model.facts import Snapshot
from spir.model.request import Entity, Request
from tests.core.engine.strategies import requests, rule_sets, snapshots
from tests.given import DR_LI, NOON

HEAD = 'spir: "1"\nkind: PolicySet\nname: a\nlayer: institution\njurisdiction: cn\nversion: 1.0.0\npolicies:\n'


def explained(policies: str, properties: dict, subject: Entity = DR_LI, at: datetime = NOON, **more):
    documents = read_documents({"a.yaml": HEAD + policies}, vocabulary_text=default_vocabulary())
    rules = RuleSet.of(documents.policy_sets, "", Site("cn", ZoneInfo("UTC")))
    request = Request.build(subject, "search:imaging", properties, **more)
    return explain(rules, request, NoFacts(), at, documents.vocabulary.enums())


def permit(when: str, more: str = "") -> str:
    return f"  - {{id: p, effect: permit, operations: ['search:imaging'], when: '{when}'{more}}}\n"


def test_a_modality_that_is_not_open_flips_to_one_that_is():
    found = explained(permit('resource.modality in ["CR", "DX"]'), {"modality": "MR"})
    assert str(found.change) == "would be permitted if resource.modality were CR"
    assert list(found.lines())[-1] == "  would be permitted if resource.modality were CR"
    assert found.to_json()["smallest_change"] == {
        "effect": "permit",
        "edits": [{"attribute": "resource.modality", "change": "were", "value": "CR"}],
        "text": "would be permitted if resource.modality were CR",
    }


def test_somebody_else_would_be_in_the_care_team():
    found = explained(permit("subject.id in resource.patient.care_team"), {"patient": {"id": "HIS|P001"}})
    assert str(found.change) == "would be permitted if resource.patient.care_team held dr.li"


def test_a_permit_flips_by_leaving_the_care_team():
    patient = {"id": "HIS|P001", "care_team": ["dr.li", "dr.chen"]}
    found = explained(permit("subject.id in resource.patient.care_team"), {"patient": patient})
    assert str(found.change) == "would be denied if resource.patient.care_team did not hold dr.li"


def test_the_person_is_changed_last():
    either = permit('subject.role == "nurse" || resource.modality == "CR"')
    assert str(explained(either, {"modality": "MR"}).change) == "would be permitted if resource.modality were CR"
    only = permit('subject.role == "nurse"')
    assert str(explained(only, {}).change) == "would be permitted if subject.role were nurse"


def test_two_changes_are_named_where_one_is_not_enough():
    found = explained(permit('resource.modality == "CR" && context.purpose == "TREAT"'), {"modality": "MR"})
    expected = "would be permitted if resource.modality were CR and context.purpose were TREAT"
    assert str(found.change) == expected


def test_a_value_of_an_enum_flips_what_names_another():
    deny = '  - {id: d, effect: deny, operations: ["*:*"], when: \'resource.patient.encounter_status == "finished"\'}\n'
    patient = {"id": "HIS|P001", "encounter_status": "finished"}
    found = explained(permit("true") + deny, {"patient": patient})
    assert str(found.change) == "would be permitted if resource.patient.encounter_status were planned"


def test_the_clock_is_a_change_too():
    night = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)
    found = explained(permit('time.between("08:00", "17:00")'), {}, at=night)
    assert str(found.change) == "would be permitted if context.now were 2026-11-21T08:00:00+00:00"


def test_a_validity_that_has_ended_is_named():
    ended = permit("true", ", valid: {until: '2026-01-01T00:00:00Z'}")
    found = explained(ended, {})
    assert str(found.change) == "would be permitted if context.now were 2025-12-31T23:59:59+00:00"


def test_a_missing_licence_would_have_to_be_there():
    require = "  - {id: r, effect: require, operations: ['*:*'], when: has(subject.license)}\n"
    found = explained(permit("true") + require, {})
    assert str(found.change) == "would be permitted if subject.license were present"


def test_what_waits_for_data_would_be_permitted_by_the_data():
    found = explained(permit('resource.modality == "CR"'), {}, deferred=["resource"])
    assert str(found.change) == "would be permitted if resource.modality were CR"


def test_nothing_is_said_where_nothing_helps():
    never = "  - {id: d, effect: deny, operations: ['*:*']}\n"
    found = explained(permit("true") + never, {})
    assert (found.change, found.to_json()["smallest_change"]) == (None, None)


def test_maps_in_conditions_are_no_candidates():
    found = explained(permit('resource.patient == {"id": "x"} || resource.modality == "CR"'), {"modality": "MR"})
    assert str(found.change) == "would be permitted if resource.modality were CR"


@settings(max_examples=30, deadline=None)
@given(rule_sets(), requests(), snapshots())
def test_whatever_is_asked_a_change_is_another_answer(rules: RuleSet, request: Request, facts: Snapshot):
    found = explain(rules, request, facts, NOON)
    assert found.change is None or found.change.effect is not found.decision.effect


def test_a_faster_engine_may_do_the_search():
    asked = []

    def faster(request, view, at):
        asked.append(request)
        return decide(rules, request, view, at)

    documents = read_documents(
        {"a.yaml": HEAD + permit('resource.modality == "CR"')}, vocabulary_text=default_vocabulary()
    )
    rules = RuleSet.of(documents.policy_sets, "", Site("cn"))
    request = Request.build(DR_LI, "search:imaging", {"modality": "MR"})
    found = explain(rules, request, NoFacts(), NOON, faster=faster)
    assert str(found.change) == "would be permitted if resource.modality were CR" and asked
