"""A scripted viewer: the doctor's workstation in the demo and the tests.

An SCU on pynetdicom for queries and retrieves, and a storage SCP that C-MOVE
can deliver to. It reports what it saw as plain data, and keeps no pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt

from adapters.sandbox.fence import fence
from adapters.sandbox.matching import texts
from adapters.sandbox.models import FIND, GET, MOVE, SOP_CLASSES, VERIFICATION
from adapters.sandbox.pacs import no_delay
from adapters.sandbox.quiet import hush
from spir.errors import PeerError

__all__ = ["Found", "Received", "Retrieved", "Viewer", "ViewerConfig"]


@dataclass(frozen=True, slots=True)
class ViewerConfig:
    """`peer` is who it asks: (address, port, AE title). `storage` is the AE title of its storage SCP."""

    peer: tuple[str, int, str]
    ae_title: str = "VIEWER1"
    storage: str = "WS1"
    host: str = "127.0.0.1"
    port: int = 0
    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class Found:
    """A C-FIND: the final status, and each match as attribute -> text or tuple of texts."""

    status: int
    rows: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Retrieved:
    """A C-MOVE or C-GET: the final status and the counters of its final response."""

    status: int
    completed: int = 0
    failed: int = 0
    warning: int = 0


@dataclass(frozen=True, slots=True)
class Received:
    """One instance that was delivered, without its content."""

    patient: str
    study: str
    series: str
    instance: str
    sop_class: str
    modality: str


class Viewer:
    """Threads are pynetdicom's own; calls block. `received` grows with what is delivered."""

    def __init__(self, config: ViewerConfig, *, sandbox: bool = False) -> None:
        fence("sandbox viewer", config.host, sandbox)
        hush()
        self._config = config
        self.received: list[Received] = []
        self.port = 0
        self._server: Any = None

    def start(self) -> None:
        """Open the storage SCP; `port` is the bound one afterwards."""
        entity = AE(ae_title=self._config.storage)
        for sop_class in (VERIFICATION, *SOP_CLASSES.values()):
            entity.add_supported_context(sop_class)
        handlers: list[Any] = [(evt.EVT_CONN_OPEN, no_delay), (evt.EVT_C_STORE, self._store)]
        place = (self._config.host, self._config.port)
        self._server = entity.start_server(place, block=False, evt_handlers=handlers)
        self.port = self._server.socket.getsockname()[1]

    def stop(self) -> None:
        """Safe to call twice."""
        if self._server is not None:
            self._server.ae.shutdown()
            self._server = None

    def ask(self, peer: tuple[str, int, str]) -> None:
        """Ask this peer from now on: (address, port, AE title)."""
        self._config = replace(self._config, peer=peer)

    def counts(self) -> Counter[str]:
        """How many instances have been delivered, by modality."""
        return Counter(one.modality for one in self.received)

    def echo(self) -> int:
        with self._association(VERIFICATION) as association:
            return _status(association.send_c_echo())

    def find(self, level: str = "STUDY", *, root: str = "STUDY", **keys: Any) -> Found:
        """Query; `keys` are DICOM keywords, an empty text asks for the attribute. Raises PeerError."""
        model = FIND[root]
        with self._association(model) as association:
            return _found(association.send_c_find(_identifier(level, keys), model))

    def move(self, level: str = "STUDY", *, destination: str = "", root: str = "STUDY", **keys: Any) -> Retrieved:
        """Have it sent to `destination`, by default to this viewer. Raises PeerError."""
        model = MOVE[root]
        with self._association(model) as association:
            target = destination or self._config.storage
            return _retrieved(association.send_c_move(_identifier(level, keys), target, model))

    def get(self, level: str = "STUDY", *, root: str = "STUDY", **keys: Any) -> Retrieved:
        """Have it sent over the same association. Raises PeerError."""
        model = GET[root]
        with self._association(model, *SOP_CLASSES.values()) as association:
            return _retrieved(association.send_c_get(_identifier(level, keys), model))

    def store(self, made: Dataset) -> int:
        """Send one instance; the status. Raises PeerError."""
        with self._association(str(made.SOPClassUID)) as association:
            return _status(association.send_c_store(made))

    @contextmanager
    def _association(self, model: str, *storage: str) -> Iterator[Any]:
        entity = AE(ae_title=self._config.ae_title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = self._config.timeout
        entity.add_requested_context(model)
        for sop_class in storage:
            entity.add_requested_context(sop_class)
        address, port, called = self._config.peer
        association = entity.associate(
            address,
            port,
            ae_title=called,
            ext_neg=[build_role(sop_class, scp_role=True) for sop_class in storage],
            evt_handlers=[(evt.EVT_CONN_OPEN, no_delay), (evt.EVT_C_STORE, self._store)],
        )
        if not association.is_established:
            raise PeerError("the association was refused", hint="check the AE titles and the address")
        try:
            yield association
        finally:
            association.release()

    def _store(self, event: Any) -> int:
        made = event.dataset
        names = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality")
        self.received.append(Received(*(str(made.get(name, "")) for name in names)))
        return 0x0000


def _identifier(level: str, keys: Mapping[str, Any]) -> Dataset:
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.QueryRetrieveLevel = level
    for name, value in keys.items():
        setattr(made, name, value)
    return made


def _status(answer: Dataset) -> int:
    """The DIMSE status. Raises PeerError where the peer gave no answer."""
    if "Status" not in answer:
        raise PeerError("the peer closed the association or did not answer in time")
    return int(answer.Status)


def _found(answers: Iterator[tuple[Dataset, Dataset | None]]) -> Found:
    rows = []
    status = 0
    for answer, row in answers:
        status = _status(answer)
        if row is not None and status in (0xFF00, 0xFF01):
            rows.append(_plain(row))
    return Found(status, tuple(rows))


def _plain(row: Dataset) -> dict[str, Any]:
    """Attribute -> text, or a tuple of texts where there are several values."""
    plain: dict[str, Any] = {}
    for element in row:
        values = texts(element.value)
        plain[element.keyword] = values if len(values) > 1 else "".join(values)
    return plain


def _retrieved(answers: Iterator[tuple[Dataset, Dataset | None]]) -> Retrieved:
    last = Dataset()
    for answer, _ in answers:
        last = answer
    names = ("Completed", "Failed", "Warning")
    return Retrieved(_status(last), *(int(last.get(f"NumberOf{name}Suboperations") or 0) for name in names))
