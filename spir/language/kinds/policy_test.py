"""Read a document of kind PolicyTest: its outer shape only, what a case asks and expects stays as data.

spir: "1"
kind: PolicyTest
name: care team
given: {documents: [...], facts: [...], messages: [...]}
cases:
  - name: the admitting doctor may look
    request: {...}            # AuthZEN
    expect: {effect: permit}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spir.errors import Location
from spir.language.form import Form, form_of, items_of
from spir.language.nodes import Node, plain

__all__ = ["CASE_FIELDS", "FIELDS", "GIVEN_FIELDS", "Case", "PolicyTest", "read_policy_test"]

FIELDS = ("spir", "kind", "name", "description", "given", "cases")
GIVEN_FIELDS = ("documents", "facts", "messages", "now", "timezone", "organization", "directory")
CASE_FIELDS = ("name", "description", "given", "request", "rows", "expect")


@dataclass(frozen=True, slots=True)
class Case:
    """One question and its expected answer, as decoded JSON. `given` adds to that of the whole test."""

    name: str
    given: Mapping[str, Any]
    request: Mapping[str, Any]
    rows: tuple[Any, ...]
    expect: Mapping[str, Any]
    location: Location


@dataclass(frozen=True, slots=True)
class PolicyTest:
    name: str
    given: Mapping[str, Any]
    cases: tuple[Case, ...]
    location: Location


def read_policy_test(form: Form) -> PolicyTest:
    """Raises DocumentError."""
    cases = tuple(_case(node) for node in items_of(form.node("cases"), "`cases`"))
    if not cases:
        raise form.error("`cases` is empty", "cases")
    return PolicyTest(form.text("name"), _given(form), cases, form.location)


def _given(form: Form) -> Mapping[str, Any]:
    if "given" not in form:
        return {}
    found: Mapping[str, Any] = plain(form.form("given", GIVEN_FIELDS).fields)
    return found


def _case(node: Node) -> Case:
    form = form_of(node, "the case", CASE_FIELDS)
    return Case(
        form.text("name"),
        _given(form),
        plain(form_of(form.node("request"), "`request`").fields),
        tuple(plain(row) for row in form.items("rows")),
        plain(form_of(form.node("expect"), "`expect`").fields),
        form.location,
    )
