"""Put back what a masked reader never saw, so that reading, changing and writing destroys nothing.

The places are those that were cut out of the resource as it is stored. What
was hidden as a whole comes back as a whole. Where a mask goes through an
array or an object, what was shown of it must come back unchanged: else nobody
can say whose hidden part it is. New items may be added. That rule does not
look at whether there was anything hidden, so it tells nothing either.
"""

from __future__ import annotations

import orjson
from msgspec import Raw

from adapters.fhir.document import Cut, Remove, cut, items, join, members
from adapters.fhir.outcome import Refused

__all__ = ["restored"]


def restored(stored: bytes | Raw, where: Cut, given: bytes | Raw) -> bytes:
    """The object `given`, with what `where` hides of `stored` put back. Raises Refused (422)."""
    before, after = members(stored), members(given)
    for name, below in where.items():
        if name not in before:
            continue
        if isinstance(below, Remove):
            # A narrative or a display that the client wrote itself is kept: both are derived.
            after.setdefault(name, before[name])
        elif cut(before[name], below) is None:
            after[name] = _joined(before[name], after.get(name), name)
        else:
            after[name] = Raw(_inside(before[name], below, after.get(name), name))
    return join(after)


def _joined(stored: Raw, given: Raw | None, name: str) -> Raw:
    """A member that was hidden altogether, because nothing of it was to be shown."""
    if given is None:
        return stored
    if _opening(stored) == _opening(given) == b"[":
        return Raw(join(items(given) + items(stored)))
    raise _changed(name)


def _inside(stored: Raw, where: Cut, given: Raw | None, name: str) -> bytes:
    """A member that was shown in part."""
    if given is not None and _opening(stored) == _opening(given):
        if _opening(stored) == b"[":
            return _array(stored, where, given, name)
        if _opening(stored) == b"{":
            return restored(stored, where, given)
    raise _changed(name)


def _array(stored: Raw, where: Cut, given: Raw, name: str) -> bytes:
    after = items(given)
    free: dict[bytes, list[int]] = {}
    for place, item in enumerate(after):
        free.setdefault(_likeness(item), []).append(place)
    hidden: list[Raw] = []
    for index, item in enumerate(items(stored)):
        if index not in where:
            continue
        shown = cut(item, where[index])
        if shown is None:
            hidden.append(item)
        elif places := free.get(_likeness(shown)):
            after[places.pop(0)] = item
        else:
            raise _changed(name)
    return join(after + hidden)


def _likeness(raw: bytes | Raw) -> bytes:
    """Equal for items that say the same, whatever the order of their members."""
    return orjson.dumps(orjson.loads(bytes(raw)), option=orjson.OPT_SORT_KEYS)


def _opening(raw: Raw) -> bytes:
    return bytes(raw).lstrip()[:1]


def _changed(name: str) -> Refused:
    return Refused(
        422,
        "business-rule",
        f"`{name}` cannot be changed or taken away by one from whom parts of it are hidden",
        hint="send what was read of it unchanged; new items may be added",
    )
