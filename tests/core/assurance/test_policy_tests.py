"""Cases of policy tests: what they are given, how they are compared, what they cover."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from spir.assurance.coverage import Coverage, Tally
from spir.assurance.junit import to_junit
from spir.assurance.policy_tests import EXPECTATIONS, Ground, Premises, facts_of, premises, run_case
from spir.embed import default_vocabulary
from spir.engine.ruleset import RuleSet, Site
from spir.errors import DocumentError, Location, SpirError
from spir.language.document import read_documents
from spir.language.kinds.policy_test import GIVEN_FIELDS, Case, PolicyTest
from spir.model.facts import FactStore, empty_snapshot
from tests.given import NOON

POLICIES = """
spir: "1"
kind: PolicySet
name: a
layer: institution
jurisdiction: cn
version: 1.0.0
policies:
  - id: team
    effect: permit
    operations: ["search:imaging"]
    when: subject.id in resource.patient.care_team && resource.modality in ["CR", "DX"]
    obligations: [{id: m, type: mask, paths: [patient.telecom]}]
  - {id: locked, effect: deny, operations: ["search:imaging"], when: resource.status == "locked", on_missing: ignore}
"""
REQUEST = """
    request:
      subject: {type: person, id: dr.li}
      action: {name: search}
      resource: {type: imaging, properties: %s}
"""
DR_LI_TEAM = '{facts: [{patient: "HIS|P001", care_team: [dr.li]}]}'


def document(case: str, given: str = DR_LI_TEAM):
    text = f'spir: "1"\nkind: PolicyTest\nname: t\ngiven: {given}\ncases:\n  - name: one{case}'
    return read_documents({"a.yaml": POLICIES, "t_test.yaml": text}, vocabulary_text=default_vocabulary())


def ran(properties: str, expect: str, more: str = ""):
    documents = document(f"{REQUEST % properties}{more}    expect: {expect}\n")
    rules = RuleSet.of(documents.policy_sets, "", Site("cn", ZoneInfo("UTC")))
    (test,) = documents.tests
    store = FactStore(empty_snapshot(documents.vocabulary.joins()))
    given = premises(test, test.cases[0])
    store.apply(facts_of(given.facts, documents.vocabulary, NOON, test.location))
    return rules, test, run_case(test.cases[0], Ground(rules, store.snapshot, NOON))


CR = '{modality: CR, patient: {id: "HIS|P001"}}'
MR = '{modality: MR, patient: {id: "HIS|P001"}}'


@pytest.mark.parametrize(
    ("properties", "expect"),
    [
        (CR, "{effect: permit}"),
        (CR, "{effect: permit, matched: [team], unknowns: ['resource.status: missing']}"),
        (CR, "{obligations: [{type: mask, paths: [patient.telecom]}], reasons: [], residual: []}"),
        (CR, "{operation: 'search:imaging'}"),
        (MR, "{effect: deny, reasons: [no-permit], obligations: []}"),
        ('{modality: CR, status: locked, patient: {id: "HIS|P001"}}', "{reasons: [{code: denied, policy: locked}]}"),
    ],
)
def test_a_case_passes_when_everything_it_expects_is_so(properties: str, expect: str):
    assert ran(properties, expect)[2].mismatches == ()


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ("{effect: permit}", 'effect: expected "permit", found "deny"'),
        ("{reasons: []}", 'reasons: expected [], found [{"code":"no-permit"'),
        ("{reasons: [denied]}", 'reasons: expected ["denied"], found'),
        ("{reasons: [no-permit, no-permit]}", "reasons: expected"),
        ("{obligations: [{type: mask}]}", 'obligations: expected [{"type":"mask"}], found []'),
        ("{matched: [team]}", 'matched: expected ["team"], found []'),
        ("{residual: [{resource.modality: ['==', CR]}]}", "residual: expected"),
    ],
)
def test_a_case_fails_with_both_sides(expect: str, said: str):
    (mismatch,) = ran(MR, expect)[2].mismatches
    assert str(mismatch).startswith(said)


def test_a_residual_is_compared_whatever_the_order_and_rows_are_judged():
    more = "    rows: [{id: a, modality: DX, patient: {id: 'HIS|P001'}}, {modality: CR, patient: {id: 'HIS|P2'}}, {}]\n"
    documents = document(
        "\n    request: {subject: {type: person, id: dr.li}, action: {name: search}, resource: {type: imaging},"
        f" deferred: [resource]}}\n{more}    expect:\n      effect: conditional\n      rows: [true, false, false]\n"
        "      residual: [{resource.modality: [in, [DX, CR]], resource.patient.id: [in, ['HIS|P001']]}]\n"
    )
    rules = RuleSet.of(documents.policy_sets, "", Site("cn", ZoneInfo("UTC")))
    (test,) = documents.tests
    store = FactStore(empty_snapshot(documents.vocabulary.joins()))
    store.apply(facts_of(test.given["facts"], documents.vocabulary, NOON, test.location))
    result = run_case(test.cases[0], Ground(rules, store.snapshot, NOON))
    assert (result.mismatches, len(result.traces)) == ((), 4)


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ("{efect: deny}", "did you mean `effect`"),
        ("{reasons: denied}", "must be a list"),
        ("{residual: [CR]}", "a list of clauses"),
        ("{residual: [{resource.modality: CR}]}", "a list of clauses"),
    ],
)
def test_what_cannot_be_expected_is_an_error_at_the_case(expect: str, said: str):
    with pytest.raises(DocumentError, match=r"^t_test\.yaml:6:5: ") as error:
        ran(CR, expect)
    assert said in str(error.value)


@pytest.mark.parametrize("row", ["1", "{id: 1}", "[]"])
def test_a_row_that_is_none_is_an_error(row: str):
    with pytest.raises(DocumentError, match="a row must be"):
        ran(CR, "{effect: permit}", f"    rows: [{row}]\n")


def test_a_request_that_is_none_is_an_error_at_the_case():
    documents = document("\n    request: {}\n    expect: {effect: deny}\n")
    rules = RuleSet.of(documents.policy_sets)
    with pytest.raises(DocumentError, match=r"^t_test\.yaml:6:5: `subject` must be an object"):
        run_case(documents.tests[0].cases[0], Ground(rules, empty_snapshot(), NOON))


def test_a_case_adds_to_what_the_test_is_given():
    given = "{documents: [a], facts: [{staff: x, role: nurse}], timezone: Asia/Shanghai}"
    case = "\n    given: {documents: [b], now: '2026-01-01T00:00:00Z', organization: cn}"
    (test,) = document(f"{case}{REQUEST % CR}    expect: {{effect: deny}}\n", given).tests
    assert premises(test, test.cases[0]) == Premises(
        ("a", "b"),
        ({"staff": "x", "role": "nurse"},),
        (),
        datetime(2026, 1, 1, tzinfo=UTC),
        "Asia/Shanghai",
        "cn",
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{now: noon}", "`now` must be a time"),
        ("{now: 1}", "`now` must be a time"),
        ("{timezone: 8}", "`timezone` must be text"),
        ("{documents: a.yaml}", "`documents` must be a list"),
        ("{facts: [x]}", "`facts` must be a list"),
        ("{facts: [{care_team: [x]}]}", "whom it is about"),
        ("{facts: [{patient: a, care_tem: [x]}]}", "care_team"),
        ("{facts: [{patient: a, vip: true, valid_from: 2}]}", "`valid_from` must be a time"),
    ],
)
def test_what_cannot_be_given_is_an_error_with_its_place(given: str, said: str):
    documents = document(f"{REQUEST % CR}    expect: {{effect: deny}}\n", given)
    (test,) = documents.tests
    with pytest.raises(DocumentError, match=r"^t_test\.yaml:\d+:\d+: ") as error:
        found = premises(test, test.cases[0])
        facts_of(found.facts, documents.vocabulary, NOON, test.location)
    assert said in str(error.value)


# -- coverage --------------------------------------------------------------------------------


def covered(*properties: str) -> Coverage:
    tally = Tally()
    for one in properties:
        rules, _, result = ran(one, "{}")
        tally.watch(rules)
        for trace in result.traces:
            tally.note(trace)
    return tally.coverage()


def test_coverage_counts_policies_and_both_truths_of_every_atom():
    found = covered(CR, MR)
    assert [(one.id, one.met, one.held, list(one.gaps())) for one in found.policies] == [
        ("team", 2, True, ["`subject.id in resource.patient.care_team` is never false"]),
        ("locked", 2, False, ["never holds", '`resource.status == "locked"` is never true nor false']),
    ]
    # of 2 policies one held; of 3 atoms two were true and one was false
    assert found.percent == pytest.approx(100 * (1 + 2 + 1) / (2 + 3 + 3))
    assert [found.seen(truth) for truth in ("true", "false", "unknown")] == [2, 1, 1]
    assert next(found.lines()) == "coverage: 50.0 %   policies 1/2, atoms true 2/3, false 1/3, unknown 1/3"
    assert found.to_json()["policies"][1]["held"] is False


def test_a_policy_that_no_case_meets_is_said():
    tally = Tally()
    rules, _, _ = ran(CR, "{}")
    tally.watch(rules)
    assert [list(one.gaps()) for one in tally.coverage().policies] == [["is in no case"], ["is in no case"]]
    assert Tally().coverage().percent == 100.0


# -- JUnit -----------------------------------------------------------------------------------


def test_junit_names_what_failed_where():
    _, test, result = ran(MR, "{effect: permit}")
    root = ElementTree.fromstring(to_junit([(test, (result,))]).encode())
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    (case,) = suite
    assert (case.get("name"), case.get("file"), case.get("line")) == ("one", "t_test.yaml", "6")
    assert case[0].get("message") == 'effect: expected "permit", found "deny"'


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["deny", "HIS|P001", "in"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None)
@drawn(
    st.dictionaries(st.sampled_from(GIVEN_FIELDS), JSON | st.lists(st.dictionaries(st.just("patient"), JSON))),
    st.dictionaries(st.sampled_from(["subject", "action", "resource", "context", "deferred"]), JSON),
    st.lists(JSON, max_size=2),
    st.dictionaries(st.sampled_from(EXPECTATIONS), JSON),
)
def test_whatever_a_case_says_it_is_run_or_refused(given, request, rows, expect):
    where = Location("t_test.yaml", 6, 5)
    documents = document(f"{REQUEST % CR}    expect: {{}}\n")
    known = documents.tests[0].cases[0].request
    rules = RuleSet.of(documents.policy_sets, "", Site("cn"))
    for asked in (request, known):
        case = Case("c", given, asked, tuple(rows), expect, where)
        try:
            found = premises(PolicyTest("t", {}, (case,), where), case)
            store = FactStore(empty_snapshot(documents.vocabulary.joins()))
            store.apply(facts_of(found.facts, documents.vocabulary, NOON, where))
            run_case(case, Ground(rules, store.snapshot, NOON))
        except SpirError:
            continue
