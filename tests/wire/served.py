"""The gateway as it is run: `spir serve` as a process of its own, with the story's policies."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from adapters.demo_site import Surroundings, lay_out, token
from tests.wire.peers import Child, free_port

__all__ = ["Served"]


class Served:
    """`start` returns when all of its listeners answer; `kill` is SIGKILL. Ports stay the same over restarts."""

    def __init__(self, folder: Path, pacs: int, pacs_ae: str, storage: int, fhir: str, hook: str) -> None:
        self.folder = folder
        self.hl7v2, self.dicom, self.facade = free_port(), free_port(), free_port()
        around = Surroundings(pacs, pacs_ae, storage, fhir, hook, self.hl7v2, self.dicom, self.facade)
        self.config = lay_out(folder, around)
        self._child: Child | None = None

    def start(self, only: str = "") -> Served:
        command = [sys.executable, "-m", "adapters.cli", "serve", "-c", str(self.config)]
        self._child = Child([*command, "--only", only] if only else command, self.folder / "gateway.log")
        wanted = {"hl7": self.hl7v2, "dicom": self.dicom, "fhir": self.facade}
        for name, port in wanted.items():
            if not only or name in only:
                self._child.wait_port(port)
        return self

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def log(self) -> str:
        return (self.folder / "gateway.log").read_text("utf-8", "replace")

    def get(self, path: str, subject: str = "dr.li", bearer: str | None = None) -> tuple[int, Any]:
        """GET from the facade; status and decoded body."""
        given = token(self.folder, subject) if bearer is None else bearer
        request = urllib.request.Request(f"http://127.0.0.1:{self.facade}/{path}")
        request.add_header("Authorization", f"Bearer {given}")
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")
