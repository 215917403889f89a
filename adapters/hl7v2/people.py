"""Who a message is about, and who is named in it: PID-3 and MRG-1 (CX), doctors (XCN)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from adapters.hl7v2.error import MessageError
from adapters.hl7v2.message import Message, Path
from adapters.hl7v2.source import Source
from spir.model.identity import PatientIdentifiers

__all__ = ["MRG_1", "PID_3", "People"]

PID_3 = Path.of("PID-3")
MRG_1 = Path.of("MRG-1")
LONGEST = 64  # characters of an identifier
CROWD = 100  # people in one role


@dataclass(frozen=True, slots=True)
class People:
    """Names of the site: patients by assigning authority, staff by the directory.

    `staff` gives the staff id of a name elsewhere, or None. `types` are the
    values of CX.5 that may name a patient, the best first.
    """

    identifiers: PatientIdentifiers
    staff: Callable[[str, str], str | None]
    types: tuple[str, ...]

    def patient(self, message: Message, path: Path = PID_3, at: int | None = None) -> str:
        """The canonical id in a CX field: the best of its repetitions that a known authority assigned.

        Raises MessageError: 101 if there is none, 204 if we know none of them.
        """
        repetitions = message.repetitions(path, at)
        if not repetitions:
            raise MessageError("the patient has no identifier", code=101, where=path.where())
        found = [known for known in (self._identifier(message, item) for item in repetitions) if known]
        if not found:
            hint = "its assigning authority must be one of the configured identifier systems"
            raise MessageError("no identifier of the patient is known", code=204, where=path.where(), hint=hint)
        return min(found, key=lambda item: item[0])[1]

    def doctors(self, message: Message, path: Path, source: Source, at: int | None = None) -> tuple[str, ...]:
        """Staff ids in an XCN field, in order. One whom the directory does not know is `hl7v2:<id>`.

        Raises MessageError past CROWD.
        """
        repetitions = message.repetitions(path, at)
        if len(repetitions) > CROWD:
            raise MessageError("too many people in one field", where=path.where(), hint=f"at most {CROWD} are read")
        named = (self._doctor(message, item, source) for item in repetitions)
        return tuple(dict.fromkeys(name for name in named if name))

    def _identifier(self, message: Message, repetition: str) -> tuple[int, str] | None:
        """(rank of its type, canonical id)."""
        kind = message.component(repetition, 5)
        value = message.component(repetition, 1)
        if kind not in self.types or not _plain(value):
            return None
        name, universal, scheme = (message.component(repetition, 4, part) for part in (1, 2, 3))
        known = self._assigned(value, name, universal, scheme)
        return (self.types.index(kind), known) if known else None

    def _assigned(self, value: str, name: str, universal: str, scheme: str) -> str | None:
        """The canonical id of a value whose assigning authority has these parts (HD); None if they contradict.

        Another hospital may call its authority by our name; its universal id is its own.
        """
        if not name or not universal:
            return self.identifiers.canonical(value, name or universal)
        by_name, by_universal = (self.identifiers.canonical(value, issuer) for issuer in (name, universal))
        if by_name is None or by_universal is None:
            found = by_name or by_universal
            return None if found is None or self._elsewhere(found, by_universal, scheme) else found
        return by_name if by_name == by_universal else None

    def _elsewhere(self, found: str, by_universal: str | None, scheme: str) -> bool:
        """Whether an authority that was known by its name only has another OID than ours."""
        system = self.identifiers.system(found)
        ours = system[0] if system else ""
        return by_universal is None and scheme == "ISO" and ours.startswith("urn:oid:")

    def _doctor(self, message: Message, repetition: str, source: Source) -> str:
        value = message.component(repetition, 1)
        if not _plain(value):
            return ""
        authority = message.component(repetition, 9, 1) or message.component(repetition, 9, 2)
        if authority and not self._ours(authority, source):
            return f"hl7v2:{authority}|{value}"  # another hospital's 1001 is not our 1001
        return self.staff("hl7v2", value) or f"hl7v2:{value}"

    def _ours(self, authority: str, source: Source) -> bool:
        return authority in (source.application, source.facility) or bool(self.identifiers.canonical("x", authority))


def _plain(value: str) -> bool:
    return 0 < len(value) <= LONGEST and value.isprintable()
