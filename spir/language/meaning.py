"""What policy sets mean, in one form: the text that fingerprints are made over.

It is the canonical JSON (`spir.language.canonical`) of

    {name, layer, jurisdiction, version, policies: [
        {id, effect, operations, when, obligations, valid, emergency, on_missing}]}

INVARIANT: the text of what was read before never changes, as recorded decisions
and signed bundles name fingerprints. It is written out here key by key, so that
the fields are visibly in their order, and in a fraction of the time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from json.encoder import encode_basestring as _quoted

from spir.language.canonical import canonical
from spir.language.contents import LANGUAGE
from spir.language.printer import conjunct_to_cel, to_cel
from spir.language.vocabulary import Vocabulary
from spir.model.condition import And, Condition
from spir.model.policy import Policy, PolicySet

__all__ = ["fingerprint", "mark"]


def fingerprint(marks: Iterable[str], vocabulary: Vocabulary) -> str:
    """Over the marks of the policy sets: a set that has not changed need not be written out again."""
    whole = {"spir": LANGUAGE, "vocabulary": vocabulary.to_json(), "policy_sets": sorted(marks)}
    return f"sha256:{_digest(canonical(whole))}"


def mark(found: PolicySet) -> str:
    """The digest of what it means."""
    when = _Conditions().text
    policies = ",".join([_policy(policy, when(policy.when)) for policy in found.policies])
    return _digest(
        f'{{"jurisdiction":{_quoted(found.jurisdiction)},"layer":{_quoted(found.layer.label)},'
        f'"name":{_quoted(found.name)},"policies":[{policies}],"version":{_quoted(found.version)}}}'
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _policy(policy: Policy, when: str) -> str:
    operations = ",".join([_quoted(str(pattern)) for pattern in policy.operations])
    obligations = canonical([one.to_json() for one in policy.obligations]) if policy.obligations else "[]"
    return (
        f'{{"effect":"{policy.kind.value}","emergency":"{policy.emergency.value}","id":{_quoted(policy.id)},'
        f'"obligations":{obligations},"on_missing":"{policy.on_missing.value}","operations":[{operations}],'
        f'"valid":[{_edge(policy.valid.start)},{_edge(policy.valid.end)}],"when":{_quoted(when)}}}'
    )


def _edge(edge: datetime | None) -> str:
    return f'"{edge.isoformat()}"' if edge else "null"


class _Conditions:
    """Conditions as CEL. What stands in many of them, as the reader gives it, is written once."""

    def __init__(self) -> None:
        # by identity, as equal ones may be written differently (0.0 and -0.0); the policies keep them meanwhile
        self._known: dict[int, str] = {}

    def text(self, condition: Condition) -> str:
        if not isinstance(condition, And):
            return to_cel(condition)
        return " && ".join([self._known.get(id(item)) or self._part(item) for item in condition.items])

    def _part(self, item: Condition) -> str:
        found = self._known[id(item)] = conjunct_to_cel(item)
        return found
