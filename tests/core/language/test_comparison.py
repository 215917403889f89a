"""What is read at sight is what the parser reads; and the commonest comparisons are read at sight."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spir.errors import ConditionError
from spir.language.cel import parse
from spir.language.comparison import comparison

COMMON = [
    'subject.role == "physician"',
    "subject.clearance >= 3",
    "resource.risk != -1",
    "subject.id in resource.patient.care_team",
    "'R' in object.labels",
    "environment.ip == operation.name",
    'resource.modality in [\'CR\',"D\'X" , ""]',
    "resource.modality in[ ]",
    "context.emergency",
    "! context.device_trusted",
    "resource.vip == false",
    "true",
]


@pytest.mark.parametrize("text", COMMON)
def test_what_policies_say_most_is_read_at_sight(text: str):
    assert comparison(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        "subject.id insubject.roles",
        "subject.risk == 0x1F",
        "subject.risk == 1u",
        "subject.risk == 9223372036854775808",
        "subject.risk == - 1",
        "subject.risk == 1.5",
        '"""a""" == subject.role',
        r'subject.role == "a\"b"',
        "subject.roles.exists(x, x == 1)",
        "!subject.role == true",
        "subject.role == trues",
        "subjects.role == true",
        "subject.role == 'a' == true",
        "subject.role in ['a',]",
    ],
)
def test_what_is_not_as_plain_is_left_to_the_parser(text: str):
    assert comparison(text) is None


WORDS = ["subject.role", "object.", ".x", "1", "09", '"a"', "true", "null", "in", " in ", "==", "!=", "<=", "&&", "//"]
PIECES = st.sampled_from([*COMMON, *WORDS, *" !-'\"[],()b_=\n\u00a0\x0b\u0661\u00e9"])


@given(st.lists(PIECES, max_size=9).map("".join))
@settings(max_examples=3000, deadline=None)
def test_it_reads_as_the_parser_does_or_not_at_all(text: str):
    found = comparison(text)
    try:
        read = repr(parse(text))
    except ConditionError as error:
        read = str(error)
    assert found is None or repr(found) == read
