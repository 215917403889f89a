"""What an acknowledgement needs of a message: its header, as far as it can be read, whatever else is wrong.

Reading a header never fails. What cannot be read is empty, so that even the
worst message gets an answer that is about it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass

from adapters.hl7v2.charset import declared, first_line
from adapters.hl7v2.delimiters import USUAL, Delimiters
from adapters.hl7v2.error import MessageError

__all__ = ["Header", "read"]

LONGEST = 250  # characters of a field that are kept

# MSA stands behind the header, with only SFT and UAC between them.
_RESPONSE = re.compile(rb"MSH[^\r\n]*[\r\n]+(?:(?:SFT|UAC)[^\r\n]*[\r\n]+)*MSA")


@dataclass(frozen=True, slots=True)
class Header:
    """Fields of MSH as sent, without control characters.

    `declared` is the codec that MSH-18 (`charset`) or the connection's pin
    names, "" if none that we know; `codec` is the one the header was read in.
    `answers` says that the message is itself an acknowledgement or a response:
    it must not be acknowledged.
    """

    found: bool = False
    delimiters: Delimiters = USUAL
    application: str = ""
    facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""
    type: str = ""
    control_id: str = ""
    processing: str = ""
    version: str = ""
    accept: str = ""
    acknowledge: str = ""
    charset: str = ""
    declared: str = ""
    codec: str = "ascii"
    answers: bool = False

    @property
    def message(self) -> str:
        """The message code, `ADT`."""
        return self._component(self.type, 0)

    @property
    def event(self) -> str:
        """Message code and trigger event, `ADT^A01`, whatever MSH-2 says."""
        trigger = self._component(self.type, 1)
        return f"{self.message}^{trigger}" if trigger else self.message

    @property
    def sender(self) -> tuple[str, str]:
        """Application and facility: the namespace ids of MSH-3 and MSH-4."""
        return self._component(self.application, 0), self._component(self.facility, 0)

    @property
    def enhanced(self) -> bool:
        """Whether enhanced acknowledgement is asked for (HL7 v2.5.1 chapter 2: MSH-15 or MSH-16 is valued)."""
        return bool(self.accept or self.acknowledge)

    def _component(self, field: str, number: int) -> str:
        parts = field.split(self.delimiters.component)
        return parts[number].strip() if number < len(parts) else ""


def read(body: bytes, charsets: Mapping[str, str], pin: str = "") -> Header:
    """The header of a message as it arrived; `pin` is the connection's codec, which wins over MSH-18."""
    body = body.removeprefix(codecs.BOM_UTF8)
    line = first_line(body)
    try:
        named = pin or declared(line, charsets)
    except MessageError:
        named = ""
    text, codec = _text(line, named)
    try:
        marks = Delimiters.of(text)
    except MessageError:
        return Header()
    fields = text.split(marks.field, 18)
    fields += [""] * (18 - len(fields))
    if len(text) > LONGEST or not text.isprintable():
        fields = [_clean(field) for field in fields]
    # fields[n] is MSH-(n+1), and [18] all the rest
    return Header(
        True,
        marks,
        application=fields[2],
        facility=fields[3],
        receiving_application=fields[4],
        receiving_facility=fields[5],
        type=fields[8],
        control_id=fields[9],
        processing=fields[10],
        version=fields[11],
        accept=fields[14],
        acknowledge=fields[15],
        charset=fields[17],
        declared=named,
        codec=codec,
        answers=fields[8].split(marks.component)[0] in ("ACK", "MCF") or _RESPONSE.match(body) is not None,
    )


def _text(line: bytes, named: str) -> tuple[str, str]:
    """The header decoded, and by what: as it says, else as UTF-8, else byte by byte."""
    for codec in (named or "utf-8", "utf-8"):
        try:
            return line.decode(codec), codec
        except UnicodeDecodeError:
            continue
    return line.decode("latin-1"), "iso8859-1"


def _clean(field: str) -> str:
    """Without control characters, and not endlessly long: it is going to be sent back."""
    return "".join(c for c in field[:LONGEST] if c.isprintable())
