"""A report: everything for programs, a bounded text for people, SARIF for code hosts."""

from __future__ import annotations

import json
import shlex

from spir.assurance.checks.registry import CHECKS
from spir.assurance.finding import Counterexample, Finding, Named, Severity
from spir.assurance.report import MOST_FINDINGS, MOST_GROUPS, Report, judged
from spir.assurance.sarif import to_sarif
from spir.assurance.suppression import read_suppressions
from spir.errors import Location
from spir.model.policy import Layer
from spir.model.request import Entity, Request
from tests.given import NOON

REQUEST = Request.build(Entity("person", "o'hara"), "read:report", {"modality": "CR"})


def named(name: str, line: int = 1) -> Named:
    return Named(name, Layer.INSTITUTION, Location("policies/ward a.yaml", line, 5))


def finding(number: int, severity: Severity = Severity.WARNING, upper: str = "deny") -> Finding:
    shown = Counterexample(REQUEST, NOON, "deny")
    names = (named(upper), named(f"permit-{number}", number))
    return Finding("gap", severity, "they overlap", names, f"region {number}", shown, "change one")


def test_the_worst_comes_first_and_what_is_about_one_policy_stands_together():
    found = [finding(1, Severity.NOTE), finding(2), finding(3, upper="other"), finding(4), finding(5, Severity.ERROR)]
    report = judged(found, (), NOON)
    assert [one.severity.label for one in report.findings] == ["error", "warning", "warning", "warning", "note"]
    assert [one.policies[0].id for one in report.findings[1:4]] == ["deny", "deny", "other"]
    assert report.at_least(Severity.WARNING) == report.findings[:4]


def test_the_order_in_which_findings_come_makes_no_difference():
    found = [finding(number, upper=f"deny-{number % 3}") for number in range(20)]
    assert judged(found, (), NOON) == judged(reversed(found), (), NOON)


def test_the_text_is_bounded_and_says_what_it_leaves_out():
    found = [finding(number, upper=f"deny-{number % 100:03d}") for number in range(1000)]
    lines = list(judged(found, (), NOON).lines())
    assert sum(line.startswith("warning gap: they") for line in lines) == MOST_GROUPS * MOST_FINDINGS
    assert f"  and {10 - MOST_FINDINGS} more findings about `deny-000`" in lines
    hidden = 100 - MOST_GROUPS
    assert f"warning gap: {10 * hidden} more, of {hidden} policies (--json shows all)" in lines
    assert lines[-1] == "0 errors, 1000 warnings, 0 notes: 0 policies, 0 checks"


def test_the_command_of_an_example_holds_the_very_request():
    line = next(line for line in judged([finding(1)], (), NOON).lines("spir eval -p here") if "as in:" in line)
    echo, text, *rest = shlex.split(line.partition("as in:")[2])
    assert echo == "echo" and Request.from_json(json.loads(text)) == REQUEST
    assert rest == ["|", "spir", "eval", "-p", "here", "--at", NOON.isoformat(), "-r", "-"]


def test_json_has_everything_there_is():
    report = judged([finding(1), finding(2)], read_suppressions(entry(2), "s.yaml"), NOON)
    said = json.loads(json.dumps(report.to_json()))
    assert said["summary"] == {"error": 0, "warning": 1, "note": 0}
    assert said["findings"] == [json.loads(json.dumps(finding(1).to_json()))]
    assert said["acknowledged"][0]["acknowledged"]["reason"] == "known"


def test_sarif_puts_each_finding_at_the_lower_policy():
    report = judged([finding(7), finding(2)], read_suppressions(entry(2), "s.yaml"), NOON)
    document = to_sarif(report, CHECKS.values(), "1.0.0")
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(CHECKS)
    assert all(rule["shortDescription"]["text"] and rule["fullDescription"]["text"] for rule in rules)
    counts, acknowledged = run["results"]
    assert counts["level"] == "warning" and rules[counts["ruleIndex"]]["id"] == counts["ruleId"]
    place = counts["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "policies/ward%20a.yaml"
    assert place["region"] == {"startLine": 7, "startColumn": 5}
    assert counts["relatedLocations"][0]["message"]["text"] == "deny (institution)"
    assert Request.from_json(counts["properties"]["counterexample"]["request"]) == REQUEST
    assert "suppressions" not in counts and acknowledged["suppressions"][0]["status"] == "accepted"


def test_sarif_of_a_finding_without_a_place_has_no_location():
    report = Report((Finding("gap", Severity.NOTE, "nobody may"),))
    (result,) = to_sarif(report, CHECKS.values(), "1.0.0")["runs"][0]["results"]
    assert "locations" not in result and result["message"]["text"] == "nobody may"


def entry(number: int) -> str:
    return f'- {{mark: "{finding(number).mark}", reason: known, by: a.reviewer, until: 2027-01-01}}\n'
