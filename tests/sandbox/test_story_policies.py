"""The story's documents decide what the story says: CR, DX and the masked chart during the stay, nothing outside it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from adapters.identity.directory import Directory
from adapters.sandbox.patients import STAFF
from spir.embed import Engine
from spir.model.decision import Effect
from spir.model.facts import Assert, Fact, FactStore
from spir.model.request import Entity, Request

POLICIES = Path(__file__).parents[2] / "fixtures" / "policies"
STAFF_FILE = POLICIES / "staff.yaml"
DIRECTORY = {entry["id"]: entry for entry in yaml.safe_load(STAFF_FILE.read_text("utf-8"))}

ADMITTED = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
NOW = ADMITTED + timedelta(hours=1)
P001 = {"patient": {"id": "HIS|P001"}}
CHART = ("patient", "encounter", "allergy", "result", "vitals", "prescription", "order", "report")
MASKED = ("patient.address", "patient.telecom")


def who(id: str) -> Entity:
    entry = DIRECTORY[id]
    return Entity(
        entry.get("type", "person"), id, Request.build(Entity("x", "x"), "a:b", entry["properties"]).resource.properties
    )


def facts(status: str | None, *team: str) -> FactStore:
    """P001 in visit V1 with this status and care team; no facts at all for None."""
    store = FactStore()
    values = {} if status is None else {"encounter_status": status, "care_team": tuple(team)}
    key = ("patient", "HIS|P001")
    store.apply(Assert(Fact(key, name, value, "his", ADMITTED, "visit:V1")) for name, value in values.items())
    return store


BEFORE = facts(None)
ADMISSION = facts("in-progress", "dr.li", "nurse.sun", "tech.qian")
DISCHARGED = facts("finished", "dr.li")


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load(POLICIES / "story", organization="cn/zj/hospital-a", timezone="Asia/Shanghai")


def ruled(engine: Engine, store: FactStore, subject: str, operation: str, deferred: bool = False, **properties):
    context = {"protocol": "test"}
    request = Request.build(
        who(subject), operation, properties, context=context, deferred=("resource",) if deferred else ()
    )
    return engine.rule(request, store.snapshot, NOW)


def effect(engine: Engine, store: FactStore, subject: str, operation: str, **properties) -> Effect:
    return ruled(engine, store, subject, operation, **properties).decision.effect


def seen(engine: Engine, store: FactStore, subject: str, operation: str) -> set[str]:
    """The modalities that a query over all patients shows of P001."""
    ruling = ruled(engine, store, subject, operation, deferred=True)
    return {name for name in ("CR", "DX", "CT", "MR", "US", "SR") if ruling.admit({**P001, "modality": name}).admitted}


@pytest.mark.parametrize("operation", ["search:imaging", "retrieve:imaging", "search:imaging:study"])
@pytest.mark.parametrize(("store", "modalities"), [(BEFORE, set()), (ADMISSION, {"CR", "DX"}), (DISCHARGED, set())])
def test_the_attending_doctor_sees_cr_and_dx_during_the_stay_only(engine, operation, store, modalities):
    assert seen(engine, store, "dr.li", operation) == modalities


def test_a_query_for_one_patient_is_left_with_the_modality(engine):
    ruling = ruled(engine, ADMISSION, "dr.li", "search:imaging", deferred=True, **P001)
    assert ruling.decision.effect is Effect.CONDITIONAL
    assert ruling.decision.residual.allowed("resource.modality") == {"CR", "DX"}


def test_a_query_over_all_patients_is_narrowed_to_the_doctors_own(engine):
    ruling = ruled(engine, ADMISSION, "dr.li", "search:imaging", deferred=True)
    assert ruling.decision.residual.allowed("resource.patient.id") == {"HIS|P001"}


def test_before_admission_there_is_nothing_to_ask_for(engine):
    ruling = ruled(engine, BEFORE, "dr.li", "search:imaging", deferred=True)
    assert ruling.decision.denied or ruling.decision.residual.allowed("resource.patient.id") == frozenset()


@pytest.mark.parametrize("type", CHART)
@pytest.mark.parametrize("verb", ["read", "search"])
def test_the_chart_is_open_during_the_stay_with_contacts_masked(engine, verb, type):
    decision = ruled(engine, ADMISSION, "dr.li", f"{verb}:{type}", **P001).decision
    masks = [tuple(sorted(o.properties["paths"])) for o in decision.obligations if o.type == "mask"]
    assert (decision.effect, masks) == (Effect.PERMIT, [MASKED])


@pytest.mark.parametrize("type", CHART)
@pytest.mark.parametrize("store", [BEFORE, DISCHARGED])
def test_the_chart_is_closed_before_and_after(engine, store, type):
    assert effect(engine, store, "dr.li", f"read:{type}", **P001) is Effect.DENY


@pytest.mark.parametrize(("modality", "answer"), [("CR", Effect.PERMIT), ("CT", Effect.DENY)])
def test_the_record_of_a_study_is_open_for_the_same_modalities(engine, modality, answer):
    assert effect(engine, ADMISSION, "dr.li", "read:imaging", modality=modality, **P001) is answer


@pytest.mark.parametrize("subject", ["dr.chen", "dr.zhao", "nurse.sun", "tech.qian", "HIS"])
def test_nobody_else_sees_images(engine, subject):
    assert seen(engine, ADMISSION, subject, "search:imaging") == set()


def test_a_consulted_doctor_without_the_permission_reads_the_chart_but_no_images(engine):
    store = facts("in-progress", "dr.li", "dr.zhao")
    assert effect(engine, store, "dr.zhao", "read:allergy", **P001) is Effect.PERMIT
    assert seen(engine, store, "dr.zhao", "search:imaging") == set()


def test_a_nurse_of_the_care_team_does_vitals_and_reads_no_results(engine):
    answers = [
        effect(engine, ADMISSION, "nurse.sun", o, **P001) for o in ("create:vitals", "read:allergy", "read:result")
    ]
    assert answers == [Effect.PERMIT, Effect.PERMIT, Effect.DENY]


def test_without_a_licence_nobody_acts_in_a_clinical_role(engine):
    unlicensed = Entity("person", "dr.li", {"role": "physician", "permissions": ("read:patient:allergy",)})
    decision = engine.decide(Request.build(unlicensed, "read:allergy", P001), ADMISSION.snapshot, NOW)
    assert decision.denied


@pytest.mark.parametrize(
    "operation",
    [
        *(
            f"update:encounter:{event}"
            for event in ("admit", "transfer", "discharge", "update", "cancel-admit", "attending")
        ),
        *(
            "update:patient:merge",
            "update:order:stat",
            "update:order:routine",
            "view:result:critical",
            "view:result:routine",
        ),
    ],
)
def test_the_his_may_say_what_happened(engine, operation):
    assert effect(engine, BEFORE, "HIS", operation, **P001) is Effect.PERMIT


@pytest.mark.parametrize(
    "operation", ["read:patient", "search:imaging", "view:report", "export:report", "update:patient"]
)
def test_the_his_may_do_nothing_else(engine, operation):
    assert effect(engine, ADMISSION, "HIS", operation, **P001) is Effect.DENY


@pytest.mark.parametrize(
    ("operation", "duty"),
    [
        ("view:result:critical", {"type": "notify", "channel": "alert", "priority": "high"}),
        ("update:order:stat", {"type": "trigger", "workflow": "workflow", "urgency": "immediate"}),
        ("view:result:routine", None),
        ("update:order:routine", None),
    ],
)
def test_the_mapping_rules_oblige_who_lets_an_event_through(engine, operation, duty):
    decision = ruled(engine, BEFORE, "HIS", operation, **P001).decision
    assert [{"type": o.type, **o.properties} for o in decision.obligations] == ([duty] if duty else [])


@pytest.mark.parametrize("operation", ["export:report", "export:imaging:study", "export:report:deidentified"])
def test_nothing_is_exported(engine, operation):
    assert effect(engine, ADMISSION, "dr.li", operation, **P001) is Effect.DENY


def test_the_directory_and_the_invented_staff_are_the_same_people():
    numbers = {entry["id"]: entry["hl7v2"][0] for entry in DIRECTORY.values() if entry.get("type") != "system"}
    assert numbers == {member.id: member.number for member in STAFF}


def test_the_directory_is_one_that_the_gateway_reads():
    held = Directory.parse(STAFF_FILE.read_text("utf-8"), "staff.yaml")
    assert set(held.entities) == set(DIRECTORY)
    assert (held.staff("hl7v2", "1001"), held.staff("ae_titles", "VIEWER1")) == ("dr.li", "dr.li")
    assert held.entities["HIS"].type == "system" and held.entities["dr.li"] == who("dr.li")
