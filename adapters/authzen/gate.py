"""Who may call: the caller is identified, and then decided upon by the same engine, with default deny.

Nothing that a caller says about itself counts; the port says who showed these
credentials. The permission is an operation code, as `execute:policy:evaluate`.
What was found is remembered for a moment: verifying a token costs more than a
decision. No I/O: time is passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

from adapters.authzen.answer import Refused
from adapters.authzen.port import PdpPort
from spir.errors import Unauthenticated
from spir.exchange import Credentials
from spir.model.decision import Decision
from spir.model.obligation import unmet
from spir.model.request import Entity, Request

__all__ = ["ANYBODY", "Forbidden", "Gate", "Shown"]

# What a caller showed, as it came: header or token, certificate, address.
Shown: TypeAlias = tuple[bytes, bytes, str]

ANYBODY = Entity("system", "anybody")

# What a gate can carry out itself: every call is recorded anyway.
UNDERSTOOD = frozenset(("audit",))
MOST_REMEMBERED = 1024

FORBIDDEN = 403


class Forbidden(Refused):
    """We know who it is, and it may not. `caller` and the decision on it are for the audit trail."""

    def __init__(self, caller: Entity, request: Request, decision: Decision) -> None:
        hint = f"a policy must permit `{request.operation}` to it"
        super().__init__(FORBIDDEN, "the caller may not ask this", hint=hint)
        self.caller, self.request, self.decision = caller, request, decision


@dataclass(frozen=True, slots=True)
class _Grant:
    bundle: str
    facts: int
    until: datetime | None

    def good(self, bundle: str, facts: int, now: datetime) -> bool:
        return self.facts == facts and self.bundle == bundle and (self.until is None or now < self.until)


@dataclass(slots=True)
class Caller:
    """Who it is, until when we need not ask again, and what it may."""

    subject: Entity
    address: str
    until: datetime
    grants: dict[str, _Grant] = field(default_factory=dict)


class Gate:
    """`open` lets everybody in, unasked. `seconds`: how long an identity is believed without being shown again."""

    def __init__(self, port: PdpPort, open: bool, seconds: float) -> None:
        self.open = open
        self._port = port
        self._patience = timedelta(seconds=seconds)
        self._entities = port.entities
        self._callers: dict[Shown, Caller] = {}

    def admit(self, shown: Shown, credentials: Callable[[], Credentials], permission: str, now: datetime) -> Entity:
        """The caller, if it may. `credentials` is asked only if nobody showed this lately.

        Raises Unauthenticated, Forbidden.
        """
        if self.open:
            return ANYBODY
        caller = self._caller(shown, credentials, now)
        self._check(caller, permission, now)
        return caller.subject

    def _caller(self, shown: Shown, credentials: Callable[[], Credentials], now: datetime) -> Caller:
        if self._port.entities is not self._entities:  # somebody may have been taken out of the directory
            self._entities = self._port.entities
            self._callers.clear()
        found = self._callers.get(shown)
        if found is None or not now < found.until:
            found = self._identified(credentials(), now)
            if len(self._callers) >= MOST_REMEMBERED:
                self._callers.clear()
            self._callers[shown] = found
        return found

    def _check(self, caller: Caller, permission: str, now: datetime) -> None:
        grant = caller.grants.get(permission)
        if grant is not None and grant.good(self._port.bundle, self._port.snapshot.revision, now):
            return
        context = {"ip": caller.address or None, "protocol": "pdp"}
        request = Request.build(caller.subject, permission, context=context)
        decision = self._port.decide(request)
        duties = (*decision.obligations, *(tied.obligation for tied in decision.tied))
        if not decision.permitted or unmet(duties, UNDERSTOOD):
            caller.grants.pop(permission, None)
            raise Forbidden(caller.subject, request, decision)
        caller.grants[permission] = _Grant(decision.bundle, decision.facts, decision.valid_until)

    def _identified(self, credentials: Credentials, now: datetime) -> Caller:
        identity = self._port.identify(credentials)
        if identity.expires is not None and identity.expires <= now:
            raise Unauthenticated("the credentials have expired")
        until = min(now + self._patience, identity.expires or now + self._patience)
        return Caller(identity.subject, credentials.address, until)
