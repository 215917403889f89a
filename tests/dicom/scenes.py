"""Playbooks: a session, what it must say, and what it hears; and a PACS in memory for longer scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.dicom.dataset import DataSet, encode
from adapters.dicom.identifier import LEVEL
from adapters.dicom.masks import Masks
from adapters.dicom.message import CFindRq, CFindRsp
from adapters.dicom.rows import fits
from adapters.dicom.session import Call, Caller, Lookup, Message, Said, Side, Site
from adapters.dicom.tables import tables
from spir.exchange import Answer, AskPeer, Await, Commit, Decide, Identity, Record, Ruling, Session
from spir.model.request import Request
from spir.record.event import AuditEvent
from tests.given import DR_LI, HIS, NOON

FIND, MOVE, GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
PATIENT_FIND, PATIENT_MOVE = "1.2.840.10008.5.1.4.1.2.1.1", "1.2.840.10008.5.1.4.1.2.1.2"
CT, CR, SR = (f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("2", "1", "88.11"))

PATIENT_ID, PATIENT_NAME, PHONE = 0x00100020, 0x00100010, 0x00102154
STUDY_UID, SERIES_UID, SOP_UID, SOP_CLASS = 0x0020000D, 0x0020000E, 0x00080018, 0x00080016
MODALITIES, MODALITY, SERIES_COUNT = 0x00080061, 0x00080060, 0x00201209

MASKS = Masks({"patient.telecom": frozenset({PHONE}), "patient.name": frozenset({PATIENT_NAME})})
SITE = Site(HIS, lambda: NOON, "SPIR", MASKS, destinations={"WS1": "WS1_PACS"})
CALLER = Caller(Identity(DR_LI, "given"), {"protocol": "dicom", "ip": "127.0.0.1"})


def data(keys: Mapping[int, str], level: str = "", explicit: bool = True) -> bytes:
    """A data set of text elements, with a query/retrieve level if one is given."""
    texts = {**keys, **({LEVEL: level} if level else {})}
    return encode({tag: text.encode() for tag, text in texts.items()}, explicit)


def texts(raw: bytes | None) -> dict[int, str | None]:
    parsed = DataSet.parse(raw or b"", True)
    return {tag: parsed.text(tag) for tag in parsed.index}


def call(uid: str, command: Any, identifier: bytes = b"", explicit: bool = True) -> Call:
    model = tables().model(uid)
    assert model is not None
    return Call(1, model, explicit, command, identifier)


def finding(identifier: bytes, uid: str = FIND) -> Call:
    return call(uid, CFindRq(7, uid), identifier)


def play(session: Session, *turns: tuple[Any, Any]) -> None:
    """Each turn: the command that the session must say next, and the event (or exception) it is sent back."""
    command = next(session)
    for number, (expected, event) in enumerate(turns):
        assert expected == command, f"turn {number}: {command!r}"
        try:
            command = session.throw(event) if isinstance(event, Exception) else session.send(event)
        except StopIteration:
            assert number == len(turns) - 1, f"the session ended after turn {number}"
            return
    raise AssertionError(f"the session goes on with {command!r}")


class Recorded:
    """Equal to a Commit whose only record has these fields: playbooks name what matters of it."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Commit) or not isinstance(other.items[0], Record):
            return False
        event = other.items[0].event
        return all(self._of(event, name) == value for name, value in self.fields.items())

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return f"Recorded({self.fields})"

    @staticmethod
    def _of(event: AuditEvent, name: str) -> Any:
        return event.detail.get(name) if name not in AuditEvent.__slots__ else getattr(event, name)


# -- a PACS in memory -----------------------------------------------------------------------------


@dataclass
class Pacs:
    """Instances as rows of text, one level for all; answers lookups and queries as a PACS would."""

    instances: list[dict[int, str]]
    lookups: list[Lookup] = field(default_factory=list)
    asked: list[dict[int, str | None]] = field(default_factory=list)

    def lookup(self, lookup: Lookup) -> tuple[DataSet, ...]:
        self.lookups.append(lookup)
        keys = DataSet.parse(encode(lookup.keys, True), True)
        return tuple(DataSet.parse(row, True) for row in self.rows(lookup.level, keys))

    def find(self, identifier: bytes) -> Iterator[bytes]:
        keys = DataSet.parse(identifier, True)
        self.asked.append(texts(identifier))
        return self.rows(keys.text(LEVEL) or "", keys)

    def rows(self, level: str, keys: DataSet) -> Iterator[bytes]:
        unique = {"PATIENT": PATIENT_ID, "STUDY": STUDY_UID, "SERIES": SERIES_UID, "IMAGE": SOP_UID}[level]
        groups: dict[str, list[dict[int, str]]] = {}
        for instance in self.instances:
            groups.setdefault(instance[unique], []).append(instance)
        for members in groups.values():
            row = _summed(members)
            wanted = [tag for tag in keys.index if tag != LEVEL]
            if all(fits(keys.values(tag), row.get(tag, "").split("\\")) for tag in wanted if keys.has_value(tag)):
                yield data({tag: row.get(tag, "") for tag in wanted}, level)


def _summed(members: list[dict[int, str]]) -> dict[int, str]:
    names = list(dict.fromkeys(member[MODALITY] for member in members))
    return {**members[0], MODALITIES: "\\".join(names), SERIES_COUNT: str(len(members))}


def instance(number: int, patient: str, modality: str, study: str, series: str, **more: str) -> dict[int, str]:
    sop_class = {"CT": CT, "SR": SR}.get(modality, CR)
    row = {PATIENT_ID: patient, STUDY_UID: study, SERIES_UID: series, SOP_UID: f"{series}.{number}"}
    row |= {MODALITY: modality, SOP_CLASS: sop_class, PATIENT_NAME: f"Name^{patient}", PHONE: "555"}
    return row


def query(session: Session, pacs: Pacs, ruler: Callable[[Request], Ruling]) -> tuple[list[Any], AuditEvent | None]:
    """Run a C-FIND session to its end against `pacs`; its answers, and what was recorded."""
    answers: list[Any] = []
    recorded: AuditEvent | None = None
    waiting: list[Said] = []
    command, event = next(session), None
    while True:
        event = None
        match command:
            case Decide(request):
                event = ruler(request)
            case AskPeer(Lookup() as lookup):
                event = pacs.lookup(lookup)
            case AskPeer(Message(_, CFindRq() as rq, identifier)):
                waiting.extend(_responses(rq, pacs.find(identifier or b"")))
            case Await():
                event = waiting.pop(0)
            case Answer(Message() as message):
                answers.append(message)
            case Commit(items):
                recorded = next(item.event for item in items if isinstance(item, Record))
        try:
            command = session.send(event)
        except StopIteration:
            return answers, recorded


def _responses(rq: CFindRq, rows: Iterable[bytes]) -> Iterator[Said]:
    for row in rows:
        yield Said(Side.PEER, CFindRsp(rq.message_id, rq.sop_class, 0xFF00, has_data=True), row)
    yield Said(Side.PEER, CFindRsp(rq.message_id, rq.sop_class, 0))
