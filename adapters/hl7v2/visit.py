"""What one ADT message writes about one patient: facts by part, and the doubts it lifts.

The parts:

    visit:V1                      encounter_status, closed, protection (PV2-22)
    visit:V1/attending ...        care_team, one part per role, hidden while the visit is closed
    visit:V1/class, visit:V1/place
    visit:@HIS|P001 ...           the same of a visit without a number
    person:HIS|P001               vip, protection (PD1-12)
    person:HIS|P001:restriction:HIV, visit:V1:restriction:HIV    labels (ARV)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from adapters.hl7v2.error import MessageError
from adapters.hl7v2.message import NULL, Message, Path
from adapters.hl7v2.people import People
from adapters.hl7v2.source import Source
from adapters.hl7v2.tables import Event, Flag, Tables
from spir.model.facts import CLOSED, Assert, Change, Doubt, Fact, Key, Merge, Retract, Settle
from spir.model.value import Value

__all__ = ["ANY_VISIT", "Writer"]

_ACTION, _ROLE, _PERSON = Path.of("ROL-2.1"), Path.of("ROL-3.1"), Path.of("ROL-4")
_RESTRICTS, _RESTRICTION = Path.of("ARV-2.1"), Path.of("ARV-3.1")
_ATTENDING = "attending"
LONGEST = 64  # characters of a visit's number, a place, a code
ANY_VISIT = "any visit"  # the scope of a doubt: an unnumbered message may have ended a numbered visit


@dataclass(slots=True)
class Writer:
    """Collects the changes of one message about one patient."""

    message: Message
    source: Source
    people: People
    tables: Tables
    patient: str
    as_of: datetime
    warnings: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    written: list[str] = field(default_factory=list)

    @property
    def key(self) -> Key:
        return ("patient", self.patient)

    @property
    def person(self) -> str:
        return f"person:{_level(self.patient)}"

    # -- whole messages ----------------------------------------------------------------------

    def visit(self, event: Event) -> tuple[Change, ...]:
        """Everything that `event` writes about the patient and the visit. Raises MessageError."""
        part = self._part(event)
        if event.visit in ("open", "reopen"):
            self._state(part, closed=False, status="in-progress")
        if event.visit in ("finish", "cancel"):
            self._state(part, closed=True, status="finished" if event.visit == "finish" else "cancelled")
            self._end(part, flags=event.visit == "cancel")
        if part == self._unnumbered:
            self._without_number(event)
        if part and "team" in event.takes:
            self._team(part, event)
        if part and "class" in event.takes:
            self._class(part)
        if part and "place" in event.takes:
            self._place(part)
        if "flags" in event.takes:
            self._flags(part)
        if "restrictions" in event.takes:
            self._restrictions(part)
        return self._settled()

    def merge(self, prior: str, group: Iterable[int], event: Event) -> tuple[Change, ...]:
        """`prior` becomes another name of the patient; `group` holds the segments between PID and MRG."""
        if prior == self.patient:
            raise MessageError("a patient cannot be merged into the same patient", code=204, where="MRG^1^1")
        self.changes.append(Merge(("patient", prior), self.key, self.source.name, self.as_of))
        self.written.append(_merge_scope(prior))
        if "flags" in event.takes:
            for at in group:
                for flag in self.tables.flags:
                    if flag.path.segment == self.message.name(at) and flag.of == "person":
                        self._flag(flag, self.person, at)
        return self._settled()

    def scopes(self, event: Event, prior: str = "") -> tuple[str, ...]:
        """What would have been written and may take access away: the scopes of a doubt."""
        visit = self._number()
        found = [_merge_scope(prior or "?")] if event.visit == "merge" else []
        if visit == self._unnumbered and event.revokes and event.visit != "merge" and self.source.numbered:
            found.append(ANY_VISIT)
        if event.visit in ("finish", "cancel"):
            found.append(_scope(CLOSED, visit))
        if "team" in event.takes and event.visit != "open":  # before it begins, a visit has no team to lose
            found += [
                _scope("care_team", f"{visit}/{role}")
                for role, path in self.tables.team
                if self._doubtful(event, role, path)
            ]
            found += [_scope("care_team", place) for place, _, _ in self._named(visit)]
        if "flags" in event.takes:
            flags = (flag for flag in self.tables.flags if not self._harmless(flag))
            found += [_scope(flag.attribute, self.person if flag.of == "person" else visit) for flag in flags]
        if "restrictions" in event.takes:
            found += [_scope("labels", place) for place, _ in self._restricted(visit)]
        return tuple(dict.fromkeys(found))

    # -- the visit ---------------------------------------------------------------------------

    def _part(self, event: Event) -> str:
        """The visit's part; "" where the event is of the person alone. Raises MessageError where it must have one."""
        if event.visit == "person":
            return ""
        if self.message.all("PV1"):
            return self._number()
        if event.visit or event.revokes:
            raise MessageError("there is no PV1", code=100, where="PV1")
        return ""

    def _number(self) -> str:
        """The visit's part, by the first number the message has."""
        for path in self.tables.visit_numbers:
            number = self.message.text(path).strip()
            if number:
                return f"visit:{_name(number, path)}"
        return self._unnumbered

    @property
    def _unnumbered(self) -> str:
        """The one visit of a patient that has no number: the patient's own even after a merge."""
        return f"visit:@{_level(self.patient)}"

    def _without_number(self, event: Event) -> None:
        """Where visits have numbers, what ends one without saying which may have meant any of them."""
        if event.revokes and self.source.numbered:
            self.warnings.append("visit-without-number")
            self.changes.append(Doubt(self.key, self.source.name, self.as_of, (ANY_VISIT,)))
        elif event.visit in ("open", "reopen"):
            self.written.append(ANY_VISIT)

    def _state(self, part: str, closed: bool, status: str) -> None:
        self._assert(CLOSED, closed, part)
        self._assert("encounter_status", status, part)

    def _end(self, part: str, flags: bool) -> None:
        """Nobody who had the visit has it any more: a visit that is opened again needs its team again.

        A visit without a number that some message spoke of may be this one: it ends too.
        """
        if part != self._unnumbered:
            self._assert(CLOSED, True, self._unnumbered)
        for role, _ in self.tables.team:
            self._retract("care_team", f"{part}/{role}")
        for code, single in self.tables.roles.items():
            if single:
                self._retract("care_team", f"{part}/role:{code}")
        self._retract("encounter_class", f"{part}/class")
        self._retract("location", f"{part}/place")
        for flag in self.tables.flags if flags else ():
            if flag.of == "visit":
                self._retract(flag.attribute, part)

    # -- groups of facts ---------------------------------------------------------------------

    def _team(self, part: str, event: Event) -> None:
        for role, path in self.tables.team:
            raw = self.message.raw(path)
            if role == _ATTENDING and not raw and event.revokes:
                raise MessageError("nobody is named as attending", code=101, where=path.where())
            if raw:
                named = self.people.doctors(self.message, path, self.source)
                self._members(f"{part}/{role}", named, deleted=raw == NULL)
        self._roles(part, event)

    def _members(self, part: str, named: tuple[str, ...], deleted: bool) -> None:
        if named:
            self._assert("care_team", named, part)
        else:
            self._retract("care_team", part)
            if not deleted:
                self.warnings.append("doctor-without-id")

    def _roles(self, part: str, event: Event) -> None:
        places: dict[str, list[str]] = {}
        for place, named, gone in self._named(part):
            places.setdefault(place, []).extend(() if gone else named)
        if event.revokes:
            places.setdefault(f"{part}/role:AT", [])  # who was attending by an older ROL, is not any more
        for place, names in places.items():
            self._members(place, tuple(dict.fromkeys(names)), deleted=True)

    def _named(self, part: str) -> Iterator[tuple[str, tuple[str, ...], bool]]:
        """Part, people, and whether they are gone, of each ROL of the visit: they follow PV1."""
        first = next(iter(self.message.all("PV1")), len(self.message.segments))
        for at in self.message.all("ROL"):
            code = self.message.text(_ROLE, at)
            if at < first or code not in self.tables.roles:
                continue
            gone = self.message.text(_ACTION, at) in self.tables.roles_gone
            named = self.people.doctors(self.message, _PERSON, self.source, at)
            if self.tables.roles[code]:
                yield f"{part}/role:{code}", named, gone
                continue
            for name in named:
                yield f"{part}/role:{code}:{_level(name)}", (name,), gone

    def _class(self, part: str) -> None:
        raw = self.message.raw(self.tables.class_path)
        if not raw:
            return
        known = self.tables.classes.get(self.message.component(raw, 1))
        if known:
            self._assert("encounter_class", known, f"{part}/class")
        else:
            self._retract("encounter_class", f"{part}/class")
            if raw != NULL:
                self.warnings.append("unknown-class")

    def _place(self, part: str) -> None:
        raw = self.message.raw(self.tables.place)
        if raw == NULL:
            self._retract("location", f"{part}/place")
        elif raw:
            self._assert("location", _short(self.message.plain(raw), self.tables.place), f"{part}/place")

    def _flags(self, part: str) -> None:
        for flag in self.tables.flags:
            where = self.person if flag.of == "person" else part
            if where:
                self._flag(flag, where)

    def _flag(self, flag: Flag, part: str, at: int | None = None) -> None:
        raw = self.message.raw(flag.path, at)
        if not raw:
            return
        if raw == NULL:
            self._retract(flag.attribute, part)
            return
        said = self._says(flag, raw)
        if said is None:
            self.warnings.append(f"unknown-{flag.attribute}")
        self._assert(flag.attribute, said is not False, part)

    def _says(self, flag: Flag, raw: str) -> bool | None:
        """What a code says; None if nobody knows."""
        code = self.message.component(raw.partition(self.message.delimiters.repetition)[0], 1)
        if code in flag.yes:
            return True
        if code in flag.no or "*" in flag.no:
            return False
        return True if "*" in flag.yes else None

    def _harmless(self, flag: Flag) -> bool:
        """Whether a flag, as the message has it, can take no access away."""
        raw = self.message.raw(flag.path)
        return not raw or (raw != NULL and self._says(flag, raw) is False)

    def _restrictions(self, part: str) -> None:
        for place, at in self._restricted(part):
            value = self.message.text(_RESTRICTION, at)
            if self.message.text(_RESTRICTS, at) in self.tables.restrictions_gone:
                self._retract("labels", place)
                continue
            if value not in self.tables.restrictions:
                self.warnings.append("unknown-restriction")
            label = self.tables.restrictions.get(value, self.tables.restriction_unknown)
            if label:
                self._assert("labels", (label,), place)

    def _restricted(self, part: str) -> Iterator[tuple[str, int]]:
        """Part and segment of each ARV: of the person before PV1, of the visit after it."""
        first = next(iter(self.message.all("PV1")), len(self.message.segments))
        for at in self.message.all("ARV"):
            owner = self.person if at < first else part
            if owner:
                yield f"{owner}:restriction:{_name(self.message.text(_RESTRICTION, at), _RESTRICTION)}", at

    # -- single changes ----------------------------------------------------------------------

    def _assert(self, attribute: str, value: Value, part: str) -> None:
        self.changes.append(Assert(Fact(self.key, attribute, value, self.source.name, self.as_of, part)))
        self.written.append(_scope(attribute, part))

    def _retract(self, attribute: str, part: str) -> None:
        self.changes.append(Retract(self.key, attribute, part, self.source.name, self.as_of))
        self.written.append(_scope(attribute, part))

    def _settled(self) -> tuple[Change, ...]:
        """The changes, and the settling of every doubt about what they write."""
        if self.written:
            self.changes.append(Settle(self.key, self.source.name, self.as_of, tuple(self.written)))
        return tuple(self.changes)

    def _doubtful(self, event: Event, role: str, path: Path) -> bool:
        return bool(self.message.raw(path)) or (event.revokes and role == _ATTENDING)


def _scope(attribute: str, part: str) -> str:
    return f"{attribute} {part}"


def _level(name: str) -> str:
    """A name without slashes: one would put its part under another."""
    return name.replace("/", "%2F")


def _name(text: str, path: Path) -> str:
    """A sender's name for something, fit to be part of a part's name. Raises MessageError."""
    return _level(_short(text, path))


def _short(text: str, path: Path) -> str:
    if len(text) > LONGEST or not text.isprintable():
        raise MessageError("a name is too long, or not printable", where=path.where())
    return text


def _merge_scope(prior: str) -> str:
    return f"merge {prior}"
