"""C-GET: permitted series come to the client through us, on its own association (PS3.4 C.4.3).

Each instance is judged once more by its own head before a byte of it is passed
on. One that is not admitted never reaches the client; the PACS is told that it
failed, and the client's counters know nothing of it.
"""

from __future__ import annotations

from dataclasses import replace

from adapters.dicom.dataset import DataSet, DatasetError
from adapters.dicom.message import CCancelRq, CGetRq, CGetRsp, CMoveRsp, CStoreRsp, response_to
from adapters.dicom.retrieve import CARRIED_OUT, Counters, Found
from adapters.dicom.rows import Judge
from adapters.dicom.session import (
    Call,
    Caller,
    ClientGone,
    Message,
    PassOn,
    Said,
    Sends,
    Side,
    Site,
    Skip,
    Steps,
    Trail,
    guarded,
)
from adapters.dicom.status import Status
from adapters.dicom.store import matches, properties_of
from adapters.dicom.transfer import Transfer, retrieve
from spir.exchange import Answer, AskPeer, Await, Session
from spir.model.obligation import unmet

__all__ = ["get"]


def get(site: Site, caller: Caller, call: Call) -> Session:
    """One C-GET from its request to its final response."""
    trail = Trail(site, caller, call)
    return guarded(trail, _get(trail))


def _get(trail: Trail) -> Steps:
    call = trail.call
    assert isinstance(call.command, CGetRq)
    request = CGetRq(call.command.message_id, call.model.uid, call.command.priority)

    def begin(judge: Judge, found: Found) -> Transfer:
        return _Get(trail, judge, found, request)

    yield from retrieve(trail, {}, begin)


class _Get(Transfer):
    """`withheld` are the SOP Instance UIDs that the running sub-request has sent and the client has not got."""

    def __init__(self, trail: Trail, judge: Judge, found: Found, request: CGetRq) -> None:
        super().__init__(trail, judge, found, request)
        self.selected = {(one.study, one.uid): frozenset(one.instances) for one in found.selected}
        self.withheld: set[str] = set()

    def _instance(self, event: Sends) -> Steps:
        command = event.command
        yield from self._renew()
        if not self._may_pass(event):
            self.withheld.add(command.sop_instance)
            self.trail.partial = True
            self.trail.count("withheld")
            yield Skip(Side.PEER)
            yield AskPeer(Message(event.context, response_to(command, Status.NOT_AUTHORISED)))
            return
        yield Answer(PassOn(event.context, command))
        response = yield from self._stored(command.message_id)
        yield AskPeer(Message(event.context, replace(response, comment="")))

    def _stored(self, message_id: int) -> Steps:
        """The client's response to an instance; it may cancel before it responds."""
        while True:
            event = yield Await()
            match event:
                case Said(Side.CLIENT, CStoreRsp() as response) if response.message_id == message_id:
                    return response
                case Said(Side.CLIENT, CCancelRq() as cancel):
                    yield from self._cancel(cancel)
                case _:
                    raise ClientGone("the client did not respond to an instance", clause="PS3.7 9.1.1")

    def _may_pass(self, event: Sends) -> bool:
        """Whether the head says what was selected, and is admitted once more."""
        if self.closed or isinstance(event.head, DatasetError) or not matches(event.command, event.head):
            return False
        try:
            return self._admitted(event.head)
        except DatasetError:
            return False

    def _admitted(self, head: DataSet) -> bool:
        found = properties_of(head, self.judge.reading)
        named = self.selected.get((found["study"], found["series"]))
        if named is None or (named and found["instance"] not in named):
            return False
        duties = self.judge.admits({name: value for name, value in found.items() if name != "instance"})
        return duties is not None and not unmet(duties, CARRIED_OUT)

    def _counted(self, response: CMoveRsp | CGetRsp, failures: tuple[str, ...] = ()) -> Counters:
        """The peer counts what was withheld as failed; to the client it never was."""
        counted = super()._counted(response, tuple(uid for uid in failures if uid not in self.withheld))
        return replace(counted, failed=max(0, counted.failed - len(self.withheld)))

    def _add(self, current: object, response: CMoveRsp | CGetRsp, failures: tuple[str, ...]) -> None:
        super()._add(current, response, failures)  # type: ignore[arg-type]
        self.withheld.clear()
