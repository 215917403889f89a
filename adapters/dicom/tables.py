"""The tables of `mappings/dicom.toml` as values: services, transfer syntaxes, keys and their levels.

What is in no table is refused: an abstract syntax at negotiation, a transfer
syntax at negotiation, a key by the rules of `adapters.dicom.identifier`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import cache
from types import MappingProxyType

from adapters import mappings

__all__ = ["Key", "KeyKind", "Level", "Model", "Root", "Service", "Tables", "tables"]


class Service(Enum):
    """The DIMSE services we relay (PS3.7 9.1)."""

    ECHO = "C-ECHO"
    FIND = "C-FIND"
    MOVE = "C-MOVE"
    GET = "C-GET"
    STORE = "C-STORE"


class Root(Enum):
    """The information models of query and retrieve (PS3.4 C.6)."""

    PATIENT = "PATIENT"
    STUDY = "STUDY"


class Level(IntEnum):
    """Query/Retrieve levels, from the top (PS3.4 C.3.1)."""

    PATIENT = 0
    STUDY = 1
    SERIES = 2
    IMAGE = 3


class KeyKind(Enum):
    UNIQUE = "unique"
    KEY = "key"
    SUMMARY = "summary"


@dataclass(frozen=True, slots=True)
class Model:
    """A supported abstract syntax. `root` is None for verification and storage."""

    uid: str
    service: Service
    root: Root | None = None


@dataclass(frozen=True, slots=True)
class Key:
    tag: int
    keyword: str
    level: Level
    kind: KeyKind


@dataclass(frozen=True, slots=True)
class Tables:
    """`implicit` is the one transfer syntax without VRs; all in `syntaxes` are little endian."""

    models: Mapping[str, Model]
    storage_prefix: str
    storage_exceptions: tuple[str, ...]
    implicit: str
    explicit: str
    syntaxes: frozenset[str]
    keys: Mapping[int, Key]
    always: frozenset[int]
    never: frozenset[int]
    operations: Mapping[Service, str]

    def model(self, uid: str) -> Model | None:
        """What we do for an abstract syntax; None: it is refused."""
        known = self.models.get(uid)
        if known is not None:
            return known
        if uid.startswith(self.storage_prefix) and not uid.startswith(self.storage_exceptions):
            return Model(uid, Service.STORE)
        return None

    def supports(self, uid: str, transfer_syntax: str) -> bool:
        """Whether a data set of this abstract syntax may come in this transfer syntax."""
        model = self.model(uid)
        if model is None:
            return False
        plain = transfer_syntax in (self.implicit, self.explicit)
        return plain or (model.service is Service.STORE and transfer_syntax in self.syntaxes)


@cache
def tables() -> Tables:
    """The shipped tables. Raises Unavailable where the installation has none."""
    data = mappings.read("dicom")
    syntaxes = data["transfer_syntaxes"]
    rows = [Key(int(tag, 16), word, Level[level], KeyKind(kind)) for tag, word, level, kind in data["keys"]["rows"]]
    return Tables(
        models=MappingProxyType({row[0]: _model(*row) for row in data["services"]["rows"]}),
        storage_prefix=data["storage"]["prefix"],
        storage_exceptions=tuple(data["storage"]["except"]),
        implicit=syntaxes["implicit"],
        explicit=syntaxes["explicit"],
        syntaxes=frozenset((syntaxes["implicit"], syntaxes["explicit"], *syntaxes["encapsulated"])),
        keys=MappingProxyType({key.tag: key for key in rows}),
        always=frozenset(int(tag, 16) for tag, _ in data["always"]["rows"]),
        never=frozenset(int(tag, 16) for tag, _ in data["never"]["rows"]),
        operations=MappingProxyType({Service(service): code for service, code in data["operations"]["rows"]}),
    )


def _model(uid: str, name: str, service: str, root: str) -> Model:
    del name  # for the reader of the table
    return Model(uid, Service(service), Root(root) if root else None)
