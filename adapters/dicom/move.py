"""C-MOVE: the PACS sends permitted series to a registered destination itself (PS3.4 C.4.2).

A destination that is not registered gets nothing (0xA801), and the PACS is not
even asked whether it knows it.
"""

from __future__ import annotations

from adapters.dicom.message import CMoveRq
from adapters.dicom.retrieve import Found
from adapters.dicom.rows import Judge
from adapters.dicom.session import Call, Caller, Site, Steps, Trail, conclude, guarded
from adapters.dicom.status import Status
from adapters.dicom.transfer import Transfer, retrieve
from spir.exchange import Session
from spir.record.event import Outcome

__all__ = ["move"]


def move(site: Site, caller: Caller, call: Call) -> Session:
    """One C-MOVE from its request to its final response."""
    trail = Trail(site, caller, call)
    return guarded(trail, _move(trail))


def _move(trail: Trail) -> Steps:
    call = trail.call
    assert isinstance(call.command, CMoveRq)
    destination = call.command.destination
    upstream = trail.site.destinations.get(destination)
    if upstream is None:
        response = call.response(Status.DESTINATION_UNKNOWN, "the move destination is not registered")
        yield from conclude(trail, response, Outcome.REFUSED)
        return
    trail.notes["destination"] = destination
    request = CMoveRq(call.command.message_id, call.model.uid, upstream, call.command.priority)

    def begin(judge: Judge, found: Found) -> Transfer:
        return Transfer(trail, judge, found, request)

    yield from retrieve(trail, {"destination": destination}, begin)
