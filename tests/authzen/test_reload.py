"""Having the policies read again over HTTP: who may, what is answered, what is recorded, and what stays in force."""

from __future__ import annotations

import asyncio

import pytest

from spir.record.event import EventKind, Outcome
from tests.authzen.given_pdp import POLICIES, GivenPdp, ask, call, evaluation, pdp

RELOAD = "/v1/reload"
OTHER = POLICIES.replace("care-team-reads", "care-teams-read")


def test_what_is_put_in_force_decides_the_next_call():
    port = GivenPdp(coming=(OTHER,))
    app, before = pdp(port), port.bundle
    reply = call(app, "POST", RELOAD, {}, bearer="ops")
    assert (reply.status, reply.json) == (
        200,
        {"changed": True, "bundle": port.bundle, "generation": 1, "problems": {}},
    )
    assert before != port.bundle == reply.headers["x-policy-version"]
    assert call(app, "POST", "/access/v1/evaluation", evaluation()).headers["x-policy-version"] == port.bundle


def test_nothing_new_changes_nothing():
    port = GivenPdp()
    assert call(pdp(port), "POST", RELOAD, {}, bearer="ops").json == {
        "changed": False,
        "bundle": port.bundle,
        "generation": 0,
        "problems": {},
    }


def test_what_is_refused_is_said_and_leaves_the_old_ones_in_force():
    port = GivenPdp(coming=("spir: 2",), refusing={"policies": "a.yaml:1:1: this is no document"})
    before = port.bundle
    reply = call(pdp(port), "POST", RELOAD, {}, bearer="ops")
    assert (reply.status, reply.json["error"]) == (422, {"status": 422, "message": port.refusing["policies"]})
    assert (reply.json["changed"], reply.json["bundle"]) == (False, before)
    [event] = port.events
    assert (event.kind, event.outcome, event.operation) == (EventKind.LIFECYCLE, Outcome.ERROR, "update:policy:reload")


def test_it_is_recorded_with_who_had_it_done_before_it_is_answered():
    port = GivenPdp(coming=(OTHER,))
    call(pdp(port), "POST", RELOAD, {}, bearer="ops")
    [event] = port.events
    assert (event.subject, event.outcome, event.detail["service"]) == ("ops", Outcome.SUCCESS, "reload")
    assert (event.detail["bundle"], event.detail["generation"]) == (port.bundle, 1)
    port.broken = True
    assert call(pdp(port), "POST", RELOAD, {}, bearer="ops").status == 503


@pytest.mark.parametrize(("bearer", "status"), [("", 401), ("forged", 401), ("guest", 403), ("pep", 403)])
def test_only_whom_a_policy_permits_it_may_have_it_done(bearer, status):
    """Not even somebody who may ask for decisions."""
    port = GivenPdp(coming=(OTHER,))
    before = port.bundle
    assert call(pdp(port), "POST", RELOAD, {}, bearer=bearer).status == status
    assert (port.bundle, port.coming) == (before, (OTHER,))


def test_where_everybody_may_ask_nobody_may_have_it_done():
    port = GivenPdp(coming=(OTHER,))
    reply = call(pdp(port, open=True), "POST", RELOAD, {}, bearer="ops")
    assert reply.status == 403 and "SIGHUP" in reply.json["error"]["message"]


@pytest.mark.parametrize(
    ("raw", "type"), [(b"", "application/json"), (b"[]", "application/json"), (b"{}", "text/plain")]
)
def test_it_is_no_accident(raw, type):
    """A page in a browser cannot send this type to another place unasked."""
    port = GivenPdp(coming=(OTHER,))
    assert call(pdp(port), "POST", RELOAD, raw, bearer="ops", type=type).status == 400
    assert port.generation == 0


def test_one_at_a_time():
    port = GivenPdp(coming=(OTHER,))

    async def run():
        app = pdp(port)
        replies = await asyncio.gather(*(ask(app, "POST", RELOAD, {}, bearer="ops") for _ in range(5)))
        return [reply.status for reply in replies], (await ask(app, "POST", RELOAD, {}, bearer="ops")).status

    at_once, later = asyncio.run(run())
    assert sorted(at_once) == [200, 409, 409, 409, 409] and later == 200
