"""The gate of a site's own tests.

The tests that a site keeps beside its policies (documents of kind PolicyTest)
run against the very rules that are to come. Cases that name documents of their
own are about those, and are left to `spir test`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from adapters.gates.candidate import NOTHING, Candidate
from adapters.identity.directory import Directory
from adapters.parts import changes_of
from adapters.settings import Settings
from spir.assurance.policy_tests import Ground, Premises, facts_of, premises, run_case
from spir.engine.ruleset import RuleSet, Site
from spir.errors import DocumentError, SpirError
from spir.language.document import Documents
from spir.language.kinds.policy_test import Case, PolicyTest
from spir.model.facts import Change, FactStore, empty_snapshot
from spir.model.identity import PatientIdentifiers

__all__ = ["PolicyTests"]


class PolicyTests:
    """The gate of the site's own tests. Raises DocumentError for the first case that fails."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self, candidate: Candidate) -> Mapping[str, Any]:
        for test in candidate.documents.tests:
            for case in test.cases:
                self._run(test, case, candidate.documents, candidate.rules)
        return NOTHING

    def _run(self, test: PolicyTest, case: Case, documents: Documents, rules: RuleSet) -> None:
        given = premises(test, case)
        if given.documents:
            return
        site = Site(given.organization or rules.site.organization, _zone(test, case, given, rules.site.timezone))
        at = given.now or datetime.now(site.timezone)
        store = FactStore(empty_snapshot(documents.vocabulary.joins()))
        for text in given.messages:
            store.apply(self._learnt(text, given, case, at.astimezone(site.timezone)))
        store.apply(facts_of(given.facts, documents.vocabulary, at, case.location))
        here = rules if site == rules.site else RuleSet.of(rules.sets, rules.fingerprint, site)
        result = run_case(case, Ground(here, store.snapshot, at))
        if not result.passed:
            raise DocumentError(
                f"the policy test `{case.name}` fails: {result.mismatches[0]}",
                hint="mend the policies, or the test",
                location=case.location,
            )

    def _learnt(self, text: str, given: Premises, case: Case, at: datetime) -> tuple[Change, ...]:
        body = text.encode() if text.lstrip().startswith("MSH") else _bytes(text, case)
        body = body.strip() if b"\r" in body else body.strip().replace(b"\n", b"\r")
        try:
            return changes_of(body, self._people(given, case), PatientIdentifiers({}, lenient=True), at)
        except SpirError as error:
            raise DocumentError(f"a message of this case: {error.message}", location=case.location) from error

    def _people(self, given: Premises, case: Case) -> Directory:
        """The staff that the case names, else the site's own."""
        if given.directory:
            return Directory.parse(_bytes(given.directory, case).decode("utf-8", "replace"), given.directory)
        file = self._settings.directory.file
        return Directory.parse(self._settings.text(file), file) if file else Directory()


def _zone(test: PolicyTest, case: Case, given: Premises, site: ZoneInfo) -> ZoneInfo:
    if "timezone" not in case.given and "timezone" not in test.given:
        return site
    try:
        return ZoneInfo(given.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise DocumentError(f"there is no time zone `{given.timezone[:60]}`", location=case.location) from error


def _bytes(name: str, case: Case) -> bytes:
    """A file beside the test; in a bundle there are none but documents."""
    try:
        return (Path(case.location.file).parent / name).read_bytes()
    except OSError as error:
        hint = "in a bundle, write messages into the case itself"
        raise DocumentError(f"`{name}` cannot be read", hint=hint, location=case.location) from error
