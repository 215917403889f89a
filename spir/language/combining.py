"""Combining algorithms of other policy languages, compiled away into plain policies.

Our own documents have one way to combine: whatever denies wins, and what
nobody permits is denied. Rules that come from XACML or FHIR stand in sets
inside sets, each with an algorithm of its own. `plain` gives policies that
together decide the same: every rule keeps its id, effect and obligations, and
its condition says besides when the algorithms above let it have its say.

Where an attribute is missing, nothing is permitted here that could turn out to
be denied: XACML's `permit-unless-deny` would permit, ours does not. Obligations
of all rules that have their say unite; XACML stops at the first that decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from itertools import combinations
from typing import TypeAlias

from spir.errors import DocumentError
from spir.language.nearest import suggestion
from spir.model.condition import FALSE, TRUE, Attribute, Compare, Condition, Has, Literal, both, either, negated
from spir.model.policy import ALWAYS, Kind, OperationPattern, Policy, Validity

__all__ = ["Algorithm", "Combined", "Member", "algorithm_of", "plain"]

MAX_DEPTH = 8
MAX_RULES = 500  # of one set with all in it: conditions grow with its square


class Algorithm(Enum):
    """The codes of XACML 3.0 (appendix C) and of FHIR's permission-rule-combining; `all-of` is ours."""

    DENY_OVERRIDES = "deny-overrides"
    PERMIT_OVERRIDES = "permit-overrides"
    FIRST_APPLICABLE = "first-applicable"
    ONLY_ONE_APPLICABLE = "only-one-applicable"
    DENY_UNLESS_PERMIT = "deny-unless-permit"
    PERMIT_UNLESS_DENY = "permit-unless-deny"
    ALL_OF = "all-of"


def algorithm_of(name: str) -> Algorithm:
    """By its code or by XACML's URN. The ordered ones mean the same here, where all rules are asked. Raises
    DocumentError."""
    code = name.rpartition(":")[2] if name.startswith("urn:oasis:names:tc:xacml:") else name
    known = {one.value: one for one in Algorithm}
    found = known.get(code.removeprefix("ordered-") if code.endswith("-overrides") else code)
    if found is None:
        raise DocumentError(f"`{name[:80]}` is no combining algorithm", hint=suggestion(code, known))
    return found


@dataclass(frozen=True, slots=True)
class Combined:
    """Rules and sets under an algorithm. `operations` are those of the rules that the set makes itself:
    what `deny-unless-permit` denies and `permit-unless-deny` permits."""

    id: str
    algorithm: Algorithm
    members: tuple[Member, ...]
    operations: tuple[OperationPattern, ...] = (OperationPattern("*", "*"),)


Member: TypeAlias = Policy | Combined
Operations: TypeAlias = tuple[OperationPattern, ...]
Outcome: TypeAlias = tuple[Condition, Condition]  # when it permits, and when it denies: never both


def plain(root: Combined) -> tuple[Policy, ...]:
    """The policies that decide as the set does. Raises DocumentError for what is too deep or too large, and for
    rules that neither permit nor deny."""
    _check(root, 1)
    if sum(1 for _ in _rules(root)) > MAX_RULES:
        raise DocumentError(f"`{root.id}` has too many rules", hint=f"at most {MAX_RULES} in a set with all in it")
    return tuple(_said(root, (), top=True))


def _check(node: Combined, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise DocumentError(f"`{node.id}` is nested too deeply", hint=f"at most {MAX_DEPTH} sets within sets")
    for member in node.members:
        if isinstance(member, Combined):
            _check(member, depth + 1)
        elif member.kind not in (Kind.PERMIT, Kind.DENY):
            raise DocumentError(f"`{member.id}` can only permit or deny in a set", location=member.location)


def _rules(node: Member) -> Iterator[Policy]:
    if isinstance(node, Policy):
        yield node
    else:
        for member in node.members:
            yield from _rules(member)


# -- writing them out ------------------------------------------------------------------------

# The sets around a rule, from the outermost: each with the place in it that leads to the rule.
Around: TypeAlias = tuple[tuple[Combined, int], ...]


def _said(node: Member, around: Around, top: bool) -> Iterator[Policy]:
    """`top`: nothing but deny-overrides above, which is what plain policies do by themselves."""
    if isinstance(node, Policy):
        yield from _guarded(node, around)
        return
    plainly = top and node.algorithm is Algorithm.DENY_OVERRIDES
    for number, member in enumerate(node.members):
        yield from _said(member, around if plainly else (*around, (node, number)), plainly)
    own = _own(node)
    if own is not None:
        yield from _guarded(own, around)


def _guarded(rule: Policy, around: Around) -> Iterator[Policy]:
    kind = 0 if rule.kind is Kind.PERMIT else 1
    guards = (_guards(node, number, rule.operations)[kind] for node, number in reversed(around))
    when = both(rule.when, *guards)
    if when != FALSE:
        yield replace(rule, when=when)


def _own(node: Combined) -> Policy | None:
    """What the set says where none of its rules does."""
    if node.algorithm is Algorithm.DENY_UNLESS_PERMIT:
        return Policy(f"{node.id}-otherwise", Kind.DENY, node.operations, _outcome(node, node.operations)[1])
    if node.algorithm is Algorithm.PERMIT_UNLESS_DENY:
        return Policy(f"{node.id}-otherwise", Kind.PERMIT, node.operations, _outcome(node, node.operations)[0])
    operations = tuple(dict.fromkeys(_all_operations(node)))
    if node.algorithm is Algorithm.ONLY_ONE_APPLICABLE and operations:
        several = _several(_outcomes(node.members, operations))
        return Policy(f"{node.id}-several", Kind.DENY, operations, several)
    return None


def _all_operations(node: Member) -> Iterator[OperationPattern]:
    yield from node.operations
    if isinstance(node, Combined):
        for member in node.members:
            yield from _all_operations(member)


# -- what a set comes to ---------------------------------------------------------------------


def _outcome(node: Member, operations: Operations) -> Outcome:
    """For requests of these operations."""
    if isinstance(node, Policy):
        holds = both(_about(node.operations, operations), _in_force(node.valid), node.when)
        return (holds, FALSE) if node.kind is Kind.PERMIT else (FALSE, holds)
    found = _outcomes(node.members, operations)
    permits, denies = either(*(one for one, _ in found)), either(*(other for _, other in found))
    match node.algorithm:
        case Algorithm.DENY_OVERRIDES:
            return both(permits, negated(denies)), denies
        case Algorithm.PERMIT_OVERRIDES:
            return permits, both(denies, negated(permits))
        case Algorithm.DENY_UNLESS_PERMIT:
            return permits, both(negated(permits), either(_about(node.operations, operations), denies))
        case Algorithm.PERMIT_UNLESS_DENY:
            return both(negated(denies), either(_about(node.operations, operations), permits)), denies
        case Algorithm.ALL_OF:
            return both(*(one for one, _ in found)) if found else FALSE, denies
    guarded = [(_guards(node, number, operations)[0], *one) for number, one in enumerate(found)]
    permits = either(*(both(one, guard) for guard, one, _ in guarded))
    denies = either(*(both(other, guard) for guard, _, other in guarded))
    several = _several(found) if node.algorithm is Algorithm.ONLY_ONE_APPLICABLE else FALSE
    return permits, either(denies, several)


def _guards(node: Combined, number: int, operations: Operations) -> Outcome:
    """When the set lets its member of this number permit, and when it lets it deny."""
    found = _outcomes(node.members, operations)
    others = (*found[:number], *found[number + 1 :])
    match node.algorithm:
        case Algorithm.DENY_OVERRIDES | Algorithm.PERMIT_UNLESS_DENY:
            return negated(either(*(denies for _, denies in found))), TRUE
        case Algorithm.PERMIT_OVERRIDES | Algorithm.DENY_UNLESS_PERMIT:
            return TRUE, negated(either(*(permits for permits, _ in found)))
        case Algorithm.ALL_OF:
            return both(*(permits for permits, _ in others)), TRUE
    before = found[:number] if node.algorithm is Algorithm.FIRST_APPLICABLE else others
    guard = negated(either(*(part for outcome in before for part in outcome)))
    return guard, guard


def _outcomes(members: Iterable[Member], operations: Operations) -> tuple[Outcome, ...]:
    return tuple(_outcome(member, operations) for member in members)


def _several(outcomes: Iterable[Outcome]) -> Condition:
    """More than one applies: an error in XACML, which permits nothing."""
    applies = [either(*outcome) for outcome in outcomes]
    return either(*(both(one, other) for one, other in combinations(applies, 2)))


# -- what a rule is about, as a condition ----------------------------------------------------

CATEGORY = Attribute("resource.category")


def _about(theirs: Operations, ours: Operations) -> Condition:
    """Whether a request of our operations is of theirs, too."""
    if all(any(_covers(one, other) for one in theirs) for other in ours):
        return TRUE
    return either(*map(_matches, theirs))


def _covers(one: OperationPattern, other: OperationPattern) -> bool:
    pairs = ((one.verb, other.verb), (one.type, other.type), (one.category, other.category))
    return all(wide in ("*", narrow) for wide, narrow in pairs)


def _matches(pattern: OperationPattern) -> Condition:
    named = (("action.name", pattern.verb), ("resource.type", pattern.type))
    found = [Compare("==", Attribute(path), Literal(name)) for path, name in named if name != "*"]
    if pattern.category == "*":
        return both(*found)
    # a request without a category is of none, and that is no doubt
    return both(*found, Has(CATEGORY), Compare("==", CATEGORY, Literal(pattern.category)))


def _in_force(valid: Validity) -> Condition:
    if valid == ALWAYS:
        return TRUE
    now, found = Attribute("context.now"), []
    if valid.start is not None:
        found.append(Compare(">=", now, Literal(valid.start)))
    if valid.end is not None:
        found.append(Compare("<", now, Literal(valid.end)))
    return both(*found)
