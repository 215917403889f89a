"""What callers are told of errors, and what the log is: never what was asked. Pure."""

from __future__ import annotations

from adapters.authzen.answer import Refused
from spir.errors import RequestError, Unauthenticated, Unavailable

__all__ = ["place_of", "refusal_of"]


def refusal_of(error: Exception) -> Refused:
    """What the caller is told of an error."""
    match error:
        case Refused():
            return error
        case Unauthenticated():
            challenge = ((b"www-authenticate", b'Bearer realm="spir"'),)  # RFC 6750 section 3
            return Refused(401, "the caller is not known", hint="send a valid access token", headers=challenge)
        case RequestError():
            return Refused(400, error.message, hint=error.hint)
        case Unavailable():
            return Refused(503, "no sound decision can be given now", hint="try again later")
        case _:
            return Refused(500, "the call failed")


def place_of(error: BaseException) -> str:
    """The function and the line that raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace is not None else "?"
