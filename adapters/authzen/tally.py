"""What the decision point counts of itself, for `/metrics`. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from adapters.authzen.cache import DecisionCache
from adapters.authzen.deciding import Evaluated
from adapters.authzen.metrics import Counters, Histogram, exposition
from adapters.authzen.operations import Operations
from adapters.authzen.port import Measure, PdpPort
from spir.model.decision import Effect

__all__ = ["Tally"]


class Tally:
    """Children are bound here, once; counting is an addition."""

    def __init__(self, operations: Operations) -> None:
        self._requests = Counters("spir_pdp_requests_total", "calls by operation and status", ("operation", "status"))
        self._decisions = Counters("spir_pdp_decisions_total", "decisions given", ("protocol", "effect"))
        self._seconds = {id: Histogram() for id in operations.by_id}
        self._by_status = {(id, 200): self._requests.child(id, "200") for id in operations.by_id}
        self._http = {effect: self._decisions.child("http", effect.value) for effect in Effect}
        self._pipelined = {effect: self._decisions.child("pipelined", effect.value) for effect in Effect}
        self._undecided = {name: self._decisions.child(name, "error") for name in ("http", "pipelined")}

    def served(self, operation: str, status: int, seconds: float) -> None:
        """A call has been answered; `operation` "" for one that is not in the table."""
        counter = self._by_status.get((operation, status))
        if counter is None:
            counter = self._by_status[operation, status] = self._requests.child(operation, str(status))
        counter.value += 1
        histogram = self._seconds.get(operation)
        if histogram is not None:
            histogram.observe(seconds)

    def over_http(self, done: Evaluated) -> None:
        counter = self._undecided["http"] if done.decision is None else self._http[done.decision.effect]
        counter.value += 1

    def over_pipeline(self, done: Evaluated) -> None:
        counter = self._undecided["pipelined"] if done.decision is None else self._pipelined[done.decision.effect]
        counter.value += 1

    def text(self, port: PdpPort, cache: DecisionCache[Evaluated]) -> bytes:
        """All counters as Prometheus text."""
        seconds = {"spir_pdp_request_seconds": ("time until an answer was ready", self._seconds)}
        return exposition((self._requests, self._decisions), seconds, [*_own(port, cache), *port.measures()])


def _own(port: PdpPort, cache: DecisionCache[Evaluated]) -> Iterable[Measure]:
    yield Measure("spir_bundle_info", 1, {"fingerprint": port.bundle}, help="the bundle in force")
    yield Measure("spir_facts_revision", port.snapshot.revision, help="how often facts have changed")
    yield Measure("spir_pdp_cache_entries", len(cache), help="decisions that are remembered")
    for result, count in (("hit", cache.hits), ("miss", cache.misses)):
        name, help = "spir_pdp_cache_lookups_total", "questions by whether the answer was remembered"
        yield Measure(name, count, {"result": result}, "counter", help)
    for part in sorted(port.health()):
        yield Measure("spir_unsound", 1, {"part": part}, help="parts that a safe answer needs and does not have")
