"""Decisions in the words of AuthZEN."""

from __future__ import annotations

import pytest

from adapters.authzen.answer import Verdict, answer, planned
from spir.model.condition import Attribute, Compare, Definitely, Literal
from spir.model.decision import ADMIT_ALL, Atom, Clause, Decision, Effect, Reason, Residual, Tied
from spir.model.obligation import Obligation
from spir.model.request import Request
from tests.given import DR_LI, NOON

MASK = Obligation("hide-phone", "mask", {"paths": ("patient.telecom",)})
MASKED = {"id": "hide-phone", "type": "mask", "properties": {"paths": ["patient.telecom"]}}
IS_CR = Definitely(Compare("==", Attribute("resource.modality"), Literal("CR")))
LEFT = Residual(IS_CR, (Clause((Atom("resource.modality", "==", "CR"),), ("p1",)),))
TREE = {
    "type": "compound",
    "operator": "or",
    "value": [
        {
            "type": "compound",
            "operator": "and",
            "value": [{"type": "field", "operator": "eq", "field": "resource.modality", "value": "CR"}],
            "policies": ["p1"],
            "exact": True,
        }
    ],
}


def asked(**context):
    return Request.build(DR_LI, "read:result", context=context)


def permit(**fields):
    return Decision(Effect.PERMIT, "read:result", ADMIT_ALL, **fields)


def test_a_plain_permit_is_true_and_nothing_more():
    assert answer(asked(), permit()) == {"decision": True}


def test_obligations_come_in_the_envelope_of_the_profile():
    assert answer(asked(), permit(obligations=(MASK,))) == {"decision": True, "context": {"obligations": [MASKED]}}


def test_the_moment_until_which_it_holds_is_said():
    said = answer(asked(), permit(valid_until=NOON))
    assert said == {"decision": True, "context": {"valid_until": "2026-11-21T12:00:00+00:00"}}


def test_a_deny_says_why():
    reason = Reason("denied-by", "policy `p` forbids it", "p", "national")
    assert answer(asked(), Decision(Effect.DENY, "read:result", reasons=(reason,))) == {
        "decision": False,
        "context": {
            "reasons": [
                {
                    "id": "0",
                    "reason_admin": {"en": "policy `p` forbids it"},
                    "code": "denied-by",
                    "policy": "p",
                    "layer": "national",
                }
            ]
        },
    }


def test_a_conditional_decision_is_false_and_says_on_what_it_depends():
    decision = Decision(Effect.CONDITIONAL, "read:result", LEFT, (MASK,))
    said = answer(asked(), decision)
    reason = {"id": "0", "reason_admin": {"en": "it depends on data that was not given"}, "code": "conditional"}
    assert said == {
        "decision": False,
        "context": {
            "conditional": True,
            "residual": TREE,
            "exact": True,
            "pending": [MASKED],
            "reasons": [reason],
        },
    }


@pytest.mark.parametrize(
    ("named", "permitted"), [(["mask"], True), (["notify"], False), ([], False), ("mask", False), ([7], False)]
)
def test_a_caller_that_names_what_it_can_do_is_not_permitted_what_needs_more(named, permitted):
    request = asked(obligations_supported=named)
    decision = permit(obligations=(MASK,))
    assert Verdict.of(request, decision).permitted is permitted
    said = answer(request, decision)
    assert said["decision"] is permitted
    codes = [reason["code"] for reason in said["context"].get("reasons", ())]
    assert codes == ([] if permitted else ["obligation-not-supported"])


def test_a_caller_that_names_nothing_is_permitted_what_needs_nothing():
    assert answer(asked(obligations_supported=[]), permit()) == {"decision": True}


def test_a_duty_that_depends_on_data_nobody_has_given_binds():
    assert answer(asked(), permit(tied=(Tied(IS_CR, MASK),))) == {
        "decision": True,
        "context": {"obligations": [MASKED]},
    }
    assert answer(asked(obligations_supported=[]), permit(tied=(Tied(IS_CR, MASK),)))["decision"] is False


def test_duties_that_ask_for_different_things_permit_nothing():
    weak, odd = (Obligation(name, "deidentify", {"profile": name}) for name in ("basic", "unheard-of"))
    said = answer(asked(), permit(obligations=(weak,), tied=(Tied(IS_CR, odd),)))
    assert said["decision"] is False
    assert [reason["code"] for reason in said["context"]["reasons"]] == ["obligations-conflict"]


def test_a_plan_says_all_that_is_left():
    decision = Decision(Effect.CONDITIONAL, "read:result", LEFT, (), (Tied(IS_CR, MASK),), bundle="b", facts=3)
    said = planned(decision, {"dicom": {"Modality": "CR"}})
    assert said == {
        **decision.to_json(),
        "residual": TREE,
        "exact": True,
        "condition": said["condition"],
        "tied": [{"obligation": MASKED, "condition": said["condition"]}],
        "pushdown": {"dicom": {"Modality": "CR"}},
    }
    assert 'resource.modality == "CR"' in said["condition"]
