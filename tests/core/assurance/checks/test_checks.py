"""Every check has an example that trips it and one that does not, and what it shows is what the engine says."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

from adapters.asked import operations_asked
from adapters.identity.directory import Directory
from spir.assurance.checks.examination import Surroundings
from spir.assurance.checks.registry import CHECKS
from spir.assurance.finding import Finding
from spir.assurance.report import Report
from spir.assurance.validator import validate
from spir.embed import collect, default_vocabulary
from spir.engine.attributes import NoFacts
from spir.engine.reference import decide
from spir.engine.ruleset import RuleSet
from spir.language.document import Documents, read_documents
from spir.model.request import Request

EXAMPLES = Path(__file__).resolve().parents[4] / "fixtures" / "policies" / "checks"
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

# What a check must find in its example: severity, the policies that are named, and words of the text.
EXPECTED = {
    "dead": [
        ("error", ["two-roles-at-once"], "exclude each other"),
        ("error", ["beyond-the-scale"], "is never true"),
        ("warning", ["requires-nothing"], "always true"),
    ],
    "conflict": [
        ("error", ["interns-read-nothing", "interns-read-reports"], "forbids all of it"),
        ("warning", ["interns-read-nothing", "cardiology-reads-results"], "forbids a part"),
        ("warning", ["nobody-reads-research-results", "cardiology-reads-results"], "forbids a part"),
    ],
    "weakening": [
        ("error", ["genomes-stay-closed", "research-exports-genomes"], "forbids all of it"),
        ("error", ["exports-name-their-purpose", "billing-exports-reports"], "is never met"),
        ("error", ["nurses-delete-documents"], "neither permits nor delegates any of it"),
    ],
    "ungoverned": [("warning", ["holders-read-reports"], "without a jurisdiction")],
    "subsumption": [
        ("warning", ["clinical-staff-read-vitals", "nurses-read-vitals"], "no effect"),
        ("warning", ["nothing-leaves", "genomes-do-not-leave"], "no effect"),
    ],
    "obligations": [("error", ["cardiology-reads-results", "critical-results-alert"], "cannot be done together")],
    "gap": [("note", [], "permitted to nobody")],
    "unreachable": [
        ("warning", ["oncology-pharmacists-read-prescriptions"], "nobody in the directory"),
        ("note", ["physicians-execute-tasks"], "no protocol of the gateway"),
    ],
    "source": [
        ("warning", ["night-shift-reads"], "it has no source"),
        ("warning", ["badges-are-worn"], "`turnstile` is not known"),
    ],
    "shadowing": [
        (
            "error",
            ["open-reports-are-elsewhere", "sensitive-reports-stay-closed", "physicians-read-reports"],
            "together stop all of it",
        ),
    ],
    "redundancy": [
        (
            "warning",
            ["cardiology-reads-reports", "others-read-reports", "physicians-of-two-wards-read-reports"],
            "together do all of that already",
        ),
        ("warning", ["nothing-leaves-at-night", "nothing-leaves-by-day", "no-genomes-leave"], "has no effect"),
    ],
    "indeterminate": [
        ("note", ["sensitive-reports-stay-closed", "sensitive-reports-are-not-found"], "`resource.sensitivity`"),
        ("note", ["reports-have-an-author"], "without `resource.author` is denied"),
    ],
    "layers": [],  # no policies trip it, only an engine that is wrong: see test_unions
}


@cache
def read(name: str) -> tuple[Documents, RuleSet]:
    documents = read_documents(collect(EXAMPLES / name), vocabulary_text=default_vocabulary())
    return documents, RuleSet.of(documents.policy_sets, documents.fingerprint)


def examined(check: str, example: str) -> Report:
    staff = EXAMPLES / check / "staff.yaml"
    people = Directory.parse(staff.read_text("utf-8"), str(staff)).entities.values() if staff.exists() else None
    around = Surroundings(None if people is None else tuple(people), operations_asked())
    documents, rules = read(f"{check}/{example}.yaml")
    return validate(documents, rules, at=NOON, surroundings=around, only=[check])


def said(finding: Finding) -> tuple[str, list[str]]:
    return finding.severity.label, [policy.id for policy in finding.policies]


@pytest.mark.parametrize("check", CHECKS)
def test_the_example_that_trips_it_does(check: str):
    found = examined(check, "trips").findings
    expected = EXPECTED[check]
    assert sorted(map(said, found)) == sorted((severity, policies) for severity, policies, _ in expected)
    for severity, policies, words in expected:
        assert any(said(one) == (severity, policies) and words in one.text for one in found), words
    assert all(one.check == check and one.mend and one.decided for one in found)
    assert all(policy.location and policy.location.line for one in found for policy in one.policies)


@pytest.mark.parametrize("check", CHECKS)
def test_the_example_that_does_not_trip_it_does_not(check: str):
    assert examined(check, "clean").findings == ()


@pytest.mark.parametrize("check", CHECKS)
def test_a_counterexample_reads_as_json_and_is_decided_as_it_says(check: str):
    _, rules = read(f"{check}/trips.yaml")
    for finding in examined(check, "trips").findings:
        shown = finding.counterexample
        if shown is not None:
            request = Request.from_json(shown.to_json()["request"])
            assert decide(rules, request, NoFacts(), shown.at).effect.value == shown.effect
            assert finding.check == "gap" or finding.region


def test_checks_of_pairs_show_a_request():
    """Nobody can satisfy what is never true or whom nobody is; everything else can be shown."""
    bare = {one.text for check in CHECKS for one in examined(check, "trips").findings if one.counterexample is None}
    checks = {one.check for check in CHECKS for one in examined(check, "trips").findings if one.text in bare}
    assert checks <= {"dead", "unreachable", "source"}


@pytest.mark.parametrize("check", CHECKS)
def test_each_page_of_the_manual_says_what_is_found_and_how_to_mend_it(check: str):
    page = CHECKS[check].manual
    assert page.partition("\n")[0].endswith(".") and "*Mend:*" in page
    assert any(f"**{severity}**" in page for severity in ("error", "warning", "note"))
