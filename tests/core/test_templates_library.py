"""The templates that ship, and the baseline: complete, tried, and at peace with each other."""

from __future__ import annotations

import json
import re
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from adapters.cli import main
from spir.assurance.finding import Severity
from spir.assurance.policy_tests import facts_of, premises
from spir.assurance.validator import validate
from spir.embed import default_vocabulary, library_templates
from spir.engine.compiler import Compiled, compile_rules
from spir.engine.ruleset import RuleSet, Site
from spir.language.document import Documents, read_documents, read_tests
from spir.language.format import format_document
from spir.language.kinds.policy_test import Case, PolicyTest
from spir.language.kinds.schema import schema
from spir.language.nodes import plain, read_nodes
from spir.language.template import Template
from spir.model.decision import Decision
from spir.model.facts import FactStore, empty_snapshot
from spir.model.policy import Kind
from spir.model.request import Request

jsonschema = pytest.importorskip("jsonschema", reason="the schemas are checked by the package jsonschema")

ROOT = Path(__file__).resolve().parents[2]
TRIED = ROOT / "fixtures/policies/templates"
TRIED_BASELINE = ROOT / "fixtures/policies/baseline"
BASELINE = {path.name: path.read_text("utf-8") for path in sorted((ROOT / "mappings/baseline").glob("*.yaml"))}
LIBRARY = library_templates()
NAMES = sorted(LIBRARY)
AT = datetime.fromisoformat("2026-11-21T12:00:00+08:00")
SITE = Site("cn/zj/hospital-a", ZoneInfo("Asia/Shanghai"))


@cache
def template(name: str) -> Template:
    files = {f"{name}.yaml": LIBRARY[name]}
    (found,) = read_documents(files, vocabulary_text=default_vocabulary()).templates
    return found


def tried(name: str) -> str:
    return (TRIED / f"{name}_test.yaml").read_text("utf-8")


def policies(name: str) -> dict[str, Any]:
    """The policy set that a template's tests are about; its first policy is made from the template."""
    found: dict[str, Any] = plain(read_nodes(tried(name), name)[0])
    return found


def suite(name: str) -> PolicyTest:
    (found,) = read_tests({name: tried(name)})
    return found


def read(files: dict[str, str]) -> Documents:
    return read_documents(files, vocabulary_text=default_vocabulary(), templates=LIBRARY)


# -- each of them ----------------------------------------------------------------------------


def test_there_are_many():
    assert len(LIBRARY) == len(NAMES) == len(set(NAMES)) >= 20


@pytest.mark.parametrize("name", NAMES)
def test_a_template_is_complete(name: str):
    found = template(name)
    assert found.id == name
    assert set(found.title) == set(found.description) == {"en", "zh"}
    assert all(re.search(r"[\u4e00-\u9fff]", texts["zh"]) for texts in (found.title, found.description))
    assert all("\n" not in text for text in found.description.values())
    assert min(map(len, found.description.values())) >= 30
    assert found.operations and all(parameter.example for parameter in found.parameters.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_template_is_in_its_canonical_form_and_of_its_schema(name: str):
    assert format_document(LIBRARY[name], f"{name}.yaml") == LIBRARY[name]
    (document,) = map(plain, read_nodes(LIBRARY[name], name))
    jsonschema.validate(document, schema("Template"), jsonschema.Draft202012Validator)


@pytest.mark.parametrize("name", NAMES)
def test_its_parameters_are_a_schema_of_what_its_tests_give(name: str):
    found = template(name).arguments_schema()
    jsonschema.Draft202012Validator.check_schema(found)
    used = policies(name)["policies"][0]
    assert used["template"] == name
    jsonschema.validate(used.get("with", {}), found, jsonschema.Draft202012Validator)
    jsonschema.validate(policies(name), schema("PolicySet"), jsonschema.Draft202012Validator)


@pytest.mark.parametrize("name", NAMES)
def test_its_tests_show_what_it_does_and_what_not(name: str):
    cases = suite(name).cases
    effects = [case.expect["effect"] for case in cases]
    if template(name).kind is Kind.OBLIGE:
        assert {bool(case.expect["obligations"]) for case in cases} == {True, False}
    else:
        assert {"permit", "deny"} <= set(effects)
    first, *others = (set(flat(case)) for case in cases)
    assert any(first ^ other for other in others), "no case in which something is missing"


def flat(case: Case) -> dict[str, object]:
    def paths(data: Any, path: str) -> dict[str, object]:
        if not isinstance(data, dict):
            return {path: data}
        return {key: value for name, item in data.items() for key, value in paths(item, f"{path}.{name}").items()}

    return paths(case.request, "")


def test_their_tests_pass_and_see_every_atom_true_and_false(capsys: pytest.CaptureFixture[str]):
    assert main(["test", str(TRIED), "--fail-under", "100"]) == 0
    assert main(["test", str(TRIED_BASELINE), "--fail-under", "100"]) == 0
    assert {path.name.removesuffix("_test.yaml") for path in TRIED.glob("*_test.yaml")} == set(NAMES)


@pytest.mark.parametrize("name", ["../vocabulary", "..", "", "/etc/passwd", "care_team", "care-team-reads-chart.yaml"])
def test_no_name_leads_out_of_the_library(name: str):
    assert name not in LIBRARY
    with pytest.raises(KeyError):
        LIBRARY[name]


# -- with the baseline -----------------------------------------------------------------------


def ruled(files: dict[str, str]) -> tuple[Documents, Compiled]:
    documents = read({**BASELINE, **files})
    return documents, compile_rules(RuleSet.of(documents.policy_sets, documents.fingerprint, SITE))


# Single policies and pairs of them; questions about unions of policies are asked of the baseline alone, for the time.
PAIRS = ("dead", "conflict", "weakening", "subsumption", "obligations", "unreachable", "source")


def findings(documents: Documents, compiled: Compiled, *checks: str) -> list[str]:
    """Warnings and errors."""
    report = validate(documents, compiled.rules, at=AT, compiled=compiled, only=checks)
    bad = [one for one in report.findings if one.severity >= Severity.WARNING]
    return [f"{one.severity.label} {one.check}: {one.text}" for one in bad]


def document(name: str, policies: list[dict[str, Any]]) -> str:
    head = {"spir": "1", "kind": "PolicySet", "name": name, "layer": "institution", "jurisdiction": SITE.organization}
    return json.dumps({**head, "version": "1.0.0", "policies": policies}, ensure_ascii=False)


def decided(name: str, case: Case, documents: Documents, compiled: Compiled) -> Decision:
    given = premises(suite(name), case)
    at = given.now or AT
    store = FactStore(empty_snapshot(documents.vocabulary.joins()))
    store.apply(facts_of(given.facts, documents.vocabulary, at, case.location))
    return compiled.decide(Request.from_json(case.request), store.snapshot, at)


def test_the_baseline_is_clean():
    assert findings(*ruled({})) == []


@pytest.mark.parametrize("name", NAMES)
def test_what_a_template_is_for_takes_effect_under_the_baseline(name: str):
    """What it permits is permitted, what it does not let through is not, for its sake."""
    documents, compiled = ruled({"used.json": document("used", policies(name)["policies"])})
    kind = template(name).kind
    intended = "deny" if kind in (Kind.DENY, Kind.REQUIRE) else "permit"
    shown = [case for case in suite(name).cases if case.expect["effect"] == intended]
    for case in shown:
        found = decided(name, case, documents, compiled)
        assert found.effect.value == intended, case.name
        concerned = {reason.policy for reason in found.reasons} if intended == "deny" else set(found.matched)
        assert name in concerned or (kind is Kind.OBLIGE and not case.expect["obligations"]), case.name


def test_all_templates_compose_with_the_baseline_and_each_other():
    """Nothing to warn of: no policy that cannot do what it says, and none that another contradicts."""
    used = {f"{name}.json": document(name, policies(name)["policies"][:1]) for name in NAMES}
    documents, compiled = ruled(used)
    # the baseline is made from some of them itself: of two that grant the same, one has no effect
    assert [one for one in findings(documents, compiled, *PAIRS) if " subsumption: " not in one] == []
    assert {str(found.template.id) for found in documents.used} == set(NAMES)
