"""Sets within sets decide as their algorithms say, after they have become plain policies."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spir.engine.attributes import NoFacts
from spir.engine.compiler import compile_rules
from spir.engine.ruleset import RuleSet, Site
from spir.errors import DocumentError
from spir.language import combining
from spir.language.combining import Algorithm, Combined, Member, algorithm_of, plain
from spir.model.condition import TRUE, Attribute, Compare, Literal
from spir.model.decision import Decision
from spir.model.obligation import Obligation
from spir.model.policy import ALWAYS, Kind, Layer, OperationPattern, Policy, PolicySet, Validity
from spir.model.request import Entity, Request
from tests.given import NOON

NAMES = ("a", "b", "c", "d")
OPERATIONS = (
    (OperationPattern("search", "imaging"),),
    (OperationPattern("search", "*"), OperationPattern("read", "report")),
    (OperationPattern("*", "imaging", "chest"),),
    (OperationPattern("*", "*"),),
)
WINDOWS = (ALWAYS, ALWAYS, Validity(None, NOON), Validity(NOON, NOON + timedelta(seconds=1)))


@st.composite
def rules(draw: st.DrawFn) -> Policy:
    name = draw(st.sampled_from(NAMES))
    when = Compare("==", Attribute(f"subject.{name}"), Literal(draw(st.booleans())))
    kind = draw(st.sampled_from((Kind.PERMIT, Kind.DENY)))
    return Policy("", kind, draw(st.sampled_from(OPERATIONS)), when, valid=draw(st.sampled_from(WINDOWS)))


@st.composite
def sets(draw: st.DrawFn, depth: int = 2) -> Combined:
    member = rules() if depth == 0 else st.one_of(rules(), rules(), sets(depth - 1))
    members = tuple(draw(st.lists(member, max_size=4)))
    return Combined("", draw(st.sampled_from(Algorithm)), members, draw(st.sampled_from(OPERATIONS)))


def named(node: Member, name: str = "s") -> Any:
    if isinstance(node, Policy):
        return Policy(name, node.kind, node.operations, node.when, valid=node.valid)
    members = tuple(named(member, f"{name}-{number}") for number, member in enumerate(node.members))
    return Combined(name, node.algorithm, members, node.operations)


# -- the oracle: the algorithms as their appendix tells them, on requests that lack nothing ---


def outcome(node: Member, request: Request) -> str:
    """permit, deny or nothing."""
    if isinstance(node, Policy):
        about = any(covers(pattern, request) for pattern in node.operations)
        assert isinstance(node.when, Compare) and isinstance(node.when.right, Literal)
        assert isinstance(node.when.left, Attribute)
        holds = request.subject.properties[node.when.left.path[8:]] == node.when.right.value
        return node.kind.value if about and holds and node.valid.holds(NOON) else ""
    found = [outcome(member, request) for member in node.members]
    applied = [one for one in found if one]
    own = any(covers(pattern, request) for pattern in node.operations)
    match node.algorithm:
        case Algorithm.DENY_OVERRIDES:
            return "deny" if "deny" in found else "permit" if "permit" in found else ""
        case Algorithm.PERMIT_OVERRIDES:
            return "permit" if "permit" in found else "deny" if "deny" in found else ""
        case Algorithm.FIRST_APPLICABLE:
            return applied[0] if applied else ""
        case Algorithm.ONLY_ONE_APPLICABLE:
            return "deny" if len(applied) > 1 else applied[0] if applied else ""
        case Algorithm.DENY_UNLESS_PERMIT:
            return "permit" if "permit" in found else "deny" if own or "deny" in found else ""
        case Algorithm.PERMIT_UNLESS_DENY:
            return "deny" if "deny" in found else "permit" if own or "permit" in found else ""
        case Algorithm.ALL_OF:
            return "deny" if "deny" in found else "permit" if found and set(found) == {"permit"} else ""


def covers(pattern: OperationPattern, request: Request) -> bool:
    category = request.resource.properties.get("category")
    return (
        pattern.verb in ("*", request.action.name)
        and pattern.type in ("*", request.resource.type)
        and pattern.category in ("*", category)
    )


def asked(values: dict[str, bool], operation: str, category: str | None) -> Request:
    properties = {} if category is None else {"category": category}
    return Request.build(Entity("person", "x", values), operation, properties)


def decide(root: Combined, request: Request) -> Decision:
    policies = PolicySet("s", Layer.INSTITUTION, "", "1.0.0", plain(root))
    return compile_rules(RuleSet.of([policies], "", Site("cn"))).decide(request, NoFacts(), NOON)


requests = st.builds(
    asked,
    st.fixed_dictionaries(dict.fromkeys(NAMES, st.booleans())),
    st.sampled_from(("search:imaging", "read:report", "read:imaging")),
    st.sampled_from((None, "chest", "head")),
)


@settings(max_examples=400, deadline=None)
@given(sets(), requests)
def test_plain_policies_decide_as_the_set_does(root: Combined, request: Request) -> None:
    root = named(root)
    decision, expected = decide(root, request), outcome(root, request)
    assert decision.permitted is (expected == "permit")
    assert any(reason.code == "denied" for reason in decision.reasons) is (expected == "deny")


@settings(max_examples=200, deadline=None)
@given(sets(), requests, st.sets(st.sampled_from(NAMES), min_size=1, max_size=2))
def test_what_is_permitted_with_a_value_missing_is_permitted_with_any(
    root: Combined, request: Request, lacking: set[str]
) -> None:
    root = named(root)
    known = {name: value for name, value in request.subject.properties.items() if name not in lacking}
    category = request.resource.properties.get("category")
    operation = f"{request.action.name}:{request.resource.type}"
    if decide(root, asked(known, operation, category)).permitted:
        for values in product((True, False), repeat=len(lacking)):
            whole = {**known, **dict(zip(sorted(lacking), values, strict=True))}
            assert outcome(root, asked(whole, operation, category)) == "permit"


# -- what one sees ---------------------------------------------------------------------------


def rule(id: str, kind: Kind, path: str = "", **more: Any) -> Policy:
    when = Compare("==", Attribute(f"subject.{path}"), Literal(True)) if path else TRUE
    return Policy(id, kind, (OperationPattern("search", "imaging"),), when, **more)


def test_rules_keep_their_ids_and_their_obligations() -> None:
    duty = Obligation("mask", "mask", {"paths": ("patient.telecom",)})
    first = rule("exception", Kind.PERMIT, "a", obligations=(duty,))
    root = Combined("s", Algorithm.FIRST_APPLICABLE, (first, rule("rest", Kind.DENY)))
    policies = plain(root)
    assert [policy.id for policy in policies] == ["exception", "rest"]
    assert policies[0] == first and policies[1].when != TRUE
    decision = decide(root, asked({"a": True}, "search:imaging", None))
    assert decision.permitted and decision.matched == ("exception",) and decision.obligations == (duty,)


def test_deny_overrides_leaves_the_rules_as_they_are() -> None:
    members = (rule("p", Kind.PERMIT, "a"), rule("d", Kind.DENY, "b"))
    inner = Combined("inner", Algorithm.DENY_OVERRIDES, members)
    assert plain(Combined("s", Algorithm.DENY_OVERRIDES, (inner, rule("q", Kind.PERMIT)))) == (
        *members,
        rule("q", Kind.PERMIT),
    )


def test_a_rule_that_never_has_its_say_is_left_out() -> None:
    root = Combined("s", Algorithm.FIRST_APPLICABLE, (rule("all", Kind.DENY), rule("late", Kind.PERMIT)))
    assert [policy.id for policy in plain(root)] == ["all"]


def test_a_set_that_always_answers_does_so_only_about_its_own_operations() -> None:
    reports = (OperationPattern("read", "report"),)
    inner = Combined("inner", Algorithm.DENY_UNLESS_PERMIT, (), reports)
    root = Combined("s", Algorithm.FIRST_APPLICABLE, (inner, Policy("p", Kind.PERMIT, OPERATIONS[3])))
    assert decide(root, asked({}, "search:imaging", None)).permitted
    assert decide(root, asked({}, "read:report", None)).denied


def test_two_rules_apply_at_once_whatever_their_operations_are_called() -> None:
    members = (rule("one", Kind.PERMIT), Policy("two", Kind.PERMIT, OPERATIONS[3]))
    root = Combined("s", Algorithm.ONLY_ONE_APPLICABLE, members, (OperationPattern("read", "report"),))
    decision = decide(root, asked({}, "search:imaging", None))
    assert decision.denied and "s-several" in decision.matched
    assert decide(root, asked({}, "read:report", None)).permitted


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("permit-overrides", Algorithm.PERMIT_OVERRIDES),
        ("ordered-deny-overrides", Algorithm.DENY_OVERRIDES),
        ("urn:oasis:names:tc:xacml:3.0:rule-combining-algorithm:deny-unless-permit", Algorithm.DENY_UNLESS_PERMIT),
        ("urn:oasis:names:tc:xacml:1.0:policy-combining-algorithm:first-applicable", Algorithm.FIRST_APPLICABLE),
        (
            "urn:oasis:names:tc:xacml:3.0:policy-combining-algorithm:ordered-permit-overrides",
            Algorithm.PERMIT_OVERRIDES,
        ),
    ],
)
def test_algorithms_are_known_by_code_and_by_urn(name: str, found: Algorithm) -> None:
    assert algorithm_of(name) is found


@pytest.mark.parametrize("name", ["", "ordered-all-of", "permit-override", "urn:oasis:names:tc:xacml:3.0:"])
def test_other_algorithms_are_refused(name: str) -> None:
    with pytest.raises(DocumentError, match="no combining algorithm"):
        algorithm_of(name)


def test_what_is_too_deep_or_too_large_or_no_rule_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Combined("s", Algorithm.ALL_OF, ())
    for _ in range(combining.MAX_DEPTH):
        root = Combined("s", Algorithm.ALL_OF, (root,))
    with pytest.raises(DocumentError, match="nested too deeply"):
        plain(root)
    with pytest.raises(DocumentError, match="only permit or deny"):
        plain(Combined("s", Algorithm.ALL_OF, (rule("r", Kind.REQUIRE),)))
    monkeypatch.setattr(combining, "MAX_RULES", 1)
    with pytest.raises(DocumentError, match="too many rules"):
        plain(Combined("s", Algorithm.ALL_OF, (rule("p", Kind.PERMIT), rule("q", Kind.PERMIT))))
