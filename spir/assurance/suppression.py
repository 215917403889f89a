"""Acknowledgements of findings: who accepts one, why, and until when.

One YAML file, a list of entries, each of which must say all of it::

    - mark: 3fa9c1d2e4b5             # as the report prints it
      reason: the ward is moving; both rules are wanted until the new one is in force
      by: a.head-of-security
      until: 2027-03-31              # the whole of that day, in UTC; or a time with its zone

Never for ever: what has expired counts as absent and is named. An error is not
acknowledged at all, it is mended. The mark changes with the policies that a
finding is about and with the requests that it is about, so that nothing new
hides behind an old entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from spir.assurance.finding import Finding
from spir.errors import DocumentError, Location
from spir.language.form import Form, form_of, items_of, moment_of
from spir.language.nodes import read_nodes

__all__ = ["FIELDS", "Suppression", "read_suppressions", "stubs"]

FIELDS = ("mark", "reason", "by", "until")

LONGEST = 500

_MARK = re.compile(r"[0-9a-f]{12}", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


@dataclass(frozen=True, slots=True)
class Suppression:
    """`until` is exclusive."""

    mark: str
    reason: str
    by: str
    until: datetime
    location: Location = field(compare=False)

    def expired(self, at: datetime) -> bool:
        return at >= self.until


def read_suppressions(text: str, file: str) -> tuple[Suppression, ...]:
    """Raises DocumentError with file, line and column. An empty file acknowledges nothing."""
    nodes = read_nodes(text, file)
    if len(nodes) > 1:
        raise DocumentError("the suppressions are one document", location=nodes[1].location)
    entries = items_of(nodes[0], "the suppressions") if nodes else ()
    found: dict[str, Suppression] = {}
    for form in (form_of(node, "a suppression", FIELDS) for node in entries):
        one = Suppression(_mark(form), _words(form, "reason"), _words(form, "by"), _until(form), form.location)
        if one.mark in found:
            raise form.error(f"`{one.mark}` is there twice", "mark", f"the other is at {found[one.mark].location}")
        found[one.mark] = one
    return tuple(found.values())


def stubs(findings: Iterable[Finding]) -> str:
    """Entries for these findings as YAML, refused as they are: whoever acknowledges fills in why, who and how long."""
    return "".join(_stub(finding) for finding in findings)


def _stub(finding: Finding) -> str:
    about = " ".join(f"{finding.severity.label}, {finding.check}: {finding.text}".split())
    return f'# {about}\n- mark: "{finding.mark}"\n  reason: ""\n  by: ""\n  until: ""\n'


def _mark(form: Form) -> str:
    found = form.text("mark")
    if not _MARK.fullmatch(found):
        raise form.error("`mark` is no mark of a finding", "mark", "take it from the report, in quotes")
    return found


def _words(form: Form, key: str) -> str:
    found = " ".join(form.text(key).split())
    if len(found) > LONGEST:
        raise form.error(f"`{key}` is too long", key, f"at most {LONGEST} characters")
    return found


def _until(form: Form) -> datetime:
    text = form.text("until")
    if not _DAY.fullmatch(text):
        return moment_of(form.node("until"), "`until`")
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC) + timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise form.error("`until` is no day", "until", "as 2027-03-31") from error
