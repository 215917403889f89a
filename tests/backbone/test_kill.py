"""Killed at any moment, the gateway has lost nothing that it said was kept."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import apsw

from adapters.audit.trail import from_database
from adapters.audit.verify import Trouble, verify_trail
from adapters.backbone.ledger import restored
from adapters.backbone.schema import connect
from spir.record.canonical import decode
from spir.record.checkpoint import Key

ROUNDS = 20
ROOT = Path(__file__).parent.parent.parent


def lived_and_died(folder: Path, lines: int) -> list[int]:
    """One life of the victim: killed after it has said `lines` numbers; all that it had said by then."""
    program = [sys.executable, str(Path(__file__).with_name("victim.py")), str(folder)]
    with subprocess.Popen(program, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"ready\n"
        said = [victim.stdout.readline() for _ in range(lines)]
        victim.kill()
        said += victim.stdout.readlines()
    return [int(line) for line in said if line.endswith(b"\n")]


def numbers(connection: apsw.Connection, query: str) -> list[int]:
    return [int(number) for (number,) in connection.execute(query)]


def test_nothing_acknowledged_is_lost_and_nothing_is_there_twice(tmp_path: Path):
    chance = random.Random(20261121)
    acknowledged: list[int] = []
    for _ in range(ROUNDS):
        acknowledged += lived_and_died(tmp_path, chance.randint(0, 60))
    connection = connect(tmp_path / "spir.db")
    kept = numbers(connection, "select control_id from message order by sequence")
    recorded = [
        decode(body)["detail"]["sequence"] for (body,) in connection.execute("select body from audit order by seq")
    ]
    noted = [decode(body)["number"] for (body,) in connection.execute("select body from outbox")]
    facts = restored(connection).snapshot
    known = [int(id.removeprefix("HIS|P")) for _, id in sorted(facts.every_key())]

    assert set(acknowledged) <= set(kept)
    assert len(kept) == len(set(kept)) and len(acknowledged) == len(set(acknowledged))
    assert kept == recorded  # what belongs together came together, in one order
    assert sorted(kept) == sorted(noted) == sorted(known)
    assert facts.revision == len(kept)
    report = verify_trail(from_database(connection), Key("a", bytes(32)), lambda *_: False)
    assert [finding.trouble for finding in report.findings] == [Trouble.UNSIGNED]
    assert report.records == len(kept) > ROUNDS
