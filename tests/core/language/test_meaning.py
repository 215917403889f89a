"""The text that fingerprints are made over is the canonical JSON of what the policies mean, and stays what it was."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from spir.language.canonical import canonical
from spir.language.document import read_documents
from spir.language.meaning import mark
from spir.language.printer import to_cel
from spir.model.condition import FALSE, TRUE, And, Attribute, Call, Compare, Literal, Not, Or
from spir.model.obligation import Obligation
from spir.model.policy import Emergency, Kind, Layer, OnMissing, OperationPattern, Policy, PolicySet, Validity
from tests.core.language.given_documents import policy

SHARED = [
    Compare("==", Attribute("subject.trust"), Literal(0.0)),
    Compare("==", Attribute("subject.trust"), Literal(-0.0)),
    Not(Attribute("context.device_trusted")),
    Or((Attribute("resource.vip"), Compare("in", Literal("a"), Attribute("resource.labels")))),
    Call("size", (Attribute("subject.id"),)),
    Compare("<", Attribute("context.now"), Literal(datetime(2026, 1, 1, 8, tzinfo=timezone(timedelta(hours=8))))),
    Compare("<", Attribute("context.now"), Literal(datetime(2026, 1, 1, tzinfo=UTC))),
]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
words = st.sampled_from(["*", "read", "imaging", 'a"b\\', "\u4e2d"])
ands = st.lists(st.sampled_from(SHARED), min_size=2, max_size=4).map(lambda items: And(tuple(items)))
conditions = st.sampled_from([TRUE, FALSE, *SHARED]) | ands | ands.map(Not) | ands.map(lambda one: Or((one, TRUE)))
edges = st.none() | st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-3.5))]))
properties = st.dictionaries(texts, texts | st.integers() | st.lists(texts).map(tuple), max_size=2)
policies = st.builds(
    Policy,
    texts,
    st.sampled_from(Kind),
    st.lists(st.builds(OperationPattern, words, words, words), max_size=2).map(tuple),
    conditions,
    st.lists(st.builds(Obligation, texts, texts, properties.map(MappingProxyType)), max_size=2).map(tuple),
    st.builds(Validity, edges, edges),
    st.sampled_from(Emergency),
    st.sampled_from(OnMissing),
)
sets = st.builds(PolicySet, texts, st.sampled_from(Layer), texts, texts, st.lists(policies, max_size=4).map(tuple))


@given(sets)
@settings(max_examples=400, deadline=None)
def test_a_mark_is_over_the_canonical_json(found: PolicySet):
    assert mark(found) == hashlib.sha256(canonical(as_data(found)).encode()).hexdigest()


def as_data(found: PolicySet) -> dict[str, Any]:
    return {
        "name": found.name,
        "layer": found.layer.label,
        "jurisdiction": found.jurisdiction,
        "version": found.version,
        "policies": [
            {
                "id": one.id,
                "effect": one.kind.value,
                "operations": [str(pattern) for pattern in one.operations],
                "when": to_cel(one.when),
                "obligations": [obligation.to_json() for obligation in one.obligations],
                "valid": [edge.isoformat() if edge else None for edge in (one.valid.start, one.valid.end)],
                "emergency": one.emergency.value,
                "on_missing": one.on_missing.value,
            }
            for one in found.policies
        ],
    }


VOCABULARY = """\
spir: "1"
kind: Vocabulary
name: small
verbs: [read]
types: {imaging: [], result: [critical]}
attributes:
  subject.role: {type: string}
  subject.trust: {type: double, interval: [0, 1]}
  resource.labels: {type: "list<string>"}
"""
WHOLE = """\
id: a
effect: permit
operations: ["read:imaging", "read:result:critical"]
when: subject.role == 'physician' && subject.trust > 0.5 && (!("R" in resource.labels) || subject.trust == 1.0)
obligations: [{id: m, type: mask, paths: [patient.telecom]}]
valid: {from: "2026-01-01T00:00:00+08:00"}
emergency: overridable
"""


def test_a_fingerprint_is_what_it_was_when_decisions_were_recorded_with_it():
    """INVARIANT: whoever changes this figure makes the records and signed bundles of every site name nothing."""
    found = read_documents({"a.yaml": policy(WHOLE)}, vocabulary_text=VOCABULARY)
    assert found.fingerprint == "sha256:b0c47c38b1a359dd404437215e2cce3078fc12a0369145ee3d9c45be2abe53ce"
