"""Negotiation: which presentation contexts and roles an association has (PS3.8 9.3.2, PS3.7 D.3).

Pure. `negotiate` makes the acceptor's answer out of a function that judges one context; `agreed`
reads, for either side, what both have agreed on, and refuses an answer that was never asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from adapters.dicom.item import PduError
from adapters.dicom.pdu import (
    AssociateAccept,
    AssociateRequest,
    PresentationContextItem,
    PresentationResultItem,
    ResultReason,
    RoleSelection,
    UserInformation,
)

__all__ = [
    "IMPLEMENTATION_CLASS",
    "IMPLEMENTATION_VERSION",
    "AcceptedContext",
    "Judge",
    "agreed",
    "negotiate",
    "own_user",
    "supporting",
]

IMPLEMENTATION_CLASS = "2.25.324868154851314648670062189374398493830"  # a UUID of our own (PS3.5 B.2)
IMPLEMENTATION_VERSION = "SPIR"
MAX_LENGTH = 128 * 1024  # what we advertise: large enough for full speed, small enough to buffer


@dataclass(frozen=True, slots=True)
class AcceptedContext:
    """A presentation context in force."""

    id: int
    abstract_syntax: str
    transfer_syntax: str


Judge: TypeAlias = Callable[[PresentationContextItem], tuple[int, str]]  # a ResultReason, a transfer syntax


def own_user(max_length: int = MAX_LENGTH, **fields: object) -> UserInformation:
    """The user information we send. Asynchronous operations are never offered: one at a time."""
    return replace(UserInformation(max_length, IMPLEMENTATION_CLASS, IMPLEMENTATION_VERSION), **fields)  # type: ignore[arg-type]


def supporting(syntaxes: Mapping[str, Collection[str]]) -> Judge:
    """A judge that accepts what is in `syntaxes` (abstract syntax -> transfer syntaxes), taking the
    first transfer syntax of the requestor's list that is supported."""

    def judge(context: PresentationContextItem) -> tuple[int, str]:
        known = syntaxes.get(context.abstract_syntax)
        if known is None:
            return ResultReason.ABSTRACT_SYNTAX_NOT_SUPPORTED, ""
        for syntax in context.transfer_syntaxes:
            if syntax in known:
                return ResultReason.ACCEPTANCE, syntax
        return ResultReason.TRANSFER_SYNTAXES_NOT_SUPPORTED, ""

    return judge


def negotiate(
    request: AssociateRequest,
    accept: Judge,
    *,
    user: UserInformation | None = None,
    role: Callable[[RoleSelection], RoleSelection | None] = lambda role: None,
) -> AssociateAccept:
    """The answer to `request`: every context in its order, judged by `accept`.

    `role` answers each role selection; None says nothing, which leaves the default roles. An answer
    never gives a role that was not proposed (PS3.7 D.3.3.4). An asynchronous operations window is
    answered with one operation each way, and only if one was proposed.
    """
    user = user or own_user()
    proposed = ((selection, role(selection)) for selection in request.user.roles)
    roles = tuple(
        RoleSelection(asked.sop_class, asked.scu and given.scu, asked.scp and given.scp)
        for asked, given in proposed
        if given is not None
    )
    window = None if request.user.async_window is None else (1, 1)
    return AssociateAccept(
        request.called,
        request.calling,
        tuple(_result(context, *accept(context)) for context in request.contexts),
        replace(user, roles=roles, async_window=window),
    )


def _result(context: PresentationContextItem, result: int, syntax: str) -> PresentationResultItem:
    """A refused context repeats a proposed syntax: the field is not tested but must be there (9.3.3.2)."""
    return PresentationResultItem(context.id, result, syntax or context.transfer_syntaxes[0])


def agreed(request: AssociateRequest, accept: AssociateAccept) -> dict[int, AcceptedContext]:
    """The contexts in force, by id. Raises PduError for an answer outside of what was proposed."""
    proposed = {context.id: context for context in request.contexts}
    contexts: dict[int, AcceptedContext] = {}
    for answer in accept.contexts:
        context = proposed.get(answer.id)
        if context is None:
            raise PduError("a presentation context is answered that was not proposed", clause="PS3.8 9.3.3.2")
        if not answer.accepted:
            continue
        if answer.transfer_syntax not in context.transfer_syntaxes:
            raise PduError("a transfer syntax is accepted that was not proposed", clause="PS3.8 9.3.3.2")
        contexts[answer.id] = AcceptedContext(answer.id, context.abstract_syntax, answer.transfer_syntax)
    return contexts
