"""Acknowledgements (HL7 v2.5.1 chapter 2): original mode, and enhanced mode by MSH-15 and MSH-16.

Pure. An acknowledgement is about the message's header only: it goes out even
when nothing but MSH-10 could be read. What it repeats of the header is free of
control characters, and an error says where and what kind, never what stood
there: an acknowledgement travels and is logged.

- Original mode (MSH-15 and MSH-16 empty): one message, AA, AE or AR.
- Enhanced mode: the accept acknowledgement CA, CE or CR as MSH-15 wants it,
  then the application's AA, AE or AR as MSH-16 wants it, as a message of its
  own. What was not accepted gets no second answer, unless the sender wanted
  no accept acknowledgement of it.
- An acknowledgement or a response is never acknowledged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from types import MappingProxyType

from adapters.hl7v2.error import MessageError
from adapters.hl7v2.escape import escape
from adapters.hl7v2.header import Header
from adapters.hl7v2.times import stamp

__all__ = ["Problem", "Verdict", "answers", "codes", "expected", "problem"]

# Table 0357, the rows we use.
TEXTS: Mapping[int, str] = MappingProxyType(
    {
        100: "Segment sequence error",
        101: "Required field missing",
        102: "Data type error",
        103: "Table value not found",
        200: "Unsupported message type",
        201: "Unsupported event code",
        202: "Unsupported processing id",
        203: "Unsupported version id",
        204: "Unknown key identifier",
        207: "Application internal error",
    }
)
_SAFE_VERSION = "2.5.1"  # what we say where the sender's own version cannot be read


class Verdict(Enum):
    """What became of a message; the value is the second letter of the acknowledgement code."""

    ACCEPTED = "A"
    ERROR = "E"
    REJECTED = "R"


@dataclass(frozen=True, slots=True)
class Problem:
    """One ERR segment: `code` of table 0357, `where` as ERR-2, `text` for people, `own` our own code (ERR-5)."""

    code: int
    text: str
    where: str = ""
    own: str = ""
    severity: str = "E"


def problem(error: MessageError) -> Problem:
    """The ERR segment for an error of content. Its text and hint hold no content, by the error's own rule."""
    return Problem(error.code, f"{error.message}; {error.hint}" if error.hint else error.message, error.where)


def codes(header: Header, verdict: Verdict) -> tuple[str, ...]:
    """The acknowledgement codes to send, in order; () if none is wanted."""
    if header.answers:
        return ()
    if not header.enhanced:
        return (f"A{verdict.value}",)
    accept = _wanted(header.accept, verdict)
    application = _wanted(header.acknowledge, verdict) and (verdict is Verdict.ACCEPTED or not accept)
    return ((f"C{verdict.value}",) if accept else ()) + ((f"A{verdict.value}",) if application else ())


def answers(
    header: Header, verdict: Verdict, *, serial: str, now: datetime, problems: tuple[Problem, ...] = ()
) -> tuple[bytes, ...]:
    """The messages to send back, encoded as the message was.

    `serial` is the MSH-10 of the first; the second, if there is one, adds a
    letter. The same message gets the same answer each time it is sent.
    """
    wanted = codes(header, verdict)
    return tuple(
        _message(header, code, f"{serial}A" if number else serial, now, problems) for number, code in enumerate(wanted)
    )


def expected(header: Header, code: str) -> bool:
    """Whether the sender of this message has (another) acknowledgement coming, after `code` ("" before the first).

    What is asked for only in case of an error is not waited for.
    """
    if not header.enhanced:
        return not code
    accept, application = (_wanted(field, Verdict.ACCEPTED) for field in (header.accept, header.acknowledge))
    return (accept or application) if not code else code == "CA" and application


def _wanted(condition: str, verdict: Verdict) -> bool:
    """Table 0155. Nothing, or what is not in the table, asks for nothing in enhanced mode."""
    match condition.upper():
        case "AL":
            return True
        case "ER":
            return verdict is not Verdict.ACCEPTED
        case "SU":
            return verdict is Verdict.ACCEPTED
        case _:
            return False


def _message(header: Header, code: str, serial: str, now: datetime, problems: tuple[Problem, ...]) -> bytes:
    marks = header.delimiters
    lines = [_head(header, serial, now), *(_error(header, item) for item in problems)]
    head, *errors = (marks.field.join(line).rstrip(marks.field) for line in lines)
    about = marks.field.join(["MSA", code, header.control_id])
    text = "".join(f"{line}\r" for line in (head, about, *errors))
    return text.encode(header.codec, "replace")  # a character its set does not have becomes a question mark


def _head(header: Header, serial: str, now: datetime) -> list[str]:
    marks = header.delimiters
    trigger = header.event.partition("^")[2]
    parts = ["ACK", trigger, "ACK"] if trigger.isascii() and trigger.isalnum() else ["ACK"]
    fields = [""] * 18
    fields[0:2] = ["MSH", marks.encoding]
    fields[2:6] = [header.receiving_application, header.receiving_facility, header.application, header.facility]
    fields[6], fields[8], fields[9] = stamp(now), marks.component.join(parts), serial
    fields[10:12] = [header.processing or "P", header.version or _SAFE_VERSION]
    if header.enhanced:
        fields[14:16] = ["NE", "NE"]
    fields[17] = header.charset if header.declared else ""
    return fields


def _error(header: Header, item: Problem) -> list[str]:
    marks = header.delimiters
    coded = marks.component.join([str(item.code), TEXTS.get(item.code, ""), "HL70357"])
    own = marks.component.join([item.own, "", "99SPIR"]) if item.own else ""
    where = item.where.replace("^", marks.component)
    return ["ERR", "", where, coded, item.severity, own, "", "", escape(item.text, marks)]
