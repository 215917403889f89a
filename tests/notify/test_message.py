"""Requests: what is signed is what counts, and a repetition can be known as one."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.notify.channel import FhirCommunication, FhirTask, Webhook
from adapters.notify.message import ID, SIGNATURE, TIMESTAMP, signature, write
from adapters.sandbox import hook
from spir.errors import RequestError, SpirError
from tests.given import HIS, NOON
from tests.notify.parcels import ALERT, parcel
from tests.notify.test_notice import BODIES

HOOK = Webhook("http://127.0.0.1:9000/alerts", b"invented")
LATER = NOON + timedelta(seconds=5)


def test_a_webhook_gets_the_notification_in_an_envelope():
    message = write(HOOK, parcel(attempts=2), HIS, LATER)
    assert (message.method, message.url) == ("POST", "http://127.0.0.1:9000/alerts")
    assert json.loads(message.body) == {
        "id": "a1b2",
        "timestamp": "2026-11-21T12:00:05.000000Z",
        "channel": "alert",
        "kind": "notify",
        "priority": "high",
        "created": "2026-11-21T12:00:00.000000Z",
        "attempt": 3,
        "body": ALERT,
    }


def test_its_headers_say_nothing_that_is_not_signed():
    message = write(HOOK, parcel(), HIS, LATER)
    assert message.headers == {
        "Content-Type": "application/json",
        ID: "a1b2",
        "Idempotency-Key": "a1b2",
        TIMESTAMP: "2026-11-21T12:00:05.000000Z",
        SIGNATURE: signature(b"invented", message.body),
    }
    assert json.loads(message.body)["timestamp"] == message.headers[TIMESTAMP]
    assert json.loads(message.body)["id"] == message.headers[ID]


@given(st.binary(min_size=1), st.binary())
def test_the_signature_is_the_one_that_receivers_check(secret, body):
    assert (SIGNATURE, signature(secret, body)) == (hook.SIGNATURE, hook.signature(secret, body))


@pytest.mark.parametrize("kind, channel", [("Task", FhirTask), ("Communication", FhirCommunication)])
def test_a_fhir_resource_is_put_under_an_id_of_its_own_and_overwrites_nothing(kind, channel):
    message = write(channel("https://emr.example/fhir/"), parcel(), HIS, LATER)
    assert (message.method, message.url) == ("PUT", f"https://emr.example/fhir/{kind}/spir-a1b2")
    assert message.headers["If-None-Match"] == "*"
    assert (message.probe, message.present) == (message.url, {412})
    assert json.loads(message.body)["resourceType"] == kind


def test_configured_headers_go_with_it_but_do_not_change_what_it_is():
    channel = FhirTask("https://h", {"Authorization": "Bearer t", "content-type": "text/plain", "if-none-match": "x"})
    headers = write(channel, parcel(), HIS, NOON).headers
    assert headers == {
        "Authorization": "Bearer t",
        "Content-Type": "application/fhir+json",
        "Accept": "application/fhir+json",
        "Prefer": "return=minimal",
        "If-None-Match": "*",
    }


def test_a_request_does_not_show_what_it_says():
    assert "P001" not in repr(write(HOOK, parcel(), HIS, NOON))


def test_what_is_not_json_is_refused():
    with pytest.raises(RequestError):
        write(HOOK, parcel({"time": float("nan")}), HIS, NOON)


@given(BODIES)
def test_any_body_becomes_signed_ascii_or_our_error(body):
    try:
        message = write(HOOK, parcel(body), HIS, NOON)
    except SpirError:
        return
    assert message.body.isascii() and json.loads(message.body)["body"] == body
