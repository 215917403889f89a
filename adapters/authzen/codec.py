"""How bodies are decoded and written, JSON and msgpack: read as a form, or refused with a RequestError. Pure.

An error says where something is wrong, and never what stands there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from adapters.authzen import forms
from spir.errors import RequestError

__all__ = ["JSON", "MSGPACK", "Codec", "decoded", "framed_evaluation", "spelled"]


@dataclass(frozen=True, slots=True)
class Codec:
    """How one endpoint's bodies are written. `tag` keeps their digests apart."""

    tag: bytes
    name: str
    decoder: Callable[[type[Any]], Any]
    encode: Callable[[Any], bytes]

    def several(self, answers: Sequence[bytes]) -> bytes:
        """The answer to a batch, of answers that are written already."""
        if self.tag == b"j":
            return b'{"evaluations":[%b]}' % b",".join(answers)
        return b"\x81\xabevaluations\xdd%b%b" % (len(answers).to_bytes(4, "big"), b"".join(answers))


JSON = Codec(b"j", "JSON", msgspec.json.Decoder, msgspec.json.Encoder().encode)
MSGPACK = Codec(b"m", "msgpack", msgspec.msgpack.Decoder, msgspec.msgpack.Encoder().encode)

_DECODE: dict[tuple[bytes, type[Any]], Callable[[bytes], Any]] = {
    (codec.tag, kind): codec.decoder(kind).decode
    for codec in (JSON, MSGPACK)
    for kind in (forms.Evaluation, forms.Several, forms.Item)
} | {
    (JSON.tag, kind): JSON.decoder(kind).decode
    for kind in (forms.SubjectSearch, forms.ResourceSearch, forms.ActionSearch, forms.Planned, forms.Nothing)
}
_FRAME = MSGPACK.decoder(forms.Frame).decode


def decoded(codec: Codec, kind: type[Any], body: bytes) -> Any:
    """A body of this form. Raises RequestError."""
    try:
        found = _DECODE[codec.tag, kind](body)
    except (ValueError, RecursionError) as error:
        raise _unreadable(error, codec.name) from error
    if codec is JSON:
        _check_single(body, found)
    return found


def framed_evaluation(body: bytes) -> forms.Frame | None:
    """A msgpack map that is one evaluation: None for a greeting, for several, and for what is none."""
    try:
        found: forms.Frame = _FRAME(body)
    except (ValueError, RecursionError):
        return None
    return None if found.evaluations or found.bearer else found


def spelled(codec: Codec, data: Any) -> bytes:
    """What a decoder read, written again: the same for the same data. Raises RequestError for what is too deep."""
    try:
        return codec.encode(data)
    except RecursionError as error:
        raise _unreadable(error, codec.name) from error


def _check_single(body: bytes, found: Any) -> None:
    """Raises RequestError where a member stands twice: whoever reads it elsewhere might take the other one.

    Written anew, what was read has a colon for each of its members and those inside of texts; a body has more of them
    only if it has more members, unless a text has one escaped (U+003A). Such bodies are looked through.
    """
    try:
        if b"\\u003" in body or body.count(b":") != JSON.encode(found).count(b":"):
            json.loads(body, object_pairs_hook=_single)
    except (ValueError, RecursionError) as error:
        raise _unreadable(error, JSON.name) from error


def _single(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) != len({name for name, _ in pairs}):
        raise RequestError("a member stands there twice")


def _unreadable(error: Exception, form: str) -> RequestError:
    """What a decoder raised, in our words. Its validation errors name places and types, not what stands there."""
    if isinstance(error, msgspec.ValidationError):
        text = str(error)
        return RequestError(f"this is no request: {text[:1].lower()}{text[1:]}")
    if isinstance(error, RecursionError):
        return RequestError("the body is nested too deeply")
    return RequestError(f"the body is not {form}")
