"""Many pairs are few findings: by the upper policy, and by what it sees of the others while these are few."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from spir.assurance.checks.ceiling import TOLD_APART as LACKS_TOLD_APART
from spir.assurance.checks.grouping import REPLAYED, TOLD_APART
from spir.assurance.finding import Finding
from spir.assurance.validator import validate
from spir.embed import default_vocabulary
from spir.engine.ruleset import RuleSet
from spir.language.document import read_documents

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HEAD = 'spir: "1"\nkind: PolicySet\nname: %s\nlayer: %s\njurisdiction: cn\nversion: 1.0.0\npolicies:\n'


def policy(id: str, effect: str, operation: str, when: str = "true", more: str = "") -> str:
    return f"  - {{id: {id}, effect: {effect}, operations: ['{operation}'], when: '{when}'{more}}}\n"


def found(check: str, institution: Iterable[str], national: Iterable[str] = ()) -> list[Finding]:
    files = {"a.yaml": HEAD % ("ward", "institution") + "".join(institution)}
    if national:
        files["b.yaml"] = HEAD % ("nation", "national") + "".join(national)
    documents = read_documents(files, vocabulary_text=default_vocabulary())
    rules = RuleSet.of(documents.policy_sets, documents.fingerprint)
    return list(validate(documents, rules, at=NOON, only=[check]).findings)


def wards(number: int, operation: str = "read:report") -> list[str]:
    """Permits that differ in what no other policy speaks about."""
    return [policy(f"ward-{n}", "permit", operation, f'subject.department == "{n}"') for n in range(number)]


def test_what_the_upper_policy_does_not_speak_about_tells_nothing_apart():
    closed = policy("closed", "deny", "read:report', 'read:result", "resource.sensitivity > 3")
    others = [*wards(3), policy("results", "permit", "read:result")]
    first, second = sorted(found("conflict", [closed, *others]), key=lambda one: one.pairs)
    assert [one.id for one in first.policies] == ["closed", "results"] and "read:result" in first.region
    assert [one.id for one in second.policies] == ["closed", "ward-0", "ward-1", "ward-2"]
    assert second.region == "read:report, sensitivity 4 to 5 or absent, in cn"


def test_what_meets_many_is_one_finding_that_names_them_all():
    many = TOLD_APART + 1
    (one,) = found("conflict", [policy("closed", "deny", "read:*"), *wards(many)])
    assert one.pairs == many and len(one.policies) == many + 1 and one.counterexample
    assert f"and {many - 3} more can never grant" in one.text


def test_of_very_many_pairs_each_finding_is_shown_once():
    many = REPLAYED + 1
    (one,) = found("conflict", [policy("closed", "deny", "read:*"), *wards(many)])
    assert one.pairs == many and one.counterexample and one.counterexample.effect == "deny"


def test_permits_that_nobody_delegates_are_told_apart_by_operation_when_there_are_many():
    many = LACKS_TOLD_APART + 1
    delegate = policy("delegate", "delegate", "search:*")
    one, other = found("weakening", [*wards(many), policy("b", "permit", "read:result")], [delegate])
    assert sorted((one.pairs, other.pairs)) == [1, many]
    assert all("neither permits nor delegates any of it" in each.text for each in (one, other))


def test_a_policy_whose_time_is_over_is_noted():
    (one,) = found("dead", [policy("old", "permit", "read:report", more=", valid: {until: 2026-11-21T12:00:00Z}")])
    assert (one.severity.label, one.text) == ("note", "the time of `old` is over")
    assert found("dead", [policy("new", "permit", "read:report", more=", valid: {until: 2026-11-21T12:00:01Z}")]) == []


def test_a_condition_with_too_many_alternatives_is_said_not_to_be_decided():
    pairs = [f'(subject.role == "r{n}" || resource.modality == "m{n}" || "l{n}" in resource.labels)' for n in range(9)]
    (one,) = found("dead", [policy("wide", "permit", "read:report", " && ".join(pairs))])
    assert not one.decided and "too many alternatives" in one.text
