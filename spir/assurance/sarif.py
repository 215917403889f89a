"""A report as SARIF 2.1.0, the form in which code hosts and editors show findings at their lines.

A result lies at the policy that its author can mend, which is the lower one;
the others are related locations. Acknowledged findings are results with a
suppression, so that they are shown as such and not as news.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from spir.assurance.checks.registry import Check
from spir.assurance.finding import Finding, Named, Severity
from spir.assurance.report import Report
from spir.assurance.suppression import Suppression
from spir.errors import Location

__all__ = ["to_sarif"]

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS: Mapping[Severity, str] = MappingProxyType(
    {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}
)
MOST_RELATED = 50


def to_sarif(report: Report, checks: Iterable[Check], version: str) -> dict[str, Any]:
    """One run, as decoded JSON. `checks` are those that were run, `version` is ours."""
    rules = [_rule(check) for check in checks]
    numbers = {rule["id"]: number for number, rule in enumerate(rules)}
    results = [_result(finding, numbers) for finding in report.findings]
    results += [_result(one.finding, numbers, one.by) for one in report.acknowledged]
    driver = {"name": "spir check", "semanticVersion": version, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": results,
        "properties": {"bundle": report.fingerprint, "policies": report.policies},
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(check: Check) -> dict[str, Any]:
    return {
        "id": check.id,
        "shortDescription": {"text": check.title},
        "fullDescription": {"text": check.manual},
        "help": {"text": check.manual, "markdown": check.manual},
    }


def _result(finding: Finding, numbers: Mapping[str, int], by: Suppression | None = None) -> dict[str, Any]:
    first, *others = (*finding.policies[1:], *finding.policies[:1]) or (None,)
    body: dict[str, Any] = {
        "ruleId": finding.check,
        "level": LEVELS[finding.severity],
        "message": {"text": _message(finding)},
        "partialFingerprints": {"mark/v1": finding.mark},
        "properties": _properties(finding),
    }
    if finding.check in numbers:
        body["ruleIndex"] = numbers[finding.check]
    if first is not None and first.location is not None:
        body["locations"] = [_place(first.location)]
        body["relatedLocations"] = [_related(n, policy) for n, policy in enumerate(others[:MOST_RELATED]) if policy]
    if by is not None:
        reason = f"{by.reason} ({by.by}, until {by.until.isoformat()})"
        body["suppressions"] = [{"kind": "external", "status": "accepted", "justification": reason}]
    return body


def _message(finding: Finding) -> str:
    parts = [finding.text, f"Where: {finding.region}" if finding.region else "", finding.mend]
    return ". ".join(part for part in parts if part)


def _properties(finding: Finding) -> dict[str, Any]:
    body: dict[str, Any] = {"region": finding.region, "pairs": finding.pairs, "decided": finding.decided}
    if finding.counterexample is not None:
        body["counterexample"] = finding.counterexample.to_json()
    return body


def _related(number: int, policy: Named) -> dict[str, Any]:
    text = {"text": f"{policy.id} ({policy.layer.label})"}
    if policy.location is None:
        return {"id": number, "message": text}
    return {"id": number, "message": text, **_place(policy.location)}


def _place(location: Location) -> dict[str, Any]:
    """Relative names stay relative to where the command was run: the root of the sources, for most."""
    name = location.file.replace("\\", "/")
    uri = f"file://{quote(name)}" if name.startswith("/") else quote(name)
    physical: dict[str, Any] = {"artifactLocation": {"uri": uri}}
    if location.line:
        region = {"startLine": location.line}
        physical["region"] = {**region, "startColumn": location.column} if location.column else region
    return {"physicalLocation": physical}
