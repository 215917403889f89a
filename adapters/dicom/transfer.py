"""What C-MOVE and C-GET have in common: decide, resolve, expand, run the sub-requests, merge their counters.

One retrieve of the client's becomes several upstream, one after another. The
client sees one: `remaining` counts what is still to come, a C-CANCEL ends the
running one and the rest is not begun, and the final status is that of all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import Any

from adapters.dicom.dataset import DataSet, DatasetError, encode
from adapters.dicom.identifier import read_retrieval
from adapters.dicom.message import CCancelRq, CGetRq, CGetRsp, CMoveRq, CMoveRsp, is_pending
from adapters.dicom.query import request_for
from adapters.dicom.resolve import Budget
from adapters.dicom.retrieve import CARRIED_OUT, Counters, Found, SubRequest, expand, refused_list, resolved, split
from adapters.dicom.rows import Judge
from adapters.dicom.session import Message, PeerGone, Said, Sends, Side, Steps, Trail, conclude, outcome_of, renewed
from adapters.dicom.status import Status, is_failure
from spir.exchange import Answer, AskPeer, Await, Decide, Ruling
from spir.model.obligation import unmet
from spir.record.event import Outcome

__all__ = ["Transfer", "retrieve"]

FAILED_UIDS = 0x00080058
MAX_FAILED_UIDS = 900  # as many as a list of the longest UIDs can hold in explicit VR


class Transfer:
    """The sub-requests of one retrieve. C-GET overrides `_instance`: there the instances come through us."""

    def __init__(self, trail: Trail, judge: Judge, found: Found, request: CMoveRq | CGetRq) -> None:
        self.trail = trail
        self.judge = judge
        self.found = found
        self.request = request
        self.total = Counters()
        self.cancelled = False
        self.refusal: int | None = None  # the last failure of the peer's that names no counts
        self.closed = False  # decided anew, and nothing more may move
        self.stopped = False  # the running sub-request was cancelled by us
        self._lists = True
        self._members = {(one.study, one.uid): one for one in found.selected}
        self._renewed = False

    def run(self) -> Steps:
        """All sub-requests, then the record, then the final response."""
        bounds = self.trail.site.bounds
        waiting = deque(expand(self.found.selected, bounds.list_length))
        while waiting and not self.cancelled:
            current = waiting.popleft()
            parts = () if self._lists else split(current)
            if parts:
                waiting.extendleft(reversed(parts))
                continue
            yield from self._renew()
            left = self._left(current)
            if left is None:
                self._withhold()
                continue
            current = left
            response, failures = yield from self._one(current, sum(one.expected for one in waiting))
            if not self.cancelled and not self.stopped and refused_list(current, response):
                self._lists = False
                waiting.appendleft(current)
                continue
            self._add(current, response, failures)
        yield from self._conclude(sum(one.expected for one in waiting))

    def _one(self, current: SubRequest, later: int) -> Generator[Any, Any, tuple[CMoveRsp | CGetRsp, tuple[str, ...]]]:
        """One sub-request; returns its final response and the failed UIDs it names."""
        call = self.trail.call
        assert call.model.root is not None
        yield AskPeer(Message(call.context, self.request, current.identifier(call.model.root, call.explicit)))
        while True:
            event = yield Await()
            match event:
                case Said(Side.PEER, CMoveRsp() | CGetRsp() as response) if is_pending(response.status):
                    yield from self._watch(current)
                    yield self._pending(response, later)
                case Said(Side.PEER, CMoveRsp() | CGetRsp() as response, data):
                    return response, self._failures(data)
                case Said(Side.CLIENT, CCancelRq() as cancel):
                    yield from self._cancel(cancel)
                case Sends():
                    yield from self._watch(current)
                    yield from self._instance(event)
                case _:
                    raise PeerGone("something came that does not belong to a retrieve", clause="PS3.7 9.1.4")

    def _cancel(self, cancel: CCancelRq) -> Steps:
        if cancel.message_id == self.request.message_id and not self.cancelled:
            self.cancelled = True
            yield AskPeer(Message(self.trail.call.context, cancel))

    def _renew(self) -> Steps:
        """A retrieve may go on for long: what was right at its beginning need not be."""
        if self.closed or not self.trail.stale():
            return
        ruling = yield from renewed(self.trail, CARRIED_OUT)
        if ruling is None:
            self.closed = True
        else:
            self._renewed = True
            self.judge = replace(self.judge, ruling=ruling)

    def _left(self, current: SubRequest) -> SubRequest | None:
        """What of a sub-request may be retrieved by the ruling of now; None for nothing."""
        if self.closed or not self._renewed:
            return None if self.closed else current
        members = [self._members[current.study, uid] for uid in current.series]
        kept = [one for one in members if one.admitted(self.judge)]
        if len(kept) == len(members):
            return current
        expected = sum(one.expected for one in kept)
        return replace(current, series=tuple(one.uid for one in kept), expected=expected) if kept else None

    def _withhold(self) -> None:
        self.trail.partial = True
        self.trail.count("withheld")

    def _watch(self, current: SubRequest) -> Steps:
        """Cancel what is running when it may not be retrieved any more; what has moved has moved."""
        if self.stopped or not self.trail.stale():
            return
        yield from self._renew()
        if self._left(current) != current:
            self.stopped = True
            self._withhold()
            if not self.cancelled:
                yield AskPeer(Message(self.trail.call.context, CCancelRq(self.request.message_id)))

    def _instance(self, event: Sends) -> Steps:
        raise PeerGone("the PACS sends an instance that nobody asked it to send here", clause="PS3.7 9.1.4")
        yield

    def _counted(self, response: CMoveRsp | CGetRsp, failures: tuple[str, ...] = ()) -> Counters:
        """What the peer has counted in one sub-request, as the client may see it."""
        return Counters.of(response, failures)

    def _pending(self, response: CMoveRsp | CGetRsp, later: int) -> Answer:
        sofar = self.total + self._counted(response)
        return Answer(self._message(Status.PENDING, sofar, (response.remaining or 0) + later))

    def _add(self, current: SubRequest, response: CMoveRsp | CGetRsp, failures: tuple[str, ...]) -> None:
        counted = self._counted(response, failures)
        if self.stopped:
            self.stopped = False
        elif is_failure(response.status) and not Counters.of(response).done:
            self.refusal = response.status
            counted = Counters(failed=max(current.expected, 1))
        self.total += counted

    def _failures(self, data: bytes | None) -> tuple[str, ...]:
        if not data:
            return ()
        try:
            return DataSet.parse(data, self.trail.call.explicit).values(FAILED_UIDS)
        except DatasetError:
            return ()  # the counts still tell that something failed

    def _conclude(self, later: int) -> Steps:
        trail, total = self.trail, self.total
        status: int = total.status()
        if self.cancelled:
            status = Status.CANCELLED
        elif not total.completed and not total.warning and self.refusal is not None:
            status = self.refusal
        elif self.closed and not total.done:
            status = Status.NOT_AUTHORISED
        for name, number in (("completed", total.completed), ("failed", total.failed), ("warning", total.warning)):
            trail.count(name, number)
        message = self._message(status, total, later if self.cancelled else None)
        outcome = Outcome.REFUSED if status == Status.NOT_AUTHORISED else outcome_of(trail, status)
        yield from conclude(trail, message.command, outcome, message.data)  # type: ignore[arg-type]

    def _message(self, status: int, counters: Counters, remaining: int | None) -> Message:
        """A response with counters; `remaining` only where PS3.7 tables 9.1-3 and 9.1-4 allow it."""
        call = self.trail.call
        kind = CMoveRsp if isinstance(self.request, CMoveRq) else CGetRsp
        data = None
        if remaining is None or status == Status.CANCELLED:
            uids = "\\".join(counters.failures[:MAX_FAILED_UIDS])
            data = encode({FAILED_UIDS: uids.encode("ascii", "replace")}, call.explicit) if uids else None
        command = kind(
            self.request.message_id,
            self.request.sop_class,
            status,
            remaining=remaining,
            completed=counters.completed,
            failed=counters.failed,
            warning=counters.warning,
            has_data=data is not None,
        )
        return Message(call.context, command, data)


def retrieve(
    trail: Trail,
    context: Mapping[str, Any],
    begin: Callable[[Judge, Found], Transfer],
) -> Steps:
    """Decide, resolve, select; then what `begin` makes runs, or the retrieve is denied as a whole.

    Whoever may see only some things is told the same of what is missing and of what is hidden.
    """
    call, caller, site = trail.call, trail.caller, trail.site
    assert call.model.root is not None
    retrieval = read_retrieval(call.model.root, call.data, call.explicit)
    trail.notes["level"] = retrieval.level.name
    ruling: Ruling = yield Decide(
        request_for(caller.identity.subject, call.model.service, {**caller.context, **context})
    )
    trail.ruling = ruling
    decision = ruling.decision
    if decision.denied or unmet(decision.obligations, CARRIED_OUT):
        yield from denied(trail)
        return
    judge = Judge(ruling, site.reading(), site.masks, site.ae_title)
    found = yield from resolved(retrieval, judge, Budget(site.bounds.lookups, site.issuers))
    _note(trail, found)
    if not found.selected and (found.hidden or not decision.permitted):
        if found.withheld:
            # What is recorded is the question about the first series that was withheld: it can be explained in full.
            trail.asked = ruling.request.completed(found.withheld[0])
        yield from denied(trail)
        return
    trail.owes((*decision.obligations, *found.duties))
    if found.selected:
        yield trail.opening()
    yield from begin(judge, found).run()


def denied(trail: Trail) -> Steps:
    response = trail.call.response(Status.NOT_AUTHORISED, "not authorised by policy")
    yield from conclude(trail, response, Outcome.REFUSED)


def _note(trail: Trail, found: Found) -> None:
    trail.count("series", len(found.selected))
    trail.count("withheld", found.hidden)
    trail.partial = found.hidden > 0
    for properties in (*(one.properties for one in found.selected), *found.withheld):
        patient = properties.get("patient")
        trail.concerns(patient["id"] if patient else None)
