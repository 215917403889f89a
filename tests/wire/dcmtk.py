"""dcmtk's command line tools, with their answers as data.

Exit codes say little (findscu ends with 0 whatever the status was), so the
status is read from the debug output and the rows from the files they write.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom

from tests.wire.peers import Child, find, free_port, require

__all__ = ["Answer", "Dcmtk", "StoreScp"]

_STATUS = re.compile(r"DIMSE Status\s*: 0x([0-9a-f]{4})")
_COUNTER = re.compile(r"(Completed|Failed|Warning|Remaining) Suboperations\s*: (\d+)")
_REJECTED = re.compile(r"Result: ([^,]*), Source: (.*)")
_ECHOED = "Received Echo Response (Success)"  # echoscu does not print the message itself
_COMMENT = re.compile(r"Error Comment\s*: (.*)")


@dataclass(frozen=True)
class Answer:
    """`status` is the last DIMSE status, None if there was no answer.

    `rejected` is result and source of a refused association; `rows` are C-FIND responses as
    keyword -> text or list; `received` counts instances by modality (C-GET).
    """

    status: int | None
    rows: tuple[Mapping[str, Any], ...] = ()
    completed: int = 0
    failed: int = 0
    warning: int = 0
    received: Mapping[str, int] = field(default_factory=dict)
    comment: str = ""
    rejected: str = ""
    output: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True)
class Dcmtk:
    """Calls `called` on a loopback port as `calling`. `options` go to every tool, as TLS or user identity ones.

    `folder` is for what the tools write. `no_delay` sets TCP_NODELAY, which dcmtk reads from its environment.
    """

    port: int
    folder: Path
    called: str = "SPIR"
    calling: str = "VIEWER1"
    options: Sequence[str] = ()
    no_delay: bool = True
    timeout: float = 60.0

    def echo(self) -> Answer:
        return self._run("echoscu", [])

    def find(self, *keys: str, level: str = "STUDY", model: str = "-S") -> Answer:
        """`keys` as dcmtk writes them: `PatientID=P001`, `ModalitiesInStudy`. `model`: -S, -P or -W."""
        place = self._place("find")
        wanted = [f"QueryRetrieveLevel={level}", *keys] if model != "-W" else keys
        answer = self._run("findscu", [model, "-X", "-od", str(place), *_keys(wanted)])
        rows = (pydicom.dcmread(path, force=True) for path in sorted(place.glob("rsp*.dcm")))
        return Answer(**{**vars(answer), "rows": tuple(_plain(row) for row in rows)})

    def move(self, *keys: str, destination: str, level: str = "STUDY", model: str = "-S") -> Answer:
        wanted = _keys([f"QueryRetrieveLevel={level}", *keys])
        return self._run("movescu", [model, "-aem", destination, *wanted])

    def get(self, *keys: str, level: str = "STUDY", model: str = "-S") -> Answer:
        place = self._place("get")
        answer = self._run("getscu", [model, "-od", str(place), *_keys([f"QueryRetrieveLevel={level}", *keys])])
        return Answer(**{**vars(answer), "received": modalities(place)})

    def store(self, *paths: Path, options: Sequence[str] = ()) -> Answer:
        """Files, or folders with everything under them."""
        return self._run("storescu", [*options, "+sd", "+r"], [str(path) for path in paths])

    def _run(self, tool: str, arguments: Sequence[str], files: Sequence[str] = ()) -> Answer:
        require("dcmtk")
        titles = ["-aet", self.calling, "-aec", self.called]
        command = [find(tool) or tool, "-d", *self.options, *titles, *arguments, "127.0.0.1", str(self.port), *files]
        environment = {**os.environ, "TCP_NODELAY": "1" if self.no_delay else "0"}
        done = subprocess.run(command, capture_output=True, env=environment, timeout=self.timeout)
        return _answer((done.stdout + done.stderr).decode("utf-8", "replace"))

    def _place(self, name: str) -> Path:
        """A new empty folder."""
        place = self.folder / f"{name}-{len(list(self.folder.iterdir()))}"
        place.mkdir()
        return place


class StoreScp:
    """storescp as a move destination: writes what it gets into a folder of its own."""

    def __init__(self, folder: Path, ae_title: str = "WS1", no_delay: bool = True, options: Sequence[str] = ()) -> None:
        require("dcmtk")
        self.ae_title = ae_title
        self.port = free_port()
        self._place = folder / f"storescp-{self.port}"
        self._options = options
        self._environment = {"TCP_NODELAY": "1" if no_delay else "0"}
        self._child: Child | None = None

    def start(self) -> StoreScp:
        self._place.mkdir()
        titles = ["-aet", self.ae_title, "-od", str(self._place)]
        command = [find("storescp") or "storescp", *titles, *self._options, str(self.port)]
        self._child = Child(command, self._place.with_suffix(".log"), self._environment)
        self._child.wait_port(self.port)
        return self

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()

    def received(self) -> list[pydicom.Dataset]:
        """What has arrived, without pixels. storescp renames a file when it is complete."""
        return list(_datasets(self._place))

    def counts(self) -> Counter[str]:
        return modalities(self._place)


def modalities(folder: Path) -> Counter[str]:
    """How many instances a folder holds, by modality."""
    return Counter(str(made.get("Modality", "")) for made in _datasets(folder))


def _datasets(folder: Path) -> Iterator[pydicom.Dataset]:
    for path in sorted(folder.iterdir()):
        yield pydicom.dcmread(path, stop_before_pixels=True)


def _keys(keys: Sequence[str]) -> list[str]:
    return [part for key in keys for part in ("-k", key)]


def _answer(output: str) -> Answer:
    statuses = _STATUS.findall(output) or ["0000"] * (_ECHOED in output)
    last = output.rpartition("INCOMING DIMSE MESSAGE")[2]
    counters = {name.lower(): int(value) for name, value in _COUNTER.findall(last)}
    counters.pop("remaining", None)
    rejected = _REJECTED.search(output)
    comment = _COMMENT.findall(last)
    return Answer(
        int(statuses[-1], 16) if statuses else None,
        comment=comment[-1].strip() if comment else "",
        rejected=rejected.group(0) if rejected else "",
        output=output,
        **counters,
    )


def _plain(row: pydicom.Dataset) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for element in row:
        value = element.value
        several = isinstance(value, (list, pydicom.multival.MultiValue))
        plain[element.keyword] = [str(item) for item in value] if several else str("" if value is None else value)
    return plain
