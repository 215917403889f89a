"""How bodies are decoded and written, JSON and msgpack: read as a form, or refused with a RequestError. Pure.

An error says where something is wrong, and never what stands there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec

from adapters.authzen import forms
from spir.errors import RequestError
from spir.model.value import MAX_DEPTH, freeze

__all__ = ["JSON", "MSGPACK", "Codec", "decoded", "framed_evaluation", "plain_batch", "spelled"]


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


def _opened(value: Any) -> dict[Any, Any]:
    """What an encoder does not know itself: a map that cannot be written to."""
    if isinstance(value, MappingProxyType):
        return dict(value)
    raise TypeError(f"`{type(value).__name__}` cannot be written")


JSON = Codec(b"j", "JSON", msgspec.json.Decoder, msgspec.json.Encoder(enc_hook=_opened).encode)
MSGPACK = Codec(b"m", "msgpack", msgspec.msgpack.Decoder, msgspec.msgpack.Encoder(enc_hook=_opened).encode)

_Decode = Callable[[bytes], Any]


def _both(codec: Codec, kind: Any) -> tuple[_Decode, _Decode]:
    """How a form is read: with plain values, and, where that fails, with any."""
    return codec.decoder(kind[forms.Plain]).decode, codec.decoder(kind[forms.Loose]).decode


def _loosely(kind: Any) -> tuple[None, _Decode]:
    return None, JSON.decoder(kind).decode


_DECODE: dict[tuple[bytes, Any], tuple[_Decode | None, _Decode]] = {
    (b"j", forms.Evaluation): _loosely(forms.Evaluation[forms.Loose]),
    (b"j", forms.Item): _both(JSON, forms.Item),
    (b"m", forms.Item): _both(MSGPACK, forms.Item),
    (b"m", forms.Several): (None, MSGPACK.decoder(forms.Several).decode),
    (b"j", forms.Several): _loosely(forms.Several),
    (b"j", forms.SubjectSearch): _loosely(forms.SubjectSearch),
    (b"j", forms.ResourceSearch): _loosely(forms.ResourceSearch),
    (b"j", forms.ActionSearch): _loosely(forms.ActionSearch),
    (b"j", forms.Planned): _loosely(forms.Planned),
    (b"j", forms.Nothing): _loosely(forms.Nothing),
}
_EVALUATION = JSON.decoder(forms.Evaluation[forms.Plain]).decode
_FRAME = _both(MSGPACK, forms.Frame)
_WHOLE: dict[bytes, _Decode] = {codec.tag: codec.decoder(forms.Whole).decode for codec in (JSON, MSGPACK)}


def decoded(codec: Codec, kind: Any, body: bytes) -> Any:
    """A body of this form, its properties made of immutable values. Raises RequestError."""
    plain, loose = _DECODE[codec.tag, kind]
    found = None if plain is None else _plainly(plain, codec, body)
    if found is not None:
        return found
    try:
        found = loose(body)
    except (ValueError, RecursionError) as error:
        raise _unreadable(error, codec.name) from error
    if codec is JSON:
        _check_single(body, found)
    _settle(found)
    return found


def plain_evaluation(body: bytes) -> forms.Evaluation[Any] | None:
    """An evaluation in JSON that is plain as a whole; None for any other, and for what is none."""
    found: forms.Evaluation[Any] | None = _plainly(_EVALUATION, JSON, body)
    return found


def framed_evaluation(body: bytes) -> forms.Frame[Any] | None:
    """A msgpack map that is one evaluation: None for a greeting, for several, and for what is none."""
    plain, loose = _FRAME
    found: Any = _plainly(plain, MSGPACK, body)
    if found is None:
        found = _plainly(loose, MSGPACK, body)
        if found is not None:
            _settle(found)
    return None if found is None or found.evaluations or found.bearer else found


def plain_batch(codec: Codec, body: bytes) -> forms.Whole | None:
    """A batch that is plain as a whole; None for any other, the items of which are to be read one by one."""
    found: forms.Whole | None = _plainly(_WHOLE[codec.tag], codec, body)
    return found


def _plainly(decode: _Decode, codec: Codec, body: bytes) -> Any:
    """What is of the form, and has no member twice for sure; None for all else: why, somebody else will find out."""
    try:
        found = decode(body)
    except (ValueError, RecursionError):
        return None
    return found if codec is not JSON or _is_single(body, found) else None


def spelled(codec: Codec, data: Any) -> bytes:
    """What a decoder read, written again: the same for the same data. Raises RequestError for what is too deep."""
    try:
        return codec.encode(data)
    except RecursionError as error:
        raise _unreadable(error, codec.name) from error


def _settle(found: msgspec.Struct) -> None:
    """Make immutable values of loose properties, in place. Raises RequestError for what no policy can use."""
    for name in found.__struct_fields__:
        given = getattr(found, name)
        if isinstance(given, msgspec.Struct):
            _settle(given)
        elif isinstance(given, dict):
            for key, item in given.items():
                given[key] = freeze(item, MAX_DEPTH - 1)


def _check_single(body: bytes, found: Any) -> None:
    """Raises RequestError where a member stands twice: whoever reads it elsewhere might take the other one."""
    try:
        if not _is_single(body, found):
            json.loads(body, object_pairs_hook=_single)
    except (ValueError, RecursionError) as error:
        raise _unreadable(error, JSON.name) from error


def _is_single(body: bytes, found: Any) -> bool:
    """Whether no member stands twice, for sure.

    Written anew, what was read has a colon for each of its members and those inside of texts; a body has more of them
    only if it has more members, unless a text has one escaped (U+003A). Such bodies must be looked through.
    """
    odd = b"\\" in body and b"\\u003" in body  # one byte is sought much faster than several
    return not odd and body.count(b":") == JSON.encode(found).count(b":")


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
