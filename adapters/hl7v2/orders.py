"""Orders (ORM^O01, OML^O21) and results (ORU^R01): how urgent, how critical, and about whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from adapters.hl7v2.error import MessageError
from adapters.hl7v2.message import Message, Path
from adapters.hl7v2.people import PID_3, People
from adapters.hl7v2.reading import Matter
from adapters.hl7v2.tables import MessageType, Tables

__all__ = ["labels", "matters"]

_CONTROL = Path.of("ORC-1.1")
_PLACER = (Path.of("ORC-2.1"), Path.of("OBR-2.1"))
_FILLER = (Path.of("ORC-3.1"), Path.of("OBR-3.1"))
_SERVICE, _SYSTEM = Path.of("OBR-4.1"), Path.of("OBR-4.3")
_RESULT_STATUS = Path.of("OBR-25.1")
_OBSERVED, _OBSERVED_BY = Path.of("OBX-3.1"), Path.of("OBX-3.3")
_FLAGS, _STATUS = Path.of("OBX-8"), Path.of("OBX-11.1")


@dataclass(slots=True)
class _Group:
    """The segments of one order, by name: where each of them is."""

    patient: str
    segments: dict[str, list[int]] = field(default_factory=dict)

    def add(self, name: str, at: int) -> None:
        self.segments.setdefault(name, []).append(at)


def matters(message: Message, kind: MessageType, people: People, tables: Tables) -> tuple[Matter, ...]:
    """What is to be decided about the orders or results of a message. Raises MessageError.

    Orders of one patient that are equally urgent are one matter; so are all
    results of one patient, and one critical among them makes them critical.
    """
    groups = list(_groups(message, people))
    if not groups:
        name = "OBR" if kind.content == "result" else "ORC"
        raise MessageError(f"there is no {name}", code=100, where=name)
    if kind.content == "result":
        return tuple(_results(message, kind, groups, tables))
    return tuple(_orders(message, kind, groups, tables))


def labels(message: Message, tables: Tables, group: _Group | None = None) -> tuple[str, ...]:
    """Labels of what the message itself marks as confidential; of one group's segments, or of all."""
    found: dict[str, None] = {}
    for path in tables.confidentiality_paths:
        places = message.all(path.segment) if group is None else group.segments.get(path.segment, ())
        for at in places:
            for repetition in message.repetitions(path, at):
                code = message.component(repetition, 1)
                found[tables.confidentiality.get(code, tables.confidentiality_unknown)] = None
    return tuple(label for label in found if label)


def _groups(message: Message, people: People) -> Iterator[_Group]:
    """Orders in the message: an ORC begins one, so does an OBR that has no ORC of its own."""
    patient, group = "", None
    for at in range(len(message.segments)):
        name = message.name(at)
        if name == "PID":
            patient = people.patient(message, PID_3, at)
        if name in ("PID", "ORC") or (name == "OBR" and group is not None and "OBR" in group.segments):
            if group is not None:
                yield group
            group = None
        if name in ("ORC", "OBR") and group is None:
            if not patient:
                raise MessageError("an order stands before its PID", code=100, where="PID")
            group = _Group(patient)
        if group is not None:
            group.add(name, at)
    if group is not None:
        yield group


def _orders(message: Message, kind: MessageType, groups: list[_Group], tables: Tables) -> Iterator[Matter]:
    alike: dict[tuple[str, str, str], list[_Group]] = {}
    for group in groups:
        alike.setdefault(
            (group.patient, _priority(message, group, tables), _control(message, group, tables)), []
        ).append(group)
    for (patient, priority, status), members in alike.items():
        properties = _properties(message, patient, members, tables) | {"priority": priority, "status": status}
        content = {"priority": priority, "orders": [_order(message, group) for group in members]}
        yield Matter(f"{kind.operation}:{priority}", patient, properties, content)


def _results(message: Message, kind: MessageType, groups: list[_Group], tables: Tables) -> Iterator[Matter]:
    people: dict[str, list[_Group]] = {}
    for group in groups:
        people.setdefault(group.patient, []).append(group)
    for patient, members in people.items():
        critical = [found for group in members for found in _critical(message, group, tables)]
        category = "critical" if critical else "routine"
        properties = _properties(message, patient, members, tables)
        status = tables.statuses.get(_first(message, members[0], (_RESULT_STATUS,)))
        if status:
            properties["status"] = status
        content = {"observations": critical, "orders": [_order(message, group) for group in members]}
        yield Matter(f"{kind.operation}:{category}", patient, properties, content)


def _properties(message: Message, patient: str, groups: list[_Group], tables: Tables) -> dict[str, Any]:
    found = tuple(dict.fromkeys(label for group in groups for label in labels(message, tables, group)))
    return {"patient": {"id": patient}} | ({"labels": found} if found else {})


def _priority(message: Message, group: _Group, tables: Tables) -> str:
    code = _first(message, group, tables.priority_paths)
    return tables.priorities.get(code.upper(), tables.priority_other) if code else tables.priority_none


def _control(message: Message, group: _Group, tables: Tables) -> str:
    return tables.controls.get(_first(message, group, (_CONTROL,)), tables.control_other)


def _critical(message: Message, group: _Group, tables: Tables) -> Iterator[dict[str, str]]:
    """The observations that are final and flagged as critical."""
    for at in group.segments.get("OBX", ()):
        flags = [message.component(flag, 1) for flag in message.repetitions(_FLAGS, at)]
        flag = next((flag for flag in flags if flag in tables.critical), "")
        if flag and _counts(message, group, at, tables):
            yield {"code": message.text(_OBSERVED, at), "system": message.text(_OBSERVED_BY, at), "flag": flag}


def _counts(message: Message, group: _Group, at: int, tables: Tables) -> bool:
    """Whether an observation is final; where nothing says how far it is, it counts: an alarm too many is the safer."""
    status = message.text(_STATUS, at) or _first(message, group, (_RESULT_STATUS,))
    return not status or status in tables.counts


def _order(message: Message, group: _Group) -> dict[str, str]:
    found = {
        "placer": _first(message, group, _PLACER),
        "filler": _first(message, group, _FILLER),
        "code": _first(message, group, (_SERVICE,)),
        "system": _first(message, group, (_SYSTEM,)),
        "control": _first(message, group, (_CONTROL,)),
    }
    return {name: value for name, value in found.items() if value}


def _first(message: Message, group: _Group, paths: tuple[Path, ...]) -> str:
    """The first value that one of `paths` has in the group; "" if none has."""
    values = (message.text(path, at) for path in paths for at in group.segments.get(path.segment, ()))
    return next((value for value in values if value), "")
