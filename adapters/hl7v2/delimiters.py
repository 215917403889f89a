"""The delimiters a message declares in MSH-1 and MSH-2 (HL7 v2.5.1 chapter 2; a fifth since v2.7)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from adapters.hl7v2.error import MessageError

__all__ = ["USUAL", "Delimiters"]


@dataclass(frozen=True, slots=True)
class Delimiters:
    """MSH-1 and MSH-2. A character the sender did not declare is "" and splits nothing."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str = ""

    @classmethod
    def of(cls, text: str) -> Delimiters:
        """The delimiters that a text beginning with `MSH` declares. Raises MessageError."""
        return _delimiters(text[:_LONGEST])

    @property
    def encoding(self) -> str:
        """As MSH-2 has them."""
        return self.component + self.repetition + self.escape + self.subcomponent + self.truncation


# A delimiter is a printable ASCII character that no value can do without: neither letter, digit, blank nor quote.
_MARK = r"[!#-/:-@\[-`{-~]"
_DELIMITERS = re.compile(rf"MSH({_MARK})((?:(?!\1){_MARK}){{2,5}})(?=\1|\r|\n|\Z)")
_LONGEST = 10  # MSH, the separator, five characters and the separator again


@lru_cache(maxsize=64)
def _delimiters(start: str) -> Delimiters:
    found = _DELIMITERS.match(start)
    if found is None:
        raise MessageError("the message does not begin with a usable MSH", code=100, where="MSH^1")
    field, encoding = found.groups()
    if len(set(encoding)) != len(encoding):
        raise MessageError("two delimiters are the same", where="MSH^1^2", clause="MSH-2")
    return Delimiters(field, *encoding, *[""] * (5 - len(encoding)))


USUAL = Delimiters()
