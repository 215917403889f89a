"""Orthanc as the PACS behind the gateway: a free port, an empty folder, everything allowed.

Whether Orthanc asks who calls is none of the gateway's business here: that it
allows everything shows that the gateway alone decides.
"""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from tests.wire.peers import Child, find, free_port, require

__all__ = ["Orthanc"]


class Orthanc:
    """`start` returns when DICOM and REST both answer. `know` adds move destinations at any time.

    `no_delay` sets TCP_NODELAY on its sockets: without it each small answer
    waits some 40 ms, which is how Orthanc comes out of the box.
    """

    def __init__(self, folder: Path, ae_title: str = "ORTHANC", no_delay: bool = True, **settings: Any) -> None:
        self._program = require("orthanc")
        self._folder = folder
        self._settings = settings
        self._environment = {"TCP_NODELAY": "1" if no_delay else "0"}
        self.ae_title = ae_title
        self.port = free_port()
        self.http_port = free_port()
        self._child: Child | None = None

    def start(self) -> Orthanc:
        config = self._folder / "orthanc.json"
        config.write_text(json.dumps(self._configuration()), "utf-8")
        self._child = Child([self._program, str(config)], self._folder / "orthanc.log", self._environment)
        self._child.wait_port(self.port)
        self._child.wait_port(self.http_port)
        return self

    def stop(self) -> None:
        if self._child is not None:
            self._child.kill()  # its folder goes too: no need to wait the three seconds that it takes to end

    def know(self, ae_title: str, port: int, host: str = "127.0.0.1") -> None:
        """Make a move destination known under its AE title."""
        self.rest("PUT", f"/modalities/{ae_title}", {"AET": ae_title, "Host": host, "Port": port})

    def load(self, folder: Path) -> None:
        """Store every DICOM file under `folder`, by storescu."""
        require("dcmtk")
        command = [find("storescu") or "storescu", "+sd", "+r", "-aec", self.ae_title, "127.0.0.1", str(self.port)]
        subprocess.run([*command, str(folder)], check=True, capture_output=True, env=self._environment, timeout=120)

    def count(self) -> int:
        """How many instances it holds."""
        return int(self.rest("GET", "/statistics")["CountInstances"])

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        """One call of its REST API; the decoded answer, None for an empty one."""
        content = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.http_port}{path}"
        request = urllib.request.Request(url, content, {"content-type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=10) as reply:
            answer = reply.read()
        return json.loads(answer) if answer else None

    def _configuration(self) -> dict[str, Any]:
        allowed = {f"DicomAlwaysAllow{verb}": True for verb in ("Echo", "Find", "Get", "Move", "Store", "FindWorklist")}
        return {
            "Name": "peer of the tests",
            "DicomAet": self.ae_title,
            "DicomPort": self.port,
            "DicomCheckCalledAet": False,
            "DefaultEncoding": "Utf8",  # of answers to queries that name no character set; Latin1 would lose names
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "StorageDirectory": str(self._folder / "storage"),
            "IndexDirectory": str(self._folder / "storage"),
            "Plugins": [],
            "DicomModalities": {},
            **allowed,
            **self._settings,
        }
