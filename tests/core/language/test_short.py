"""The source's short spelling says the same as CEL."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spir.errors import ConditionError
from spir.language.cel import parse
from spir.language.short import parse_short
from tests.core.language.given_documents import read, read_policy

VOCABULARY = read().vocabulary


@pytest.mark.parametrize(
    ("dimension", "text", "cel"),
    [
        ("subject", "role == 'doctor'", "subject.role == 'doctor'"),
        ("subject", "dept::in('cardiology')", "subject.department in ['cardiology']"),
        ("subject", "dept::in('cardiology', 'surgery')", "subject.department in ['cardiology', 'surgery']"),
        ("subject", "dept::in(['cardiology'])", "subject.department in ['cardiology']"),
        ("subject", "id::in(resource.patient.care_team)", "subject.id in resource.patient.care_team"),
        ("subject", "clearance::between(2, 4)", "subject.clearance >= 2 && subject.clearance <= 4"),
        ("subject", "license::startsWith('MD')", "subject.license.startsWith('MD')"),
        ("subject", "roles::exists(r, r == 'a')", "subject.roles.exists(r, r == 'a')"),
        ("environment", "time::between('08:00', '17:00')", "time.between('08:00', '17:00')"),
        ("environment", "ip::in('10.0.0.0/8')", "ip.in('10.0.0.0/8')"),
        ("resource", "owner != subject.id", "resource.owner != subject.id"),
        ("resource", "classification == 'PHI'", "resource.classification == 'PHI'"),
        ("object", "organization == 'a'", "resource.organization == 'a'"),
        ("context", "organization == 'a'", "context.organization == 'a'"),
        ("", "role == 'doctor' && !vip", "subject.role == 'doctor' && !resource.patient.vip"),
    ],
)
def test_the_short_spelling_is_the_same_tree(dimension: str, text: str, cel: str):
    assert parse_short(text, VOCABULARY, dimension=dimension) == parse(cel)


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("rle == 'doctor'", 1, "did you mean `subject.role`?"),
        ("organization == 'a'", 1, "is not known"),
        ("dept::within('a')", 7, "`within` is no function"),
        ("dpt::in('a')", 1, "`dpt` is not known"),
        ("dept::in()", 7, "at least one value"),
        ("clearance::between(1)", 12, "the least and the most"),
        ("dept::", 7, "the condition ends too early"),
        ("role == 4", 6, "cannot compare a string with a int"),
    ],
)
def test_a_wrong_short_condition_is_told_where_and_how(text: str, column: int, says: str):
    with pytest.raises(ConditionError) as caught:
        parse_short(text, VOCABULARY)
    assert says in str(caught.value)
    assert caught.value.location is not None and caught.value.location.column == column


def test_the_source_s_template_is_one_condition():
    template = """\
id: a
effect: permit
operations: ["read:document"]
when:
  subject: ["role == 'doctor'", "dept::in('cardiology')"]
  resource: ["classification == 'PHI'", "owner != subject.id"]
  environment: ["time::between('08:00', '17:00')"]
"""
    cel = (
        "subject.role == 'doctor' && subject.department in ['cardiology'] && resource.classification == 'PHI'"
        " && resource.owner != subject.id && time.between('08:00', '17:00')"
    )
    assert read_policy(template).when == parse(cel)


PIECES = st.sampled_from(
    ["role", "dept", "::", "in", "between", "(", ")", "'a'", ",", "==", "time", " ", "exists", ":"]
)


@given(st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=30))
@settings(max_examples=600, deadline=None)
def test_any_text_is_accepted_or_refused_with_our_error(text: str):
    try:
        parse_short(text, VOCABULARY, dimension="subject")
    except ConditionError as error:
        assert error.location is not None
