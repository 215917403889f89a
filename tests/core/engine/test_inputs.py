"""What the audit trail keeps of a request: the facts that its rules can ask about, whichever view they come from."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from spir.embed import default_vocabulary
from spir.engine.attributes import NoFacts
from spir.engine.inputs import with_facts
from spir.engine.reference import decide
from spir.engine.ruleset import RuleSet, Site
from spir.language.document import read_documents
from spir.model.facts import Assert, Fact, FactStore
from spir.model.request import Action, Entity, Request
from tests.given import NOON

POLICIES = """\
spir: "1"
kind: PolicySet
name: hospital
layer: institution
jurisdiction: cn/test
version: 1.0.0
policies:
  - id: care-team
    effect: permit
    operations: ["read:result"]
    when: subject.role == "physician" && subject.id in resource.patient.care_team && resource.patient.vip != true
"""
READ = read_documents({"a.yaml": POLICIES}, vocabulary_text=default_vocabulary())
RULES = RuleSet.of(READ.policy_sets, READ.fingerprint, Site("cn/test"))


class Other:
    """A view that is no snapshot, with the same facts."""

    def __init__(self, view):
        self.view = view

    def __getattr__(self, name):
        return getattr(self.view, name)


EDGES = st.none() | st.integers(-2, 2).map(lambda hours: NOON + timedelta(hours=hours))
VALUES = {
    "care_team": st.lists(st.sampled_from(["dr.li", "dr.wu"]), max_size=2).map(tuple),
    "vip": st.booleans() | st.none(),
    "role": st.sampled_from(["physician", "nurse"]),
    "risk_level": st.just("high"),
}
FACTS = st.sampled_from(sorted(VALUES)).flatmap(
    lambda name: st.builds(
        lambda key, value, start, end: Fact(key, name, value, "test", NOON, valid_from=start, valid_until=end),
        st.sampled_from([("patient", "HIS|P1"), ("patient", "HIS|P2"), ("staff", "dr.li")]),
        VALUES[name],
        EDGES,
        EDGES,
    )
)
PATIENT = st.sampled_from(
    [{}, {"patient": {"id": "HIS|P1"}}, {"patient": "HIS|P1"}, {"patient": {"id": "HIS|P1", "vip": False}}]
)


def request(properties, own):
    return Request(Entity("person", "dr.li", own), Action("read"), Entity("result", "r1", properties))


@given(st.lists(FACTS, max_size=5), PATIENT, st.sampled_from([{}, {"role": "nurse"}]))
def test_what_is_kept_decides_as_the_facts_did(facts, properties, own):
    store = FactStore()
    store.apply(Assert(fact) for fact in facts)
    asked, view = request(properties, own), store.snapshot
    kept = with_facts(RULES, asked, view, NOON)
    assert kept == with_facts(RULES, asked, Other(view), NOON)
    assert decide(RULES, kept, NoFacts(), NOON).effect is decide(RULES, asked, view, NOON).effect
    assert with_facts(RULES, kept, view, NOON) is kept


def test_what_no_rule_asks_about_is_not_kept():
    store = FactStore()
    store.apply([Assert(Fact(("patient", "HIS|P1"), "risk_level", "high", "test", NOON))])
    asked = request({"patient": {"id": "HIS|P1"}}, {})
    assert with_facts(RULES, asked, store.snapshot, NOON) is asked
