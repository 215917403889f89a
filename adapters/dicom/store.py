"""C-STORE: judge an instance by the head of its data set, then pass it on as it is, or let it go by (PS3.4 annex B).

The command names only a class and a UID, so the decision waits for Patient ID,
Modality and the UIDs of study and series. What the head says must be what the
command says. The data set is never rebuilt: a permitted one reaches the PACS
byte for byte.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from adapters.dicom.dataset import DataSet, DatasetError
from adapters.dicom.ledger import Ledger
from adapters.dicom.message import CStoreRq, CStoreRsp
from adapters.dicom.resolve import MODALITY, SERIES_UID, SOP_CLASS, SOP_UID
from adapters.dicom.rows import Reading
from adapters.dicom.session import (
    DELIVERED,
    NO_AUDIT,
    Call,
    Caller,
    ClientGone,
    Message,
    PassOn,
    PeerGone,
    Said,
    Side,
    Site,
    Skip,
    Steps,
    Trail,
    conclude,
    guarded,
)
from adapters.dicom.status import Status, comment, is_failure, status_of
from adapters.dicom.tables import Service, tables
from spir.errors import SpirError
from spir.exchange import Answer, AskPeer, Await, Decide, Ruling, Session
from spir.model.obligation import unmet
from spir.model.request import Request
from spir.record.event import Outcome

__all__ = ["HEAD_LAST", "matches", "properties_of", "store"]

HEAD_LAST = SERIES_UID  # everything a judgement needs stands at or before this tag


def store(site: Site, caller: Caller, call: Call, head: DataSet | DatasetError, ledger: Ledger) -> Session:
    """One C-STORE from its request to its response; its data set is held back after the head. `ledger` is the
    association's."""
    trail = Trail(site, caller, call)
    return guarded(trail, _store(trail, head, ledger))


def properties_of(head: DataSet, reading: Reading) -> dict[str, Any]:
    """What a head says of the resource, and the `instance`. Raises DatasetError."""
    return {
        **reading.study(head),
        "series": head.text(SERIES_UID) or None,
        "modality": head.text(MODALITY) or None,
        "sop_class": head.text(SOP_CLASS) or None,
        "instance": head.text(SOP_UID) or None,
    }


def matches(command: CStoreRq, head: DataSet) -> bool:
    """Whether command and data set name the same class and instance (PS3.7 9.1.1.1)."""
    try:
        return (head.text(SOP_CLASS), head.text(SOP_UID)) == (command.sop_class, command.sop_instance)
    except DatasetError:
        return False


def _store(trail: Trail, head: DataSet | DatasetError, ledger: Ledger) -> Steps:
    command = trail.call.command
    assert isinstance(command, CStoreRq)
    if isinstance(head, DatasetError):
        yield from _refused(trail, Status.UNABLE_TO_PROCESS, comment(head))
        return
    if command.sop_class != trail.call.model.uid or not matches(command, head):
        yield from _refused(trail, Status.MISMATCH, "command and data set name different instances")
        return
    if not (yield from _permitted(trail, head)):
        yield from _refused(trail, Status.NOT_AUTHORISED, "not authorised by policy")
        return
    yield from _passed_on(trail, command, ledger)


def _permitted(trail: Trail, head: DataSet) -> Steps:
    """Decide on the head. Nothing is deferred: all that will ever be known of the instance is known."""
    try:
        found = properties_of(head, trail.site.reading())
    except DatasetError:
        return False
    found.pop("instance")
    patient = found["patient"]
    trail.concerns(patient["id"] if patient else None)
    operation = tables().operations[Service.STORE]
    request = Request.build(trail.caller.identity.subject, operation, found, context=trail.caller.context)
    ruling: Ruling = yield Decide(request)
    trail.ruling = ruling
    admission = ruling.admit({})
    duties = (*ruling.decision.obligations, *admission.obligations)
    if not ruling.decision.permitted or not admission.admitted or unmet(duties, DELIVERED):
        return False
    trail.owes(duties)
    return True


def _passed_on(trail: Trail, command: CStoreRq, ledger: Ledger) -> Steps:
    """Send the instance to the PACS and answer with its status, without its words.

    The record of the series becomes durable while the PACS stores: a modality
    waits for each response, and should not wait for both one after the other.
    """
    call, key = trail.call, _series(trail)
    try:
        yield AskPeer(PassOn(call.context, command))
    except ClientGone:
        raise
    except SpirError:
        yield Skip(Side.CLIENT)
        raise
    unrecorded = None if ledger.knows(key) else (yield from _recorded(trail, key, ledger))
    event = yield Await()
    match event:
        case Said(Side.PEER, CStoreRsp(status=status)):
            response = call.response(status)
        case _:
            raise PeerGone("something came that does not belong to a store", clause="PS3.7 9.1.1")
    if unrecorded is not None:
        yield Answer(Message(call.context, call.response(status_of(unrecorded, Service.STORE), NO_AUDIT)))
    elif is_failure(status):
        yield from conclude(trail, response, Outcome.ERROR)
    else:
        trail.recorded = True
        ledger.count(key)
        yield Answer(Message(call.context, response))


def _series(trail: Trail) -> Hashable:
    """The series as it was judged, and by which rules: what one record may stand for."""
    assert trail.ruling is not None
    decision, found = trail.ruling.decision, trail.ruling.request.resource.properties
    patient = found.get("patient")
    names = tuple(found.get(name) for name in ("study", "series", "modality", "sop_class", "created"))
    return (patient["id"] if isinstance(patient, Mapping) else None, names, decision.bundle, decision.matched)


def _recorded(trail: Trail, key: Hashable, ledger: Ledger) -> Steps:
    """Make the record of the series durable; the error if that fails."""
    try:
        yield ledger.opening(trail)
    except SpirError as error:
        return error
    ledger.begin(key, trail)
    return None


def _refused(trail: Trail, status: int, text: str) -> Steps:
    yield Skip(Side.CLIENT)
    yield from conclude(trail, trail.call.response(status, text), Outcome.REFUSED)
