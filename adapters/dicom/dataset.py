"""Read and splice data sets as bytes, without decoding what nobody asked for.

Decoding of values is left to the caller who wants one: `text` and `values`.
Nothing here knows what an attribute means, and no error repeats a value.
"""

from __future__ import annotations

import warnings
from bisect import bisect
from collections.abc import Mapping
from functools import cache

from adapters.dicom.elements import OF_ITEMS, DatasetError, Incomplete, Index, encode_element, vr_of, walk

__all__ = ["DataSet", "DatasetError", "HeadReader", "decode_text", "encode"]

CHARACTER_SET = 0x00080005


class DataSet:
    """The top-level elements of a data set, in order. Immutable by convention: `edited` makes a new one."""

    __slots__ = ("data", "explicit", "index")

    def __init__(self, data: bytes, explicit: bool, index: Index) -> None:
        self.data = data
        self.explicit = explicit
        self.index = index

    @classmethod
    def parse(cls, data: bytes, explicit: bool) -> DataSet:
        """Walk the whole of `data`. Raises DatasetError."""
        index, _ = walk(data, explicit)
        return cls(data, explicit, index)

    def __contains__(self, tag: int) -> bool:
        return tag in self.index

    def raw(self, tag: int) -> bytes | None:
        """The value's bytes, padding included; None if the element is absent."""
        span = self.index.get(tag)
        return None if span is None else self.data[span[1] : span[2]]

    def text(self, tag: int) -> str | None:
        """The whole value as text without padding; None if absent. Raises DatasetError for a bad encoding."""
        span = self.index.get(tag)
        if span is None:
            return None
        value = self.data[span[1] : span[2]]
        if value.isascii() and b"\x1b" not in value:
            return value.decode("ascii").strip(" \0")
        return decode_text(value, self._character_sets()).strip(" \0")

    def values(self, tag: int) -> tuple[str, ...]:
        """The values of a multi-valued element, without padding; empty if it is absent or has no value.

        Split after decoding: the second byte of a GB18030 character may be a backslash.
        """
        text = self.text(tag)
        return tuple(part.strip(" \0") for part in text.split("\\")) if text else ()

    def has_value(self, tag: int) -> bool:
        """Whether there is anything but padding."""
        raw = self.raw(tag)
        return raw is not None and bool(raw.strip(b" \0"))

    def is_sequence(self, tag: int) -> bool:
        """Whether the element holds items, as its VR says or, without a VR, as its bytes look."""
        start, value, _ = self.index[tag]
        if self.explicit:
            return self.data[start + 4 : start + 6] in OF_ITEMS
        return self.data[value : value + 4] == b"\xfe\xff\x00\xe0" or self.data[start + 4 : start + 8] == b"\xff" * 4

    def edited(self, changes: Mapping[int, bytes | None]) -> bytes:
        """The data set with elements replaced, inserted in their place, or (None) removed.

        An element that stays keeps its VR. Group lengths of changed groups are
        dropped: they would lie (and are retired, PS3.5 7.2).
        """
        data, index = self.data, self.index
        lengths = {tag & 0xFFFF0000: None for tag in changes if tag & 0xFFFF0000 in index}
        tags = list(index)
        pieces: list[bytes] = []
        done = 0
        for tag in sorted({**lengths, **changes}):
            start, end, vr = self._place(tag, tags)
            pieces.append(data[done:start])
            value = changes.get(tag)
            if value is not None:
                pieces.append(encode_element(tag, value, vr))
            done = end
        pieces.append(data[done:])
        return b"".join(pieces)

    def _place(self, tag: int, tags: list[int]) -> tuple[int, int, bytes]:
        """What a new element replaces (nothing: start equals end), and its VR (empty if implicit)."""
        span = self.index.get(tag)
        if span is not None:
            return span[0], span[2], self.data[span[0] + 4 : span[0] + 6] if self.explicit else b""
        following = bisect(tags, tag)
        start = self.index[tags[following]][0] if following < len(tags) else len(self.data)
        return start, start, vr_of(tag) if self.explicit else b""

    def _character_sets(self) -> tuple[str, ...]:
        raw = (self.raw(CHARACTER_SET) or b"").strip(b" \0")
        if not raw.isascii():
            raise DatasetError("the specific character set is not readable", clause="PS3.3 C.12.1.1.2")
        return tuple(part.strip() for part in raw.decode("ascii").split("\\"))


class HeadReader:
    """Collects the head of a data set from its fragments, up to the last tag of interest.

    `complete` tells whether everything up to and including `last` has been seen.
    Costs one walk if the first fragment holds the head; otherwise the walk is
    repeated only when the collected bytes have doubled, so that a peer that
    drips cannot make it quadratic.
    """

    def __init__(self, explicit: bool, last: int, cap: int = 1 << 20) -> None:
        self.explicit = explicit
        self.last = last
        self.cap = cap
        self.complete = False
        self._held = bytearray()
        self._retry = 0
        self._head: DataSet | None = None

    def feed(self, fragment: bytes | bytearray | memoryview, final: bool = False) -> bool:
        """Take the next fragment; `final` if none follows. Returns `complete`. Raises DatasetError."""
        if self.complete:
            return True
        view = memoryview(fragment)
        if self._held or not (self._try(view, final)):
            self._held += view
            if not self.complete and (final or len(self._held) >= self._retry):
                self._try(memoryview(bytes(self._held)), final)
        if not self.complete and len(self._held) > self.cap:
            raise DatasetError("the head of a data set is too long", hint=f"at most {self.cap} bytes are read")
        return self.complete

    @property
    def head(self) -> DataSet:
        """The elements up to `last`. Raises DatasetError before `complete`."""
        if self._head is None:
            raise DatasetError("the head of the data set has not been read yet")
        return self._head

    def _try(self, view: memoryview, final: bool) -> bool:
        try:
            index, end = walk(view, self.explicit, self.last)
        except Incomplete:
            if final:
                raise
            self._retry = 2 * len(view)
            return False
        # Ending exactly at an element's end without having passed `last` may only mean that more is to come.
        if end == len(view) and not final and (not index or next(reversed(index)) < self.last):
            self._retry = len(view) + 8
            return False
        self.complete = True
        self._head = DataSet(bytes(view[:end]), self.explicit, index)
        return True


def encode(elements: Mapping[int, bytes], explicit: bool) -> bytes:
    """A data set of top-level elements, in ascending order, padded to even lengths."""
    return b"".join(encode_element(tag, elements[tag], vr_of(tag) if explicit else b"") for tag in sorted(elements))


def decode_text(value: bytes, terms: tuple[str, ...]) -> str:
    """Text in the given specific character sets (PS3.3 C.12.1.1.2). Never guesses, never replaces."""
    try:
        codecs = [_codecs()[term] for term in terms]
    except KeyError:
        raise DatasetError("the specific character set is unknown to us", clause="PS3.3 C.12.1.1.2") from None
    try:
        if b"\x1b" not in value or terms[0] in ("ISO_IR 192", "GB18030", "GBK"):
            text = value.decode(codecs[0])
        else:
            text = _decoded_with_escapes(value, codecs)
    except (UnicodeError, LookupError):
        text = "\ufffd"
    if "\ufffd" in text or "\x1b" in text:
        raise DatasetError("text is not in the character set the data set names", clause="PS3.5 6.1")
    return text


def _decoded_with_escapes(value: bytes, codecs: list[str]) -> str:
    from pydicom.charset import decode_bytes

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of leaves replacement characters, which we refuse
        return str(decode_bytes(value, codecs, {0x5C}))


@cache
def _codecs() -> Mapping[str, str]:
    """Defined terms to Python codecs. The default repertoire is ASCII and nothing else."""
    from pydicom.charset import python_encoding

    return {**python_encoding, "": "ascii", "ISO_IR 6": "ascii", "ISO 2022 IR 6": "ascii"}
