"""What the decision point needs of the gateway it stands in. `compose` gives the real one; tests give theirs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from spir.engine.explain import Explanation
from spir.exchange import Credentials, Durable, Identity
from spir.language.vocabulary import Vocabulary
from spir.model.decision import Decision
from spir.model.facts import Snapshot
from spir.model.request import Entity, Request

__all__ = ["Measure", "PdpPort"]


@dataclass(frozen=True, slots=True)
class Measure:
    """A number for `/metrics` that somebody else counts. `kind`: gauge or counter."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    kind: str = "gauge"
    help: str = ""


class PdpPort(Protocol):
    """Everything here is quick and called on the event loop's thread, except `commit`, which waits for the disk,
    `reload`, and `explain`, which runs in a thread of its own.

    `bundle`, `vocabulary`, `entities`, `resources` and `snapshot` are what is in
    force at this moment: the same object for as long as nothing has changed.
    """

    @property
    def bundle(self) -> str:
        """The fingerprint of the rules in force."""
        ...

    @property
    def generation(self) -> int:
        """The generation of the bundle in force; 0 where the documents are in folders."""
        ...

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def entities(self) -> Mapping[str, Entity]:
        """People and systems of the directory, by id."""
        ...

    @property
    def resources(self) -> Mapping[str, Mapping[str, Entity]]:
        """Resources that the site knows of itself, by type and id; patients are known from their facts."""
        ...

    @property
    def snapshot(self) -> Snapshot:
        """The facts now."""
        ...

    def now(self) -> datetime:
        """The site's clock, aware."""
        ...

    def identify(self, credentials: Credentials) -> Identity:
        """Who calls. Raises Unauthenticated."""
        ...

    def decide(self, request: Request) -> Decision:
        """Decide by the rules and the facts in force. Never raises for what a request says."""
        ...

    def explain(self, request: Request, over: Callable[[], bool]) -> Explanation:
        """Decide and say why. Called in another thread; once `over` is true, no more changes are tried."""
        ...

    def reload(self) -> Awaitable[bool]:
        """Read policies and directory again; whether something else is in force now. `health` says what was refused."""
        ...

    async def commit(self, *items: Durable) -> int:
        """Make the items durable. Raises Unavailable."""
        ...

    def health(self) -> Mapping[str, str]:
        """Part -> what is wrong with it, for each part that a safe answer needs; empty if all is sound."""
        ...

    def measures(self) -> Iterable[Measure]:
        """What others count: messages that wait in the outbox, records of the audit trail, ..."""
        ...
