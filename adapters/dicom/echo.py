"""C-ECHO: asked of the PACS itself, so that an answer means that the whole way is open (PS3.4 annex A)."""

from __future__ import annotations

from adapters.dicom.message import CEchoRq, CEchoRsp
from adapters.dicom.session import Call, Caller, Message, PeerGone, Said, Side, Site, Steps, Trail, guarded
from spir.exchange import Answer, AskPeer, Await, Session

__all__ = ["echo"]


def echo(site: Site, caller: Caller, call: Call) -> Session:
    """One C-ECHO. It needs an identified peer and no decision; only a failure of the way is recorded."""
    trail = Trail(site, caller, call)
    return guarded(trail, _echo(trail))


def _echo(trail: Trail) -> Steps:
    call = trail.call
    yield AskPeer(Message(call.context, CEchoRq(call.command.message_id, call.model.uid)))
    event = yield Await()
    match event:
        case Said(Side.PEER, CEchoRsp(status=status)):
            yield Answer(Message(call.context, call.response(status)))
        case _:
            raise PeerGone("something came that does not belong to an echo", clause="PS3.7 9.1.5")
