"""Acknowledgements: complete, dated, and never a way to hide what is new."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spir.assurance.finding import Finding, Named, Severity
from spir.assurance.report import judged
from spir.assurance.suppression import read_suppressions, stubs
from spir.errors import DocumentError
from spir.model.policy import Layer
from tests.given import NOON

FULL = '- {mark: "0123456789ab", reason: known, by: a.reviewer, until: 2026-11-21}\n'


def finding(name: str = "p", severity: Severity = Severity.WARNING, region: str = "read:report") -> Finding:
    return Finding("conflict", severity, "they overlap", (Named(name, Layer.INSTITUTION),), region)


def entry(one: Finding, until: str = "2027-01-01") -> str:
    return f'- {{mark: "{one.mark}", reason: known, by: a.reviewer, until: {until}}}\n'


def test_an_entry_is_read_and_a_day_is_a_whole_day():
    (found,) = read_suppressions(FULL, "s.yaml")
    assert (found.mark, found.reason, found.by) == ("0123456789ab", "known", "a.reviewer")
    assert found.until == datetime(2026, 11, 22, tzinfo=UTC)
    assert str(found.location) == "s.yaml:1:3"
    assert not found.expired(found.until - timedelta(microseconds=1)) and found.expired(found.until)


def test_an_empty_file_acknowledges_nothing():
    assert read_suppressions("", "s.yaml") == () == read_suppressions("# none\n[]\n", "s.yaml")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("mark: x\n", "s.yaml:1:1: the suppressions must be a list"),
        (FULL.replace("by:", "bye:"), "s.yaml:1:41: a suppression has no field `bye`; did you mean `by`?"),
        *(
            (FULL.replace(f"{key}: {value}, ", ""), f"a suppression has no `{key}`")
            for key, value in [("by", "a.reviewer"), ("reason", "known")]
        ),
        (FULL.replace(", until: 2026-11-21", ""), "a suppression has no `until`"),
        (FULL.replace("known", '""'), "`reason` must be text"),
        (FULL.replace("2026-11-21", "2026-02-30"), "`until` is no day"),
        (FULL.replace("2026-11-21", "9999-12-31"), "`until` is no day"),
        (FULL.replace("2026-11-21", "never"), "`until` must be a time"),
        (FULL.replace("0123456789ab", "zz"), "`mark` is no mark of a finding"),
        (FULL.replace('"0123456789ab"', "123456789012"), "`mark` must be text; put it in quotes"),
        (FULL * 2, "`0123456789ab` is there twice; the other is at s.yaml:1:3"),
        (f"{FULL}---\n{FULL}", "the suppressions are one document"),
        (FULL.replace("known", "a" * 501), "`reason` is too long"),
    ],
)
def test_what_is_not_complete_is_refused_at_its_place(text: str, problem: str):
    with pytest.raises(DocumentError) as caught:
        read_suppressions(text, "s.yaml")
    assert problem in str(caught.value)


def test_a_warning_that_somebody_answers_for_does_not_count():
    one = finding()
    report = judged([one], read_suppressions(entry(one), "s.yaml"), NOON)
    assert report.findings == () and [kept.finding for kept in report.acknowledged] == [one]
    assert "1 acknowledged" in report.summary


def test_what_has_expired_counts_as_absent_and_is_named():
    one = finding()
    report = judged([one], read_suppressions(entry(one, "2026-11-20"), "s.yaml"), NOON)
    assert report.findings == (one,) and len(report.expired) == 1
    assert f"s.yaml:1:3: `{one.mark}` has expired: known" in list(report.lines())


def test_an_error_cannot_be_acknowledged():
    one = finding(severity=Severity.ERROR)
    report = judged([one], read_suppressions(entry(one), "s.yaml"), NOON)
    assert report.findings == (one,) and len(report.vain) == 1
    assert f"s.yaml:1:3: `{one.mark}` is of an error, which must be mended" in list(report.lines())


def test_an_entry_hides_nothing_else():
    one = finding()
    entries = read_suppressions(entry(one), "s.yaml")
    others = [finding("q"), finding(region="read:result")]
    report = judged(others, entries, NOON)
    assert set(report.findings) == set(others) and report.idle == entries


def test_a_stub_is_refused_until_it_is_filled_in():
    one = finding()
    text = stubs([one])
    with pytest.raises(DocumentError, match="`reason` must be text"):
        read_suppressions(text, "s.yaml")
    filled = (
        text.replace('reason: ""', "reason: known").replace('by: ""', "by: x").replace('until: ""', "until: 2027-01-01")
    )
    assert judged([one], read_suppressions(filled, "s.yaml"), NOON).findings == ()


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_by_an_error_of_ours(text: str):
    try:
        read_suppressions(text, "s.yaml")
    except DocumentError as error:
        assert str(error).startswith("s.yaml:")
