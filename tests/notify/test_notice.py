"""A body is read whatever it lacks, and nothing is taken that was not meant."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.notify.notice import LONGEST, URGENCY, Coded, Notice, read
from spir.exchange import Notification
from spir.model.value import freeze

KEYS = st.sampled_from(["code", "value", "id", "system"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["patient", "patients", "operation", "order", "code", "codes", "priority", "id", "x"])
BODIES = st.dictionaries(NAMES, JSON, max_size=8)


def about(body, priority="routine"):
    return read(Notification("alert", "notify", priority, body))


def test_a_whole_alert_is_read():
    body = {"patient": "HIS|P001", "operation": "view:result:critical", "code": "2823-3", "priority": "high"}
    assert about(body) == Notice("view:result:critical", ("HIS|P001",), None, (Coded("2823-3"),), "stat")


def test_a_workflow_names_its_order():
    body = {"patient": {"id": "HIS|P001"}, "operation": "update:order:stat", "order": "ORD1", "priority": "urgent"}
    assert about(body) == Notice("update:order:stat", ("HIS|P001",), Coded("ORD1"), (), "urgent")


def test_codes_and_orders_keep_their_system():
    body = {
        "order": {"system": "urn:oid:9", "value": "ORD1"},
        "code": [{"code": "2823-3", "system": "http://loinc.org"}, "K"],
    }
    notice = about(body)
    assert (notice.order, notice.codes) == (
        Coded("ORD1", "urn:oid:9"),
        (Coded("2823-3", "http://loinc.org"), Coded("K")),
    )


def test_a_system_with_white_space_is_none():
    assert about({"code": {"code": "K", "system": "a system"}}).codes == (Coded("K"),)


def test_patients_are_named_once():
    body = {"patient": "HIS|P1", "patients": ["HIS|P2", "HIS|P1", {"id": "HIS|P3"}, 7, None, ""]}
    assert about(body).patients == ("HIS|P1", "HIS|P2", "HIS|P3")


def test_nothing_at_all_is_a_notice_too():
    assert about({}) == Notice("", (), None, (), "routine")


@pytest.mark.parametrize(
    "text", ["Doe^John", "read:patient:P 001", "view:", ":x", "VIEW:result", "a:b:c:d", 7, None, "view:result\n"]
)
def test_what_is_no_operation_code_is_left_out(text):
    assert about({"operation": text}).operation == ""


@pytest.mark.parametrize(
    "word, priority",
    [
        ("immediate", "stat"),
        ("STAT", "stat"),
        ("high", "stat"),
        ("urgent", "urgent"),
        ("asap", "asap"),
        ("routine", "routine"),
        ("low", "routine"),
        ("", "routine"),
    ],
)
def test_urgency_becomes_a_fhir_priority(word, priority):
    assert about({}, word).priority == about({"priority": word}).priority == priority


def test_the_more_pressing_of_two_words_counts():
    assert about({"priority": "immediate"}, "routine").priority == about({"priority": "routine"}, "immediate").priority


def test_codes_are_one_short_printable_line():
    assert about({"code": "28\r\n23\u202e-3\ud800 "}).codes == (Coded("28 23 -3"),)
    assert len(about({"code": "x" * 9999}).codes[0].value) == LONGEST


@given(BODIES, st.text())
def test_any_body_is_read(body, priority):
    notice = about(body, priority)
    assert notice.priority in URGENCY
    assert all(isinstance(id, str) and id for id in notice.patients)
    assert all(code.value.isprintable() and code.value for code in notice.codes)


@given(BODIES)
def test_a_body_is_read_alike_before_and_after_the_outbox(body):
    stored = json.loads(json.dumps(body))
    assert about(stored) == about(freeze(stored))
