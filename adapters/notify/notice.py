"""Read what a notification is about, whichever adapter wrote it.

Pure, and tolerant: what is not there or is of another shape is left out, for
an alert with a part missing is better than none. Nothing is taken from a body
but what is named here, so that a value nobody thought of goes nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.notify.tables import tables
from spir.exchange import Notification

__all__ = ["Coded", "Notice", "Order", "read"]

# The longest text that is taken from a body; codes and order numbers are far shorter.
LONGEST = 256

_OPERATION = re.compile(r"[a-z][a-z-]{0,31}(:[a-z0-9][a-z0-9-]{0,63}){1,2}", re.ASCII)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+", re.ASCII)

# Where an order's number stands -> its identifier type (HL7 v2 table 0203, "" if not said).
_NUMBERS: Mapping[str, str] = {"placer": "PLAC", "filler": "FILL", "value": "", "id": ""}


@dataclass(frozen=True, slots=True)
class Coded:
    """A code with the URI of its system, "" if not known."""

    code: str
    system: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """An order's number; `type` is PLAC, FILL or ""; `system` is a URI or ""."""

    number: str
    type: str = ""
    system: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """`operation`: the code of what was done, "" if none; `patients`: canonical ids; `priority`: FHIR's word."""

    operation: str
    patients: tuple[str, ...]
    orders: tuple[Order, ...]
    codes: tuple[Coded, ...]
    priority: str


def read(notification: Notification) -> Notice:
    """Never raises for what a body says. Each patient, order and code comes once, in the body's order."""
    body = notification.body
    ordered = [*_items(body.get("order")), *_items(body.get("orders"))]
    coded = [*_items(body.get("code")), *_items(body.get("codes")), *_items(body.get("observations"))]
    services = [item for item in ordered if isinstance(item, Mapping) and "code" in item]
    return Notice(
        operation=_operation(body.get("operation")),
        patients=_patients([*_items(body.get("patient")), *_items(body.get("patients"))]),
        orders=_each(_order(item) for item in ordered),
        codes=_each(_coded(item) for item in [*coded, *services]),
        priority=_priority(notification.priority, body.get("priority")),
    )


def _operation(given: Any) -> str:
    """Only what is an operation code: nothing else may reach the audit trail's detail."""
    return given if isinstance(given, str) and _OPERATION.fullmatch(given) else ""


def _patients(given: Iterable[Any]) -> tuple[str, ...]:
    """Text, or objects with an `id`."""
    ids = (item.get("id") if isinstance(item, Mapping) else item for item in given)
    return tuple(dict.fromkeys(id for id in ids if isinstance(id, str) and id))


def _order(item: Any) -> Order | None:
    """The placer's number, if there is one: it is by that number that whoever ordered knows the order."""
    if isinstance(item, Mapping):
        for name, type in _NUMBERS.items():
            if number := _text(item.get(name)):
                return Order(number, type, "" if type else _system(item.get("system")))
        return None
    number = _text(item)
    return Order(number) if number else None


def _coded(item: Any) -> Coded | None:
    if isinstance(item, Mapping):
        code = _text(item.get("code"))
        return Coded(code, _system(item.get("system"))) if code else None
    code = _text(item)
    return Coded(code) if code else None


def _system(given: Any) -> str:
    """A URI as it is; the name of a coding system in HL7 v2 by the table."""
    text = _text(given)
    return text if _URI.fullmatch(text) else tables().systems.get(text, "")


def _priority(*words: Any) -> str:
    """The most pressing of them."""
    known = tables()
    found = (known.words.get(word.strip().lower()) for word in words if isinstance(word, str))
    return max((priority for priority in found if priority), key=known.urgency.index, default=known.urgency[0])


def _each(found: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(item for item in found if item is not None))


def _items(given: Any) -> Iterable[Any]:
    return given if isinstance(given, (list, tuple)) else () if given is None else (given,)


def _text(given: Any) -> str:
    """One line of printable text; "" for what is not text. FHIR has no empty strings and no control characters."""
    if not isinstance(given, str):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in given[:LONGEST]).split())
