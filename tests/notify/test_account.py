"""The trail says that a delivery is over, how it went, and for whom; not what it said."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given

from adapters.notify.account import finished
from adapters.notify.channel import FhirTask, Webhook
from spir.record.canonical import body, encode
from spir.record.event import AuditEvent, EventKind, Outcome
from tests.given import NOON
from tests.notify.parcels import ALERT, parcel
from tests.notify.test_notice import BODIES

HOOK = Webhook("https://h/", b"key")
LATER = NOON + timedelta(seconds=9)


def test_a_delivery_is_recorded():
    assert finished(parcel(), HOOK, delivered=True, tries=2, problem="", now=LATER) == AuditEvent(
        time=LATER,
        kind=EventKind.NOTIFICATION,
        protocol="spir",
        operation="notify:alert",
        subject="spir",
        outcome=Outcome.SUCCESS,
        patients=("HIS|P001",),
        detail={
            "notification": "a1b2",
            "channel": "alert",
            "state": "delivered",
            "attempts": 2,
            "seconds": 9,
            "caused_by": "view:result:critical",
        },
    )


def test_what_was_given_up_is_an_error_with_its_problem():
    event = finished(parcel(), FhirTask("https://h"), delivered=False, tries=3, problem="answered 400", now=LATER)
    assert (event.protocol, event.outcome) == ("fhir", Outcome.ERROR)
    assert (event.detail["state"], event.detail["problem"]) == ("dead", "answered 400")


def test_no_patient_is_in_the_detail():
    sent = parcel({**ALERT, "operation": "read:HIS|P001", "order": "P001", "code": "P001", "message": "P001"})
    event = finished(sent, None, delivered=False, tries=0, problem="the channel is not configured", now=NOON)
    assert "P001" not in repr((event.detail, event.operation, event.subject))


@given(BODIES)
def test_any_body_gives_an_event_that_can_be_written(given):
    event = finished(parcel(given), HOOK, delivered=True, tries=1, problem="", now=NOON)
    assert encode(body(event))
