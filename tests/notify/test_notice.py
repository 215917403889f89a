"""A body is read whatever it lacks, and nothing is taken that was not meant."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.notify.notice import LONGEST, Coded, Notice, Order, read
from adapters.notify.tables import tables
from spir.exchange import Notification
from spir.model.value import freeze

KEYS = st.sampled_from(["code", "value", "id", "system", "placer", "filler"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["patient", "patients", "operation", "order", "orders", "code", "codes", "observations", "priority", "id", "x"]
)
BODIES = st.dictionaries(NAMES, JSON, max_size=8)


def about(body, priority="routine"):
    return read(Notification("alert", "notify", priority, body))


def test_a_whole_alert_is_read():
    body = {"patient": "HIS|P001", "operation": "view:result:critical", "code": "2823-3", "priority": "high"}
    assert about(body) == Notice("view:result:critical", ("HIS|P001",), (), (Coded("2823-3"),), "stat")


def test_a_workflow_names_its_order():
    body = {"patient": {"id": "HIS|P001"}, "operation": "update:order:stat", "order": "ORD1", "priority": "urgent"}
    assert about(body) == Notice("update:order:stat", ("HIS|P001",), (Order("ORD1"),), (), "urgent")


def test_an_alert_of_hl7_v2_is_read():
    orders = [{"placer": "ORD1", "filler": "F1", "code": "24323-8", "system": "LN"}, {"filler": "F2"}]
    body = {"observations": [{"code": "2823-3", "system": "LN", "flag": "HH"}], "orders": orders}
    notice = about(body)
    assert notice.orders == (Order("ORD1", "PLAC"), Order("F2", "FILL"))
    assert notice.codes == (Coded("2823-3", "http://loinc.org"), Coded("24323-8", "http://loinc.org"))


def test_codes_and_orders_keep_a_system_that_is_a_uri():
    body = {
        "order": {"system": "urn:oid:9", "value": "ORD1"},
        "code": [{"code": "2823-3", "system": "http://loinc.org"}, "K"],
    }
    notice = about(body)
    assert notice.orders == (Order("ORD1", "", "urn:oid:9"),)
    assert notice.codes == (Coded("2823-3", "http://loinc.org"), Coded("K"))


@pytest.mark.parametrize("system", ["a system", "99LOCAL", "L", "", 7, "http://a b"])
def test_what_is_no_known_system_is_left_out(system):
    assert about({"code": {"code": "K", "system": system}}).codes == (Coded("K"),)


def test_what_comes_twice_is_said_once():
    body = {"order": "ORD1", "orders": ["ORD1", "ORD2"], "code": "K", "codes": ["K"]}
    assert (about(body).orders, about(body).codes) == ((Order("ORD1"), Order("ORD2")), (Coded("K"),))


def test_patients_are_named_once():
    body = {"patient": "HIS|P1", "patients": ["HIS|P2", "HIS|P1", {"id": "HIS|P3"}, 7, None, ""]}
    assert about(body).patients == ("HIS|P1", "HIS|P2", "HIS|P3")


def test_nothing_at_all_is_a_notice_too():
    assert about({}) == Notice("", (), (), (), "routine")


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
    assert len(about({"code": "x" * 9999}).codes[0].code) == LONGEST


@given(BODIES, st.text())
def test_any_body_is_read(body, priority):
    notice = about(body, priority)
    assert notice.priority in tables().urgency
    assert all(isinstance(id, str) and id for id in notice.patients)
    assert all(one.code.isprintable() and one.code for one in notice.codes)
    assert all(one.number.isprintable() and one.number for one in notice.orders)


@given(BODIES)
def test_a_body_is_read_alike_before_and_after_the_outbox(body):
    stored = json.loads(json.dumps(body))
    assert about(stored) == about(freeze(stored))


def test_every_word_of_the_table_leads_to_a_priority_of_fhir():
    assert set(tables().urgency) == {"routine", "urgent", "asap", "stat"}
    assert set(tables().words.values()) <= set(tables().urgency)
