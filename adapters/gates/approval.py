"""SHELL: the gate of changes: what a change newly permits is said, and may need a second person.

The difference to what is in force is proved, and goes into the log (policies
and how many regions) and the trail (each region with a request that shows it).
With `[policy] second_signature`, a bundle that newly permits anything, or owes
less for it, comes into force only if two people have signed it: one of
`trusted_keys`, and another of `second_keys` (of `trusted_keys` where there are
none). What could not be decided, within a third of `validate_seconds`, counts as
permitted.
"""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from adapters.audit.keys import verify
from adapters.bundles import Source, read_kept, second_keys, trusted_keys
from adapters.gates.candidate import NOTHING, Candidate, Refused
from adapters.gates.patience import Patience
from adapters.gates.surveys import Surveys
from adapters.parts import rules_of
from adapters.settings import Settings
from spir.assurance.change import Change, Difference, Version
from spir.assurance.difference import Bounds, difference
from spir.embed import default_vocabulary, library_templates
from spir.language.document import read_documents

__all__ = ["Approval"]

log = logging.getLogger("spir.policies")

SHARE = 1 / 3  # of the seconds of the validator
TOLD = 20  # regions in the trail
WIDTH = 120  # characters of a text in it
DENIED = "newly denied"  # what is not decided about denials is no reason for a signature


class Approval:
    """Raises Refused for a change that needs a second signature and has none."""

    def __init__(self, settings: Settings, surveys: Surveys | None = None) -> None:
        self._settings = settings
        self._surveys = surveys or Surveys()

    def __call__(self, candidate: Candidate) -> Mapping[str, Any]:
        policy = self._settings.policy
        if (policy.validate == "off" and not policy.second_signature) or candidate.unchanged:
            return NOTHING
        if candidate.before is None and candidate.source.generation == candidate.source.state.active:
            return NOTHING  # as it was before the restart; and folders, of which nobody knows what they were
        found = self._compared(self._before(candidate), self._after(candidate))
        notes = {"newly_permits": _notes(found)} if _wider(found) else NOTHING
        if notes:
            log.info("policies %s newly permit: %s", candidate.rules.fingerprint, _told(found))
        if notes and policy.second_signature:
            self._check_signatures(candidate.source, notes)
        return notes

    def _before(self, candidate: Candidate) -> Version | None:
        if candidate.before is None:
            return self._kept()
        self._surveys.of(candidate)
        return replace(candidate.before, survey=self._surveys.in_force(candidate))

    def _after(self, candidate: Candidate) -> Version:
        return replace(candidate.version, survey=self._surveys.of(candidate))

    def _kept(self) -> Version | None:
        """What was in force before the restart."""
        kept = read_kept(self._settings)
        if kept is None:
            return None
        documents = read_documents(kept.documents, vocabulary_text=default_vocabulary(), templates=library_templates())
        return Version(rules_of(self._settings, documents), documents.vocabulary)

    def _compared(self, before: Version | None, after: Version) -> Difference:
        if before is None:
            return Difference(undecided=("nothing was in force before",))
        patience = Patience(self._settings.policy.validate_seconds * SHARE)
        found = difference(before, after, bounds=Bounds(go_on=patience.left))
        return replace(found, undecided=tuple(text for text in found.undecided if DENIED not in text))

    def _check_signatures(self, source: Source, details: Mapping[str, Any]) -> None:
        first, second = trusted_keys(self._settings), second_keys(self._settings)
        signed = source.bundle.signers((*first, *second), verify) if source.bundle else ()
        authors = {key.public for key in first if key in signed}
        approvers = {key.public for key in second or first if key in signed}
        if any(author != approver for author in authors for approver in approvers):
            return
        names = ", ".join(dict.fromkeys(key.name for key in signed)) or "nobody"
        raise Refused(
            f"this newly permits what was denied, and only {names} signed it",
            hint="a second person signs it, too, with `spir bundle sign`",
            details=details,
        )


def _wider(found: Difference) -> bool:
    return bool(found.permitted or found.undecided or any(map(_owes_less, found.obliged)))


def _owes_less(change: Change) -> bool:
    return any(owed not in change.after.obligations for owed in change.before.obligations)


def _told(found: Difference) -> str:
    """For the log: policies only."""
    changes = (*found.permitted, *filter(_owes_less, found.obliged))
    ids = dict.fromkeys(policy.id for change in changes for policy in change.policies)
    regions = f"{len(changes)} regions"
    doubts = f", {len(found.undecided)} not decided" if found.undecided else ""
    return f"{regions}{doubts}{' by ' if ids else ''}{', '.join(list(ids)[:TOLD])}"


def _notes(found: Difference) -> list[Mapping[str, Any]]:
    """For the trail. The requests are made up: whoever is in them is nobody."""
    changes = (*found.permitted, *filter(_owes_less, found.obliged))
    told: list[Mapping[str, Any]] = [
        {
            "region": _lines(change.region),
            "policies": [policy.id for policy in change.policies],
            "cause": _lines(change.cause),
            "request": change.request.to_json(),
            "at": change.at.isoformat(),
        }
        for change in changes[:TOLD]
    ]
    more = [{"more": len(changes) - TOLD}] if len(changes) > TOLD else []
    return [*told, *more, *({"undecided": _lines(text)} for text in found.undecided[:TOLD])]


def _lines(text: str) -> list[str]:
    """The trail takes short texts."""
    return textwrap.wrap(text, WIDTH)
