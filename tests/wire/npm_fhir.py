"""A third party's FHIR R4 server from npm, as the facade's upstream (see fhir_upstream/server.mjs)."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.wire.peers import ROOT, Child, absent, require, wait_for

__all__ = ["NpmFhir"]

HERE = Path(__file__).resolve().parent / "fhir_upstream"
INSTALLED = ROOT / ".tools" / "fhir_upstream"


def _major(node: str) -> int:
    """The major version of Node.js: 0 if it does not say."""
    said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20).stdout
    number = said.lstrip("v").partition(".")[0]
    return int(number) if number.isdigit() else 0


class NpmFhir:
    """`start` returns when it answers; `fill` gives it resources under ids of their own; `seen` what it was asked."""

    def __init__(self, folder: Path) -> None:
        self._node = require("node")
        if _major(self._node) < 20:
            absent("npm FHIR server", "install Node.js 20 or newer")
        if not (INSTALLED / "node_modules").is_dir():
            absent("npm FHIR server", "run `make peers`")
        self._log = folder / "fhir_upstream.log"
        self._child: Child | None = None
        self.port = 0

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> NpmFhir:
        command = [self._node, "--experimental-websocket", str(HERE / "server.mjs"), str(INSTALLED)]
        child = self._child = Child(command, self._log)
        wait_for(lambda: self._printed() > 0 or not child.running, "the FHIR server to print its port", 60)
        self.port = self._printed()
        child.wait_port(self.port)
        return self

    def stop(self) -> None:
        if self._child is not None:
            self._child.kill()

    def fill(self, resources: Iterable[dict[str, Any]]) -> None:
        """Create each resource under its own id. Raises OSError for what the server refuses."""
        for resource in resources:
            self.request("PUT", f"/{resource['resourceType']}/{resource['id']}", resource)

    def seen(self) -> list[dict[str, Any]]:
        """The requests since the last call: method, url, headers and body of each."""
        with urllib.request.urlopen(f"{self.base}/-/seen", timeout=10) as reply:
            return list(json.load(reply))

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """One request; the decoded answer. Raises urllib.error.HTTPError for 4xx and 5xx."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/fhir+json"}
        request = urllib.request.Request(f"{self.base}{path}", content, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            error.add_note(error.read().decode("utf-8", "replace")[:500])
            raise

    def _printed(self) -> int:
        """The port it printed; 0 while it has not."""
        words = self._log.read_text("utf-8", "replace").split()
        return int(words[0]) if words and words[0].isdigit() else 0
