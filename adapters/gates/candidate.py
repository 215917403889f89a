"""What stands at a gate: rules that are to come into force, and what is in force now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from adapters.bundles import Source
from spir.assurance.change import Version
from spir.engine.compiler import Compiled
from spir.engine.ruleset import RuleSet
from spir.errors import DocumentError, Location
from spir.language.document import Documents

__all__ = ["NOTHING", "Candidate", "Gate", "Refused", "version_of"]

NOTHING: Mapping[str, Any] = MappingProxyType({})
NO_SOURCE = Source(NOTHING)


@dataclass(frozen=True, slots=True)
class Candidate:
    """`prepared` is what the rules were compiled to. `before` is in force now; None where nothing is, yet."""

    documents: Documents
    rules: RuleSet
    source: Source = NO_SOURCE
    prepared: Any = None
    before: Version | None = None

    @property
    def version(self) -> Version:
        return version_of(self.rules, self.documents, self.prepared)

    @property
    def unchanged(self) -> bool:
        """What it says is in force already."""
        return self.before is not None and self.before.rules.fingerprint == self.rules.fingerprint


def version_of(rules: RuleSet, documents: Documents, prepared: Any) -> Version:
    """For a comparison; with what the rules were compiled to, if they were."""
    decide = prepared.decide if isinstance(prepared, Compiled) else None
    return Version(rules, documents.vocabulary, decide=decide)


class Refused(DocumentError):
    """A gate is closed to these rules. `details` are for the audit trail: ids of ours, no people's."""

    def __init__(
        self, message: str, *, hint: str = "", location: Location | None = None, details: Mapping[str, Any] = NOTHING
    ) -> None:
        super().__init__(message, hint=hint, location=location)
        self.details = details


# Raises DocumentError or BundleError for rules that may not come into force; what it returns is recorded with them.
Gate: TypeAlias = Callable[[Candidate], Mapping[str, Any]]
