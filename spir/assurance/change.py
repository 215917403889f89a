"""The words of a difference: two versions of the policies, and what the second decides otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from spir.assurance.finding import Named
from spir.assurance.survey import Survey
from spir.engine.ruleset import RuleSet, Site
from spir.engine.ruling import Decide
from spir.language.document import Documents
from spir.language.vocabulary import Vocabulary
from spir.model.decision import Decision
from spir.model.request import Request

__all__ = ["Change", "Difference", "Direction", "Version"]


class Direction(Enum):
    PERMIT = "permit"  # denied before, permitted now
    DENY = "deny"  # permitted before, denied now
    OBLIGE = "oblige"  # permitted before and now, with other obligations


@dataclass(frozen=True, slots=True)
class Version:
    """One side: the rules in force at a site, and the vocabulary that requests keep to.

    `survey` is what is known of the rules, and `decide` is how the compiled ones decide, where somebody has them.
    """

    rules: RuleSet
    vocabulary: Vocabulary
    survey: Survey | None = field(default=None, compare=False, repr=False)
    decide: Decide | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, documents: Documents, site: Site = Site()) -> Version:
        return cls(RuleSet.of(documents.policy_sets, documents.fingerprint, site), documents.vocabulary)


@dataclass(frozen=True, slots=True)
class Change:
    """One region in which requests are decided otherwise, with a request of it that was replayed on both sides.

    `policies` are those that the versions differ in and that have a say on this request; where the
    site or the layers differ and no policy does, there are none and `cause` says what.
    """

    direction: Direction
    region: str
    request: Request
    at: datetime
    before: Decision
    after: Decision
    policies: tuple[Named, ...] = ()
    cause: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "direction": self.direction.value,
            "region": self.region,
            "request": self.request.to_json(),
            "at": self.at.isoformat(),
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "policies": [policy.to_json() for policy in self.policies],
            "cause": self.cause,
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """`undecided` says what could not be made sure of; `remarks` what else differs (vocabulary, site, layers)."""

    changes: tuple[Change, ...] = ()
    undecided: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def found(self, direction: Direction) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.direction is direction)

    @property
    def permitted(self) -> tuple[Change, ...]:
        """What the new version permits and the old one denied."""
        return self.found(Direction.PERMIT)

    @property
    def denied(self) -> tuple[Change, ...]:
        """What the new version denies and the old one permitted."""
        return self.found(Direction.DENY)

    @property
    def obliged(self) -> tuple[Change, ...]:
        """What stays permitted, with other obligations."""
        return self.found(Direction.OBLIGE)

    @property
    def proved_equal(self) -> bool:
        """No request is decided otherwise, and that is proved."""
        return not self.changes and not self.undecided

    def to_json(self) -> dict[str, Any]:
        return {
            "equal": self.proved_equal,
            "permitted": [change.to_json() for change in self.permitted],
            "denied": [change.to_json() for change in self.denied],
            "obliged": [change.to_json() for change in self.obliged],
            "undecided": list(self.undecided),
            "remarks": list(self.remarks),
        }
