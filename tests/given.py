"""What tests are given: a clock that stands still, people, and services without sockets or disks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from spir.errors import Unauthenticated
from spir.exchange import Credentials, Durable, Identity, Learn, Ruling
from spir.model.decision import ADMIT_ALL, Admission, Decision, Effect
from spir.model.facts import FactStore
from spir.model.identity import PatientIdentifiers
from spir.model.obligation import Obligation
from spir.model.request import Entity, Request

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HIS = PatientIdentifiers({"HIS": "urn:oid:1.2.3"}, default="HIS")
DR_LI = Entity("person", "dr.li", {"role": "physician", "department": "cardiology"})


@dataclass(frozen=True)
class GivenRuling:
    """A ruling whose answer for each row is a plain function: for tests of sessions, not of decisions."""

    decision: Decision
    request: Request
    judge: Callable[[Mapping[str, Any]], bool] = lambda row: True
    obligations: tuple[Obligation, ...] = ()

    def admit(self, row: Mapping[str, Any], id: str | None = None) -> Admission:
        return Admission(not self.decision.denied and self.judge(row), self.obligations)


def permit(request: Request, **fields: Any) -> GivenRuling:
    return GivenRuling(Decision(Effect.PERMIT, request.operation, ADMIT_ALL, **fields), request)


def deny(request: Request, **fields: Any) -> GivenRuling:
    return GivenRuling(Decision(Effect.DENY, request.operation, **fields), request)


@dataclass
class GivenServices:
    """`spir.exchange.Services` in memory: decides by `ruler`, remembers what was committed."""

    ruler: Callable[[Request], Ruling] = permit
    people: Mapping[str, Entity] = field(default_factory=lambda: {"VIEWER1": DR_LI})
    staff_names: Mapping[tuple[str, str], str] = field(default_factory=lambda: {("hl7v2", "1001"): "dr.li"})
    identifiers: PatientIdentifiers = HIS
    clock: datetime = NOON
    store: FactStore = field(default_factory=FactStore)
    committed: list[Durable] = field(default_factory=list)

    def now(self) -> datetime:
        return self.clock

    def identify(self, credentials: Credentials) -> Identity:
        name = credentials.ae_title or credentials.bearer or credentials.application
        if name not in self.people:
            raise Unauthenticated(f"nobody is known as `{name}`")
        return Identity(self.people[name], "given")

    def staff(self, authority: str, value: str) -> str | None:
        return self.staff_names.get((authority, value))

    def rule(self, request: Request) -> Ruling:
        return self.ruler(request)

    async def commit(self, *items: Durable) -> int:
        self.committed.extend(items)
        for item in items:
            if isinstance(item, Learn):
                self.store.apply(item.changes)
        return self.store.snapshot.revision
