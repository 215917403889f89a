"""Who may call: identified, then permitted by policy, with default deny."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from adapters.authzen.gate import ANYBODY, Forbidden, Gate
from spir.errors import Unauthenticated
from spir.exchange import Credentials, Identity
from tests.authzen.given_pdp import PEP, GivenPdp
from tests.given import NOON, permit

EVALUATE, METRICS = "execute:policy:evaluate", "read:policy:metrics"
SECOND = timedelta(seconds=1)


def shown(bearer="pep", **more):
    return Credentials("pdp", more.pop("address", "10.0.0.9"), bearer=bearer, **more)


class AtTheGate:
    """A gate, asked as its callers ask it."""

    def __init__(self, port, open=False):
        self.gate = Gate(port, open, 2.0)

    def admit(self, credentials, permission, now):
        key = (credentials.bearer.encode(), credentials.certificate, credentials.address)
        return self.gate.admit(key, lambda: credentials, permission, now)


def gate(port, open=False):
    return AtTheGate(port, open)


def test_whoever_a_policy_permits_may_call():
    assert gate(GivenPdp()).admit(shown(), EVALUATE, NOON) == PEP


def test_the_engine_is_asked_with_the_operation_and_the_address():
    port = GivenPdp()
    gate(port).admit(shown(), EVALUATE, NOON)
    [asked] = port.asked
    assert (asked.operation, asked.subject, dict(asked.context)) == (
        EVALUATE,
        PEP,
        {"ip": "10.0.0.9", "protocol": "pdp"},
    )


def test_whoever_no_policy_permits_may_not():
    with pytest.raises(Forbidden) as caught:
        gate(GivenPdp()).admit(shown("guest"), EVALUATE, NOON)
    assert caught.value.caller.id == "guest" and caught.value.decision.denied


def test_one_permission_is_not_another():
    port = GivenPdp()
    port.documents = (
        port.documents[0].replace('["execute:policy", "read:policy:metrics"]', '["execute:policy:evaluate"]'),
    )
    found = gate(port)
    found.admit(shown(), EVALUATE, NOON)
    for other in (METRICS, "execute:policy:search", "execute:policy:explain"):
        with pytest.raises(Forbidden):
            found.admit(shown(), other, NOON)


def test_an_obligation_that_a_gate_cannot_carry_out_denies():
    port = GivenPdp()
    text = port.documents[0].replace(
        '    when: subject.type == "system" && subject.role == "enforcement"\n',
        '    when: subject.type == "system"\n    obligations: [{id: tell, type: notify, channel: alert}]\n',
    )
    port.documents = (text,)
    with pytest.raises(Forbidden):
        gate(port).admit(shown(), EVALUATE, NOON)


def test_nobody_is_let_in_without_credentials_or_with_wrong_ones():
    for bearer in ("", "forged"):
        with pytest.raises(Unauthenticated):
            gate(GivenPdp()).admit(shown(bearer), EVALUATE, NOON)


def test_an_identity_is_believed_for_a_moment_only():
    port = GivenPdp()
    found = gate(port)
    for seconds in (0, 1, 1.9, 2, 3):
        found.admit(shown(), EVALUATE, NOON + seconds * SECOND)
    assert len(port.shown) == 2


def test_an_identity_is_not_believed_beyond_its_end():
    port = GivenPdp()
    port.identify = lambda credentials: Identity(PEP, "given", NOON + SECOND)
    found = gate(port)
    found.admit(shown(), EVALUATE, NOON)
    with pytest.raises(Unauthenticated):
        found.admit(shown(), EVALUATE, NOON + SECOND)


def test_other_credentials_are_another_caller():
    port = GivenPdp()
    found = gate(port)
    for credentials in (shown(), shown(address="10.0.0.8"), shown(certificate=b"der")):
        found.admit(credentials, EVALUATE, NOON)
    assert len(port.shown) == 3


def test_whoever_leaves_the_directory_is_out_at_once():
    port = GivenPdp()
    found = gate(port)
    found.admit(shown(), EVALUATE, NOON)
    port.entities = {}
    with pytest.raises(Unauthenticated):
        found.admit(shown(), EVALUATE, NOON)


def test_a_permission_is_asked_for_again_when_facts_policies_or_time_have_moved_on():
    port = GivenPdp()
    port.rule = lambda request: (
        port.asked.append(request)
        or permit(request, bundle=port.bundle, facts=port.snapshot.revision, valid_until=NOON + SECOND)
    )
    found = gate(port)
    found.admit(shown(), EVALUATE, NOON)
    found.admit(shown(), EVALUATE, NOON)
    assert len(port.asked) == 1
    port.learn("HIS|P001", vip=True)
    found.admit(shown(), EVALUATE, NOON)
    assert len(port.asked) == 2
    port.rules = replace(port.rules, fingerprint="other")
    found.admit(shown(), EVALUATE, NOON)
    assert len(port.asked) == 3
    found.admit(shown(), EVALUATE, NOON + SECOND)
    assert len(port.asked) == 4


def test_an_open_gate_asks_nobody():
    port = GivenPdp()
    assert gate(port, open=True).admit(shown("forged"), EVALUATE, NOON) == ANYBODY
    assert (port.asked, port.shown) == ([], [])


def test_the_memory_of_callers_is_bounded():
    port = GivenPdp()
    found = gate(port)
    for number in range(1100):
        found.admit(shown(address=f"10.0.{number // 256}.{number % 256}"), EVALUATE, NOON)
    assert len(found.gate._callers) <= 1024 and len(found.gate._passes) <= 1024
