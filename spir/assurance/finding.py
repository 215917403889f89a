"""What a check of policies found: where, how bad, one request that shows it, and what to do.

A finding is about policies as they are written, not about one decision. Its
`request` is a counterexample that was replayed in the real engine: whoever
doubts the finding can decide it again with `spir eval`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any

from spir.engine.ruleset import Rule
from spir.errors import Location
from spir.model.policy import Layer
from spir.model.request import Request

__all__ = ["Counterexample", "Finding", "Named", "Severity"]


class Severity(IntEnum):
    """What a gate makes of it: an error refuses, a warning must be acknowledged, a note is for the reader."""

    NOTE = 0
    WARNING = 1
    ERROR = 2

    @property
    def label(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Named:
    """A policy that a finding is about, where it was written, and the template that it was made from."""

    id: str
    layer: Layer
    location: Location | None = None
    template: str = ""

    @classmethod
    def of(cls, rule: Rule) -> Named:
        origin = rule.policy.origin
        return cls(rule.policy.id, rule.layer, rule.policy.location, str(origin) if origin else "")

    def to_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {"id": self.id, "layer": self.layer.label}
        if self.template:
            body["template"] = self.template
        return body if self.location is None else {**body, "location": str(self.location)}


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A complete request, the moment at which it is asked, and what the engine said to it."""

    request: Request
    at: datetime
    effect: str

    def to_json(self) -> dict[str, Any]:
        return {"request": self.request.to_json(), "at": self.at.isoformat(), "effect": self.effect}


@dataclass(frozen=True, slots=True)
class Finding:
    """`policies` has the upper one first. `pairs` is how many single findings this one stands for.

    `decided` is False where the check could not make sure within its bounds; `text` then says so.
    """

    check: str
    severity: Severity
    text: str
    policies: tuple[Named, ...] = ()
    region: str = ""
    counterexample: Counterexample | None = None
    mend: str = ""
    pairs: int = 1
    decided: bool = True

    @property
    def mark(self) -> str:
        """What suppressions name it by: the same for as long as the check and the policies are."""
        names = "\n".join((self.check, *sorted({policy.id for policy in self.policies}), self.region))
        return hashlib.sha256(names.encode("utf-8")).hexdigest()[:12]

    def to_json(self) -> Mapping[str, Any]:
        body: dict[str, Any] = {
            "check": self.check,
            "mark": self.mark,
            "severity": self.severity.label,
            "text": self.text,
            "policies": [policy.to_json() for policy in self.policies],
            "region": self.region,
            "mend": self.mend,
            "pairs": self.pairs,
            "decided": self.decided,
        }
        return {**body, "counterexample": self.counterexample.to_json()} if self.counterexample else body
