"""What the decision point counts of itself, for `/metrics`. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from adapters.authzen.cache import DecisionCache
from adapters.authzen.deciding import Evaluated
from adapters.authzen.metrics import Counter, Counters, Histogram, exposition
from adapters.authzen.operations import Operations
from adapters.authzen.port import Measure, PdpPort
from spir.model.decision import Effect

__all__ = ["Tally"]


# How many decisions were given by what they say; None: the request could not be read.
_ByEffect: TypeAlias = dict[Effect | None, Counter]


class Tally:
    """Children are bound here, once; counting is an addition."""

    def __init__(self, operations: Operations) -> None:
        self._requests = Counters("spir_pdp_requests_total", "calls by operation and status", ("operation", "status"))
        self._decisions = Counters("spir_pdp_decisions_total", "decisions given", ("protocol", "effect"))
        self._seconds = {id: Histogram() for id in operations.by_id}
        self._by_status = {(id, 200): self._requests.child(id, "200") for id in operations.by_id}
        self._http, self._pipelined = self._by_effect("http"), self._by_effect("pipelined")

    def _by_effect(self, protocol: str) -> _ByEffect:
        found: _ByEffect = {effect: self._decisions.child(protocol, effect.value) for effect in Effect}
        found[None] = self._decisions.child(protocol, "error")
        return found

    def served(self, operation: str, status: int, seconds: float) -> None:
        """A call has been answered; `operation` "" for one that is not in the table."""
        counter = self._by_status.get((operation, status))
        if counter is None:
            counter = self._by_status[operation, status] = self._requests.child(operation, str(status))
        counter.value += 1
        histogram = self._seconds.get(operation)
        if histogram is not None:
            histogram.observe(seconds)

    def over_http(self, given: Iterable[Evaluated]) -> None:
        _count(given, self._http)

    def over_pipeline(self, given: Iterable[Evaluated]) -> None:
        _count(given, self._pipelined)

    def text(self, port: PdpPort, cache: DecisionCache[Evaluated]) -> bytes:
        """All counters as Prometheus text."""
        seconds = {"spir_pdp_request_seconds": ("time until an answer was ready", self._seconds)}
        return exposition((self._requests, self._decisions), seconds, [*_own(port, cache), *port.measures()])


def _count(given: Iterable[Evaluated], counters: _ByEffect) -> None:
    for done in given:
        counters[None if done.decision is None else done.decision.effect].value += 1


def _own(port: PdpPort, cache: DecisionCache[Evaluated]) -> Iterable[Measure]:
    yield Measure("spir_bundle_info", 1, {"fingerprint": port.bundle}, help="the bundle in force")
    yield Measure("spir_facts_revision", port.snapshot.revision, help="how often facts have changed")
    yield Measure("spir_pdp_cache_entries", len(cache), help="decisions that are remembered")
    for result, count in (("hit", cache.hits), ("miss", cache.misses)):
        name, help = "spir_pdp_cache_lookups_total", "questions by whether the answer was remembered"
        yield Measure(name, count, {"result": result}, "counter", help)
    for part in sorted(port.health()):
        yield Measure("spir_unsound", 1, {"part": part}, help="parts that a safe answer needs and does not have")
