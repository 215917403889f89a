"""Real peers: whether they are there, and running them as children of the test process.

`require(name)` skips the test, by the peer's name, where the peer is not
installed; with SPIR_REQUIRE_PEERS=1 it fails instead, so that nobody takes a
run without peers for a run with them. Children are stopped by their own
process id, never by name.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

__all__ = ["PEERS", "Child", "accepts", "free_port", "require", "wait_for"]

ROOT = Path(__file__).resolve().parents[2]

# name -> (program that must be found, what to install)
PEERS = {
    "dcmtk": ("findscu", "the Debian package dcmtk"),
    "orthanc": ("Orthanc", "the Debian package orthanc"),
    "dicom3tools": ("dciodvfy", "the Debian package dicom3tools"),
    "nginx": ("nginx", "the Debian package nginx-light"),
    "haproxy": ("haproxy", "the Debian package haproxy"),
    "socat": ("socat", "the Debian package socat"),
    "wrk": ("wrk", "the Debian package wrk"),
    "node": ("node", "the Debian package nodejs"),
    "npm": ("npm", "the Debian package npm"),
}


def require(name: str) -> str:
    """The path of a peer's program. Skips, or fails where peers are required."""
    program, cure = PEERS[name]
    found = find(program)
    if found is None:
        absent(name, f"install {cure}")
    return found


def absent(name: str, cure: str) -> None:
    """Skip the test because a peer is not there; fail if SPIR_REQUIRE_PEERS is 1."""
    message = f"peer `{name}` is not installed: {cure}"
    if os.environ.get("SPIR_REQUIRE_PEERS") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def find(program: str) -> str | None:
    """As `which`, and in the places that are on the path of root only."""
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    return shutil.which(program, path=places)


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    """Whether something listens on a loopback port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def wait_for(condition: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
    """Return as soon as the condition holds; fail the test when it has not after `timeout` seconds."""
    pause = threading.Event()
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"waited {timeout:g} s in vain for {what}", pytrace=False)
        pause.wait(0.01)


class Child:
    """One program, with its output in a file; in a process group of its own, so that its children end with it."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.name = Path(command[0]).name
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                list(command),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=log.parent,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_port(self, port: int) -> None:
        """Wait until it listens; fail with the end of its log if it ends instead."""
        wait_for(lambda: accepts(port) or not self.running, f"{self.name} to listen")
        if not self.running:
            tail = self.log.read_text("utf-8", "replace")[-2000:]
            pytest.fail(f"{self.name} ended with {self._process.returncode}: {tail}", pytrace=False)

    def stop(self, timeout: float = 5.0) -> None:
        """Ask it to end, then make it. Safe to call twice."""
        if not self.running:
            return
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait(timeout)

    def kill(self) -> None:
        """End it at once. Safe to call twice."""
        if self.running:
            self._signal(signal.SIGKILL)
            self._process.wait(5)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
