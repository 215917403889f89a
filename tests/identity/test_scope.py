"""Scopes: each family in its normal form; the unknown is kept and grants nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.identity.scope import Family, Scope, granted, parse, split
from spir.errors import Unauthenticated


@pytest.mark.parametrize(
    ("text", "family", "parts"),
    [
        ("med:record:read:phi:level3", Family.MEDICAL, ("record", "read", "phi", "3")),
        ("med:record:read:phi", Family.MEDICAL, ("record", "read", "phi", "")),
        ("read:patient:allergy", Family.OPERATION, ("read", "patient", "allergy")),
        ("search:imaging", Family.OPERATION, ("search", "imaging", "")),
        ("patient/Observation.rs", Family.SMART, ("patient", "Observation", "rs", "")),
        ("user/*.cruds", Family.SMART, ("user", "*", "cruds", "")),
        ("system/Patient.read", Family.SMART, ("system", "Patient", "rs", "")),
        ("system/Patient.write", Family.SMART, ("system", "Patient", "cud", "")),
        ("patient/*.*", Family.SMART, ("patient", "*", "cruds", "")),
        ("patient/Observation.rs?category=lab", Family.SMART, ("patient", "Observation", "rs", "category=lab")),
    ],
)
def test_a_scope_in_its_normal_form(text: str, family: Family, parts: tuple[str, ...]):
    assert parse(text) == Scope(family, parts, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "openid",
        "launch/patient",
        "offline_access",
        "med:record:read:phi:level6",
        "med:record:read:phi:level33",
        "med:record:read",
        "MED:record:read:phi",
        "read:*",
        "read:patient:*",
        "read:patient:",
        "read:patient:allergy:x",
        "grant:patient",
        "read:Patient",
        "patient/Observation.sr",
        "patient/Observation.rr",
        "patient/Observation.",
        "patient/observation.rs",
        "patient/Observation.rs?",
        "group/Observation.rs",
        "read:patient:allergy\n",
        "patient/Observation.rs\n",
    ],
)
def test_what_is_no_scope_of_ours_is_kept_and_grants_nothing(text: str):
    assert parse(text) == Scope(Family.UNKNOWN, (), text)
    assert granted([text]) == ()


def test_operation_codes_become_permissions():
    scopes = ("med:record:read:phi:level3", "openid", "patient/*.rs", "read:patient:allergy")
    assert granted(scopes) == ("med:record:read:phi:level3", "read:patient:allergy")


def test_scopes_are_split_sorted_and_each_there_once():
    assert split("b a b") == ("a", "b")
    assert split("") == ()


@given(st.text())
def test_any_text_is_split_or_refused(text: str):
    try:
        found = split(text)
    except Unauthenticated:
        return
    assert " ".join(found).isascii()


@given(st.from_regex(r"(read|med|patient)[:/a-zA-Z*.0-9?-]{0,30}"))
def test_any_scope_is_parsed(text: str):
    assert parse(text).text == text
