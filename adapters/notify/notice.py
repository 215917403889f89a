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

from spir.exchange import Notification

__all__ = ["Coded", "Notice", "read"]

# The longest text that is taken from a body; codes and order numbers are far shorter.
LONGEST = 256

# Words of obligations and of orders -> FHIR request-priority, most pressing last.
URGENCY = ("routine", "urgent", "asap", "stat")
WORDS: Mapping[str, str] = {
    "immediate": "stat",
    "stat": "stat",
    "critical": "stat",
    "emergency": "stat",
    "high": "stat",
    "asap": "asap",
    "urgent": "urgent",
}

_OPERATION = re.compile(r"[a-z][a-z-]{0,31}(:[a-z0-9][a-z0-9-]{0,63}){1,2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Coded:
    """A code or an identifier, with the system it belongs to ("" if not said)."""

    value: str
    system: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """`operation`: the code of what was done, "" if none; `patients`: canonical ids; `priority`: one of URGENCY."""

    operation: str
    patients: tuple[str, ...]
    order: Coded | None
    codes: tuple[Coded, ...]
    priority: str


def read(notification: Notification) -> Notice:
    """Never raises for what a body says."""
    body = notification.body
    order = _coded(body.get("order"))
    return Notice(
        operation=_operation(body.get("operation")),
        patients=_patients(body),
        order=order[0] if order else None,
        codes=tuple(dict.fromkeys(_coded(body.get("code")) + _coded(body.get("codes")))),
        priority=max((_urgency(notification.priority), _urgency(body.get("priority"))), key=URGENCY.index),
    )


def _operation(given: Any) -> str:
    """Only what is an operation code: nothing else may reach the audit trail's detail."""
    return given if isinstance(given, str) and _OPERATION.fullmatch(given) else ""


def _patients(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Of `patient` and of `patients`: text, or objects with an `id`."""
    found = [*_items(body.get("patient")), *_items(body.get("patients"))]
    ids = (item.get("id") if isinstance(item, Mapping) else item for item in found)
    return tuple(dict.fromkeys(id for id in ids if isinstance(id, str) and id))


def _coded(given: Any) -> list[Coded]:
    """Text, an object with `code`, `value` or `id` and maybe a `system`, or a list of these."""
    return [coded for item in _items(given) if (coded := _one(item)) is not None]


def _one(item: Any) -> Coded | None:
    if isinstance(item, Mapping):
        value = next((text for key in ("code", "value", "id") if (text := _text(item.get(key)))), "")
        system = _text(item.get("system"))
        return Coded(value, "" if " " in system else system) if value else None  # a URI has no white space
    text = _text(item)
    return Coded(text) if text else None


def _items(given: Any) -> Iterable[Any]:
    return given if isinstance(given, (list, tuple)) else () if given is None else (given,)


def _text(given: Any) -> str:
    """One line of printable text; "" for what is not text. FHIR has no empty strings and no control characters."""
    if not isinstance(given, str):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in given[:LONGEST]).split())


def _urgency(given: Any) -> str:
    return WORDS.get(given.strip().lower(), "routine") if isinstance(given, str) else "routine"
