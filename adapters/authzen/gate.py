"""Who may call: the caller is identified, and then decided upon by the same engine, with default deny.

Nothing that a caller says about itself counts; the port says who showed these
credentials. The permission is an operation code, as `execute:policy:evaluate`.
What was found is remembered for a moment: verifying a token costs more than a
decision. No I/O: time is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple, TypeAlias, TypeVar

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

K = TypeVar("K")
V = TypeVar("V")

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


class _Pass(NamedTuple):
    """Somebody was let in, by this directory, these rules and these facts; `until` ends it in any case."""

    subject: Entity
    entities: Mapping[str, Entity]
    bundle: str
    facts: int
    until: datetime

    def good(self, port: PdpPort, now: datetime) -> bool:
        same = self.facts == port.snapshot.revision and self.bundle == port.bundle
        return same and self.entities is port.entities and now < self.until


class _Caller(NamedTuple):
    subject: Entity
    address: str
    entities: Mapping[str, Entity]
    until: datetime


class Gate:
    """`open` lets everybody in, unasked. `seconds`: how long an identity is believed without being shown again."""

    def __init__(self, port: PdpPort, open: bool, seconds: float) -> None:
        self.open = open
        self._port = port
        self._patience = timedelta(seconds=seconds)
        self._callers: dict[Shown, _Caller] = {}
        self._passes: dict[tuple[Shown, str], _Pass] = {}

    def admit(self, shown: Shown, credentials: Callable[[], Credentials], permission: str, now: datetime) -> Entity:
        """The caller, if it may. `credentials` is asked only if nobody showed this lately.

        Raises Unauthenticated, Forbidden.
        """
        if self.open:
            return ANYBODY
        port, held = self._port, self._passes.get((shown, permission))
        if held is not None and held.good(port, now):
            return held.subject
        caller = self._caller(shown, credentials, now)
        _put(self._passes, (shown, permission), self._permitted(caller, permission))
        return caller.subject

    def _permitted(self, caller: _Caller, permission: str) -> _Pass:
        context = {"ip": caller.address or None, "protocol": "pdp"}
        request = Request.build(caller.subject, permission, context=context)
        decision = self._port.decide(request)
        duties = (*decision.obligations, *(tied.obligation for tied in decision.tied))
        if not decision.permitted or unmet(duties, UNDERSTOOD):
            raise Forbidden(caller.subject, request, decision)
        until = min(caller.until, decision.valid_until or caller.until)
        return _Pass(caller.subject, caller.entities, decision.bundle, decision.facts, until)

    def _caller(self, shown: Shown, credentials: Callable[[], Credentials], now: datetime) -> _Caller:
        """Who it is. Somebody who was taken out of the directory is not believed any more."""
        found = self._callers.get(shown)
        if found is None or found.entities is not self._port.entities or not now < found.until:
            found = self._identified(credentials(), now)
            _put(self._callers, shown, found)
        return found

    def _identified(self, credentials: Credentials, now: datetime) -> _Caller:
        entities = self._port.entities
        identity = self._port.identify(credentials)
        if identity.expires is not None and identity.expires <= now:
            raise Unauthenticated("the credentials have expired")
        until = min(now + self._patience, identity.expires or now + self._patience)
        return _Caller(identity.subject, credentials.address, entities, until)


def _put(memory: dict[K, V], key: K, value: V) -> None:
    if len(memory) >= MOST_REMEMBERED:
        memory.clear()
    memory[key] = value
