"""Who may associate, and with which presentation contexts (PS3.8 9.3.2 to 9.3.4, PS3.7 D.3.3).

Pure. A peer is known by its calling AE title and the address it calls from,
both, and then by whatever else it shows of itself; an AE title alone is a
name that anybody can write. What is in no table is refused, context by context.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from adapters.dicom.negotiation import own_user
from adapters.dicom.pdu import (
    AssociateAccept,
    AssociateRequest,
    PresentationContextItem,
    PresentationResultItem,
    ResultReason,
    RoleSelection,
    UserIdentityAc,
)
from adapters.dicom.tables import Service, tables
from spir.errors import DocumentError
from spir.exchange import Credentials, UserIdentity
from spir.model.address import lies_in, networks_of

__all__ = ["Peer", "accepted", "credentials_of", "is_known", "lookup_context", "offered", "refused", "upstream_request"]

MAX_LENGTH = 128 * 1024
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"


@dataclass(frozen=True, slots=True)
class Peer:
    """A client that may associate: its AE title, and the addresses or networks it calls from."""

    ae_title: str
    addresses: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.addresses:
            raise DocumentError(f"the DICOM peer `{self.ae_title}` has no addresses", hint="say where it calls from")
        networks_of(self.addresses)

    def calls_from(self, address: str) -> bool:
        return lies_in(address, networks_of(self.addresses))


def is_known(peers: Iterable[Peer], ae_title: str, address: str) -> bool:
    return any(peer.ae_title == ae_title and peer.calls_from(address) for peer in peers)


def credentials_of(request: AssociateRequest, address: str, certificate: bytes) -> Credentials:
    """What the peer showed of itself."""
    shown = request.user.identity
    identity = UserIdentity(shown.type, shown.primary, shown.secondary) if shown else None
    return Credentials("dicom", address, ae_title=request.calling, certificate=certificate, user_identity=identity)


def offered(request: AssociateRequest) -> tuple[PresentationContextItem, ...]:
    """The proposed contexts that we relay, each with the transfer syntaxes that we can read; ids as proposed."""
    found = []
    for context in request.contexts:
        syntaxes = tuple(one for one in context.transfer_syntaxes if tables().supports(context.abstract_syntax, one))
        if syntaxes:
            found.append(PresentationContextItem(context.id, context.abstract_syntax, syntaxes))
    return tuple(found)


def refused(request: AssociateRequest) -> tuple[str, ...]:
    """The abstract syntaxes that we do not relay at all, each once."""
    names = dict.fromkeys(context.abstract_syntax for context in request.contexts)
    return tuple(name for name in names if tables().model(name) is None)


def lookup_context(request: AssociateRequest) -> PresentationContextItem | None:
    """A context of our own for resolving what the client asks for, under an id that it does not use; None if it
    uses all. It saves the PACS, which may serve few associations at a time, one more."""
    used = {context.id for context in request.contexts}
    free = next((id for id in range(1, 256, 2) if id not in used), None)
    return None if free is None else PresentationContextItem(free, STUDY_ROOT_FIND, (tables().implicit,))


def upstream_request(request: AssociateRequest, called: str, calling: str) -> AssociateRequest:
    """The association to ask the PACS for: the contexts we relay under the same ids, the client's roles in
    storage (C-GET), and its maximum length, so that PDUs may pass as they are. Nothing of its identity."""
    contexts = offered(request)
    own = lookup_context(request)
    if own is not None and any(_is_resolved(context.abstract_syntax) for context in contexts):
        contexts += (own,)
    names = {context.abstract_syntax for context in contexts}
    roles = tuple(role for role in request.user.roles if role.sop_class in names and _is_storage(role.sop_class))
    return AssociateRequest(called, calling, contexts, own_user(_least(request.user.max_length), roles=roles))


def accepted(request: AssociateRequest, upstream: AssociateAccept | None) -> AssociateAccept:
    """The answer to the client: what the PACS accepted of what we relay, and a refusal of everything else."""
    results = {answer.id: answer for answer in upstream.contexts} if upstream else {}
    contexts = tuple(_result(context, results) for context in request.contexts)
    shown = request.user.identity
    asked = {role.sop_class for role in request.user.roles}
    roles = tuple(role for role in upstream.user.roles if role.sop_class in asked) if upstream else ()
    user = own_user(
        _least(upstream.user.max_length if upstream else 0),
        roles=_no_more_than(roles, request.user.roles),
        async_window=(1, 1) if request.user.async_window else None,
        identity_response=UserIdentityAc() if shown and shown.response_requested else None,
    )
    return AssociateAccept(request.called, request.calling, contexts, user)


def _result(context: PresentationContextItem, results: Mapping[int, PresentationResultItem]) -> PresentationResultItem:
    if tables().model(context.abstract_syntax) is None:
        return _refusal(context, ResultReason.ABSTRACT_SYNTAX_NOT_SUPPORTED)
    answer = results.get(context.id)
    if answer is None:
        return _refusal(context, ResultReason.TRANSFER_SYNTAXES_NOT_SUPPORTED)
    if not answer.accepted:
        return _refusal(context, answer.result)
    if not tables().supports(context.abstract_syntax, answer.transfer_syntax):
        return _refusal(context, ResultReason.TRANSFER_SYNTAXES_NOT_SUPPORTED)
    return PresentationResultItem(context.id, ResultReason.ACCEPTANCE, answer.transfer_syntax)


def _refusal(context: PresentationContextItem, result: int) -> PresentationResultItem:
    return PresentationResultItem(context.id, result, context.transfer_syntaxes[0])


def _no_more_than(given: Iterable[RoleSelection], asked: Iterable[RoleSelection]) -> tuple[RoleSelection, ...]:
    """The roles given, never more than was asked for (PS3.7 D.3.3.4)."""
    wanted = {role.sop_class: role for role in asked}
    return tuple(
        RoleSelection(role.sop_class, role.scu and wanted[role.sop_class].scu, role.scp and wanted[role.sop_class].scp)
        for role in given
    )


def _is_resolved(abstract_syntax: str) -> bool:
    model = tables().model(abstract_syntax)
    return model is not None and model.root is not None


def _is_storage(sop_class: str) -> bool:
    model = tables().model(sop_class)
    return model is not None and model.service is Service.STORE


def _least(length: int) -> int:
    return min(length or MAX_LENGTH, MAX_LENGTH)
