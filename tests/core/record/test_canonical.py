"""The bytes of an audit event: the same for ever, and enough to decide again."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spir.errors import RequestError, SpirError
from spir.model.condition import TRUE
from spir.model.decision import Atom, Clause, Decision, Effect, Reason, Residual
from spir.model.obligation import Obligation
from spir.model.request import Entity, Request
from spir.model.value import freeze
from spir.record.canonical import body, decode, encode, pack, request_of, timestamp, unpack
from spir.record.event import AuditEvent, EventKind, Outcome
from tests.given import DR_LI, NOON

REQUEST = Request.build(
    DR_LI,
    "search:imaging:study",
    {"patient": {"id": "HIS|P1"}, "modality": "CR"},
    context={"protocol": "dicom", "risk": 0.25},
    deferred=["resource"],
)
DECISION = Decision(
    Effect.CONDITIONAL,
    "search:imaging:study",
    Residual(TRUE, (Clause((Atom("resource.modality", "in", ("CR", "DX")),), ("p1",)),)),
    obligations=(Obligation("m", "mask", {"paths": ("patient.telecom",)}),),
    matched=("p1",),
    reasons=(Reason("permit", "a policy permits", "p1", "institution"),),
    bundle="sha256:ab",
    facts=7,
    valid_until=NOON,
)
EVENT = AuditEvent(
    NOON,
    EventKind.DECISION,
    "dicom",
    "search:imaging:study",
    "dr.li",
    Outcome.PARTIAL,
    ("HIS|P1",),
    DECISION,
    REQUEST,
    {"rows": 3, "share": 0.5},
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=20)
    | st.timedeltas()
    | st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=8))]))
)
keys = st.text(max_size=5) | st.sampled_from(["$float", "$time", "$", "$$"])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
).map(freeze)


def test_the_bytes_never_change():
    assert encode(body(EVENT)).decode() == (
        '{"decision":{"bundle":"sha256:ab","effect":"conditional","facts":7,"matched":["p1"],"obligations":[{"id":"m",'
        '"properties":{"paths":["patient.telecom"]},"type":"mask"}],"operation":"search:imaging:study","reasons":'
        '[{"code":"permit","layer":"institution","policy":"p1","text":"a policy permits"}],"residual":[{"all":'
        '[{"attribute":"resource.modality","op":"in","value":["CR","DX"]}],"exact":true,"policies":["p1"]}],'
        '"valid_until":"2026-11-21T12:00:00.000000Z"},"detail":{"rows":3,"share":{"$float":"0.5"}},"kind":"decision",'
        '"operation":"search:imaging:study","outcome":"partial","patients":["HIS|P1"],"protocol":"dicom","request":'
        '{"action":{"name":"search"},"context":{"protocol":"dicom","risk":{"$float":"0.25"}},"deferred":["resource"],'
        '"resource":{"id":"","properties":{"category":"study","modality":"CR","patient":{"id":"HIS|P1"}},"type":'
        '"imaging"},"subject":{"id":"dr.li","properties":{"department":"cardiology","role":"physician"},"type":"person"}},'
        '"subject":"dr.li","time":"2026-11-21T12:00:00.000000Z","v":1}'
    )


def test_the_request_comes_back_as_it_was():
    assert request_of(decode(encode(body(EVENT)))) == REQUEST
    assert request_of({"kind": "lifecycle"}) is None


def test_an_event_of_nothing_but_what_must_be_is_short():
    event = AuditEvent(NOON, EventKind.LIFECYCLE, "spir", "start", "spir", Outcome.SUCCESS)
    assert sorted(body(event)) == ["kind", "operation", "outcome", "protocol", "subject", "time", "v"]


@given(values)
def test_every_value_comes_back_from_its_bytes(value: object):
    assert unpack(decode(encode(pack(value)))) == value


@given(values)
def test_bytes_do_not_depend_on_who_writes_them(value: object):
    packed = pack(value)
    mine = encode(packed)
    assert encode(decode(mine)) == mine
    try:
        theirs = orjson.dumps(packed, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return  # lone surrogates, which orjson does not write
    assert theirs == mine


def test_order_of_keys_and_of_sets_does_not_show():
    assert encode(pack({"b": 1, "a": 2})) == encode(pack({"a": 2, "b": 1})) == b'{"a":2,"b":1}'
    assert pack(frozenset({"b", "a"})) == ["a", "b"]


def test_times_of_all_zones_read_alike():
    east = datetime(2026, 11, 21, 20, 0, tzinfo=timezone(timedelta(hours=8)))
    assert timestamp(east) == timestamp(NOON) == "2026-11-21T12:00:00.000000Z"


def test_what_is_no_value_is_refused():
    with pytest.raises(RequestError):
        pack(object())


@pytest.mark.parametrize(
    "record",
    [
        {"request": 1},
        {"request": {}},
        {"request": {"subject": 1, "action": 2, "resource": 3}},
        {"request": {"$float": "x"}},
        {"request": {"$time": 3}},
        {"request": {"$microseconds": 10**30}},
    ],
)
def test_a_record_with_a_broken_request_is_refused(record: dict[str, object]):
    with pytest.raises(RequestError):
        request_of(record)


@given(st.text() | st.binary())
def test_any_text_is_read_or_refused(text: str | bytes):
    with contextlib.suppress(SpirError):
        unpack(decode(text))


def test_nesting_without_end_is_refused():
    with pytest.raises(RequestError):
        decode("[" * 100_000)


def test_a_subject_without_properties_comes_back():
    request = Request.build(Entity("system", "HIS"), "update:patient:merge")
    event = AuditEvent(
        NOON, EventKind.MESSAGE, "hl7v2", "update:patient:merge", "HIS", Outcome.SUCCESS, request=request
    )
    assert request_of(decode(encode(body(event)))) == request
