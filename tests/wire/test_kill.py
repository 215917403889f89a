"""`kill -9` in a burst: what was acknowledged is there afterwards, once, with its facts and its record."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.wire.peers import free_port, wait_for
from tests.wire.served import Served

pytestmark = pytest.mark.wire

SENDERS = 4
KILL_AFTER = (7, 60, 200)  # acknowledgements in a round, before the blow


class Sender(threading.Thread):
    """Sends admissions over one connection, each of another patient, until the connection breaks."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.port = port
        self.acknowledged: list[str] = []

    def run(self) -> None:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
                for number in range(100_000):
                    self._admit(connection, f"{self.name}-{number}")
        except OSError:
            return

    def _admit(self, connection: socket.socket, name: str) -> None:
        segments = (
            f"MSH|^~\\&|HIS|H1|SPIR|H1|20261121083005+0800||ADT^A01^ADT_A01|{name}|P|2.5.1",
            "EVN|A01|20261121083000+0800",
            f"PID|1||{name}^^^HIS^MR||Invented^Person",
            "PV1|1|I|CARD^301^1^H1||||1001^Li^Min||||||||||||V1^^^HIS^VN",
        )
        connection.sendall(b"\x0b" + "\r".join(segments).encode() + b"\r\x1c\r")
        answer = b""
        while not answer.endswith(b"\x1c\r"):
            more = connection.recv(4096)
            if not more:
                raise ConnectionResetError
            answer += more
        if f"MSA|AA|{name}".encode() in answer:
            self.acknowledged.append(name)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path, free_port(), "NOBODY", free_port(), "http://127.0.0.1:9", "http://127.0.0.1:9")
    yield made
    made.stop()


def test_a_kill_in_a_burst_loses_nothing_that_was_acknowledged(served: Served) -> None:
    acknowledged: list[str] = []
    for turn, count in enumerate(KILL_AFTER):
        served.start("hl7")
        senders = [Sender(served.hl7v2, f"R{turn}S{number}") for number in range(SENDERS)]
        for sender in senders:
            sender.start()
        wait_for(lambda s=senders, n=count: sum(len(one.acknowledged) for one in s) >= n, "some acknowledgements")
        served.kill()
        for sender in senders:
            sender.join(timeout=20)
            acknowledged += sender.acknowledged
    served.start("hl7")
    listed = _spir(served, "hl7", "list", "--limit", "100000")
    kept = [one["control_id"] for one in listed if one["state"] == "applied"]
    assert set(acknowledged) <= set(kept)
    assert len(kept) == len(set(kept))
    known = set(_spir(served, "facts", "get"))
    assert {f"patient:HIS|{name}" for name in kept} == {key for key in known if key.startswith("patient:")}
    served.stop()
    assert _spir(served, "audit", "verify")["ok"] is True
    recorded = _spir(served, "audit", "search", "--operation", "update:encounter:admit", "--limit", "1000")
    assert len(recorded) == min(len(kept), 1000)


def _spir(served: Served, *words: str) -> Any:
    command = [sys.executable, "-m", "adapters.cli", *words, "-c", str(served.config), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
