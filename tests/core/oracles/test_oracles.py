"""The engine against Cedar and Rego: the same policies, the same requests, three opinions.

On complete requests all three must agree, policy by policy. Where attributes
are missing they may not: then we must never permit what they deny, and what
they permit and we refuse is counted, and must be refused because of what is
missing. `SPIR_ORACLE_SETS` asks for more policy sets than the ordinary run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from spir.engine.reference import decide
from spir.engine.ruleset import RuleSet
from spir.model.condition import And, Attribute, Compare, Literal
from spir.model.decision import Decision
from spir.model.facts import empty_snapshot
from spir.model.policy import Kind, Layer, OnMissing, OperationPattern, Policy, PolicySet
from spir.model.request import Entity, Request
from tests.core.oracles.cedar import Cedar
from tests.core.oracles.peer import Opinion
from tests.core.oracles.random_policies import RandomPolicies
from tests.core.oracles.rego import Rego
from tests.given import NOON

SETS = int(os.environ.get("SPIR_ORACLE_SETS", "300"))
REQUESTS = 20
NO_FACTS = empty_snapshot()
PEERS = pytest.mark.parametrize("peer", (Cedar, Rego), ids=("cedar", "rego"))

Peer = type[Cedar] | type[Rego]


@dataclass(frozen=True)
class Case:
    seed: int
    peer: Peer
    rules: RuleSet
    request: Request
    ours: Decision
    theirs: Opinion

    def kind(self, id: str) -> Kind:
        policy = self.rules.policy(id)
        assert policy is not None
        return policy.kind

    @property
    def permits(self) -> frozenset[str]:
        return frozenset(id for id in self.ours.matched if self.kind(id) is Kind.PERMIT)

    @property
    def forbids(self) -> frozenset[str]:
        """Denies that hold and requires that do not."""
        codes = ("denied", "requirement-not-met")
        return frozenset(reason.policy for reason in self.ours.reasons if reason.code in codes)

    @property
    def undecided(self) -> frozenset[str]:
        return frozenset(reason.policy for reason in self.ours.reasons if reason.code == "indeterminate")


@dataclass
class Count:
    """How our decisions compare with a peer's on requests that lack something."""

    asked: int = 0
    we_permit: int = 0
    they_permit_we_refuse: int = 0
    we_permit_they_refuse: int = 0

    def add(self, case: Case) -> None:
        self.asked += 1
        self.we_permit += case.ours.permitted
        self.they_permit_we_refuse += case.theirs.permitted and not case.ours.permitted
        self.we_permit_they_refuse += case.ours.permitted and not case.theirs.permitted


def cases(
    absent: Callable[[RandomPolicies], int], peers: tuple[Peer, ...] = (Cedar, Rego), lenient: bool = False
) -> Iterator[Case]:
    """Each request once with the opinion of each peer; `absent` says how many attributes a request lacks."""
    for seed in range(SETS):
        source = RandomPolicies(seed, lenient=lenient)
        rules = source.rules()
        requests = [source.request(absent(source)) for _ in range(REQUESTS)]
        decisions = [decide(rules, request, NO_FACTS, NOON) for request in requests]
        for peer in peers:
            opinions = peer(rules).opinions(requests)
            for request, ours, theirs in zip(requests, decisions, opinions, strict=True):
                yield Case(seed, peer, rules, request, ours, theirs)


def complete(source: RandomPolicies) -> int:
    return 0


def incomplete(source: RandomPolicies) -> int:
    return source.choose((1, 1, 2, 4))


def test_complete_requests_are_decided_alike_policy_by_policy() -> None:
    permitted = denied = 0
    for case in cases(complete):
        assert case.ours.permitted is case.theirs.permitted, case
        assert case.forbids == case.theirs.forbids, case
        assert case.theirs.permits is None or case.permits == case.theirs.permits, case
        assert not case.ours.unknowns and not case.theirs.skipped, case
        permitted, denied = permitted + case.ours.permitted, denied + case.ours.denied
    assert permitted > SETS and denied > SETS  # otherwise the sets say too little


def test_what_is_missing_never_lets_us_permit_what_they_deny() -> None:
    counts = {Cedar: Count(), Rego: Count()}
    for case in cases(incomplete):
        counts[case.peer].add(case)
        if case.theirs.permitted and not case.ours.permitted:
            # INVARIANT: only for what is missing do we refuse what they permit: a deny that is undecided,
            # or one that Cedar skipped although `missing || true` is true
            assert case.undecided | case.forbids and case.forbids <= case.theirs.skipped, case
        if case.ours.permitted and not case.theirs.permitted:
            # Cedar skipped a permit whose `missing || true` is true, and so grants nothing; that is no deny
            assert case.permits and case.permits <= case.theirs.skipped and not case.theirs.forbids, case
    for peer, count in counts.items():
        print(f"{peer.__name__}: {count}")
        assert count.they_permit_we_refuse > 0 and count.we_permit > 0
    assert counts[Rego].we_permit_they_refuse == 0


def test_told_to_ignore_what_is_missing_we_decide_as_rego_does() -> None:
    for case in cases(incomplete, (Rego,), lenient=True):
        assert case.ours.permitted is case.theirs.permitted, case
        assert (case.permits, case.forbids) == (case.theirs.permits, case.theirs.forbids), case


# -- the classic case ------------------------------------------------------------------------

IMAGES = (OperationPattern("read", "imaging"),)
PHYSICIAN = Compare("==", Attribute("subject.role"), Literal("physician"))
SENSITIVE = Compare(">=", Attribute("resource.sensitivity"), Literal(4))


def classic(on_missing: OnMissing = OnMissing.DENY) -> RuleSet:
    doctors = Policy("doctors", Kind.PERMIT, IMAGES, And((PHYSICIAN,)))
    sensitive = Policy("sensitive", Kind.DENY, IMAGES, SENSITIVE, on_missing=on_missing)
    return RuleSet.of((PolicySet("classic", Layer.INSTITUTION, "", "1.0.0", (doctors, sensitive)),))


def reading(sensitivity: int | None) -> Request:
    subject = Entity("person", "dr.li", {"role": "physician"})
    return Request.build(subject, "read:imaging", {"sensitivity": sensitivity, "organization": "cn"})


@PEERS
@pytest.mark.parametrize(("sensitivity", "permitted"), ((1, True), (5, False)))
def test_all_agree_on_the_classic_case_when_the_sensitivity_is_known(
    peer: Peer, sensitivity: int, permitted: bool
) -> None:
    (theirs,) = peer(classic()).opinions([reading(sensitivity)])
    ours = decide(classic(), reading(sensitivity), NO_FACTS, NOON)
    assert (ours.permitted, theirs.permitted) == (permitted, permitted)


@PEERS
def test_a_missing_sensitivity_opens_the_door_for_them_and_not_for_us(peer: Peer) -> None:
    (theirs,) = peer(classic()).opinions([reading(None)])
    ours = decide(classic(), reading(None), NO_FACTS, NOON)
    fail_open = int(theirs.permitted and ours.denied)
    print(f"{peer.__name__}: permits {fail_open} of 1 where the sensitivity is missing and we deny")
    assert fail_open > 0
    assert [(reason.code, reason.policy) for reason in ours.reasons] == [("indeterminate", "sensitive")]


def test_we_open_that_door_only_when_the_policy_says_so() -> None:
    assert decide(classic(OnMissing.IGNORE), reading(None), NO_FACTS, NOON).permitted
