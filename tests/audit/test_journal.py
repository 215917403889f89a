"""Writing the trail: numbered, chained, and right again after what was rolled back."""

from __future__ import annotations

import base64
import os
import stat
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from adapters.audit.journal import START, Journal, chained
from adapters.audit.keys import public_key, signing_key, site_key, verify
from adapters.audit.pseudonym import Pseudonyms
from spir.errors import Unavailable
from spir.record.checkpoint import CheckpointError, Key
from spir.record.tree import leaf_hash, root_of
from tests.audit.trails import NAMES, decided, filled, opened, started


def rows(connection: apsw.Connection) -> list[tuple[int, bytes, bytes, bytes]]:
    return list(connection.execute("select seq, body, leaf, previous from audit order by seq"))


def test_each_record_is_bound_to_all_before_it():
    connection, journal = filled(count=20)
    chain = START
    for number, (sequence, data, leaf, previous) in enumerate(rows(connection), 1):
        assert (sequence, leaf, previous) == (number, leaf_hash(data), chain)
        chain = chained(chain, leaf)
    assert journal.head(connection) == (20, root_of(row[2] for row in rows(connection)))


def test_a_record_that_is_rolled_back_leaves_no_gap():
    connection, journal = opened()
    journal.append(connection, started())
    for outcome in ("rollback", "commit", "rollback", "rollback", "commit"):
        connection.execute("begin")
        journal.append(connection, decided(1))
        connection.execute("savepoint inner_work")
        journal.append(connection, decided(2))
        connection.execute("rollback to inner_work")
        connection.execute(outcome)
    assert [row[0] for row in rows(connection)] == [1, 2, 3]
    assert journal.head(connection) == (3, root_of(row[2] for row in rows(connection)))


def test_two_processes_write_one_chain(tmp_path: Path):
    connections = [apsw.Connection(str(tmp_path / "spir.db")) for _ in range(2)]
    connections[0].execute("pragma journal_mode = wal")
    journals = [Journal(NAMES), Journal(NAMES)]
    for connection, journal in zip(connections, journals, strict=True):
        journal.prepare(connection)
    for n in range(1, 20):
        assert journals[n % 3 % 2].record(connections[n % 3 % 2], decided(n)) == n
    chain = START
    for _, data, leaf, previous in rows(connections[1]):
        assert (leaf, previous) == (leaf_hash(data), chain)
        chain = chained(chain, leaf)


def test_a_record_of_another_process_in_the_place_of_one_rolled_back_is_noticed(tmp_path: Path):
    connections = [apsw.Connection(str(tmp_path / "spir.db")) for _ in range(2)]
    journals = [Journal(NAMES), Journal(NAMES)]
    journals[0].prepare(connections[0])
    connections[0].execute("begin")
    journals[0].append(connections[0], decided(1))
    connections[0].execute("rollback")
    journals[1].record(connections[1], decided(2))
    journals[0].record(connections[0], decided(3))
    first, second = rows(connections[0])
    assert second[3] == chained(first[3], first[2])
    assert journals[0].head(connections[0]) == (2, root_of([first[2], second[2]]))


def test_a_record_that_fails_leaves_no_transaction_open():
    connection, journal = opened()
    connection.execute("drop table audit_patient")
    with pytest.raises(apsw.SQLError):
        journal.record(connection, decided(1))
    assert not connection.in_transaction
    assert rows(connection) == []


def test_records_that_are_written_together_are_those_that_are_written_one_by_one():
    singly, _ = filled(count=2060)
    together, journal = opened()
    every = [started(), *map(decided, range(1, 2060))]
    for start, end in ((0, 1), (1, 1), (1, 1000), (1000, 1030), (1030, 2060)):
        assert journal.append(together, *every[start:end]) == end
    assert rows(together) == rows(singly)
    patients = "select * from audit_patient order by seq"
    assert list(together.execute(patients)) == list(singly.execute(patients))
    again = Journal(NAMES)
    assert again.head(together) == journal.head(together) == (2060, root_of(row[2] for row in rows(singly)))


def test_one_that_cannot_be_written_takes_those_with_it_and_nothing_else():
    connection, journal = filled(count=3)
    odd = replace(decided(3), subject=7)  # type: ignore[arg-type]
    connection.execute("begin")
    with pytest.raises(TypeError):
        journal.append(connection, decided(3), odd, decided(4))
    connection.execute("rollback")
    assert journal.append(connection, decided(3), decided(4)) == 5
    assert rows(connection) == rows(filled(count=5)[0])


@pytest.mark.parametrize("count", [0, 1, 5, 1023, 1024, 1025, 1500])
def test_another_journal_goes_on_where_one_stopped(count: int):
    connection, _ = filled(count=count)
    again = Journal(NAMES)
    again.prepare(connection)
    assert again.append(connection, started()) == count + 1
    assert again.head(connection) == (count + 1, root_of(row[2] for row in rows(connection)))
    previous = rows(connection)[-2:]
    if count:
        assert previous[1][3] == chained(previous[0][3], previous[0][2])


def test_the_trail_is_not_continued_with_another_site_key():
    connection, _ = filled()
    with pytest.raises(Unavailable, match="another site key"):
        Journal(Pseudonyms(bytes(32))).prepare(connection)


def test_a_patient_may_be_named_twice_in_one_event():
    connection, journal = opened()
    event = decided(1)
    journal.append(connection, event)
    journal.append(connection, event)
    assert connection.execute("select count(*) from audit_patient").fetchone() == (2,)


def test_keys_are_made_once_and_for_their_owner_only(tmp_path: Path):
    before = os.umask(0)
    try:
        first = site_key(tmp_path / "site.key")
        private, key = signing_key(tmp_path / "audit.key", "a/b")
    finally:
        os.umask(before)
    assert site_key(tmp_path / "site.key") == first
    again, same = signing_key(tmp_path / "audit.key", "a/b")
    assert (again.private_bytes_raw(), same) == (private.private_bytes_raw(), key)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"site.key": 0o600, "audit.key": 0o600, "audit.pub": 0o644, "audit.vkey": 0o644}


def test_the_public_key_is_read_in_both_its_forms(tmp_path: Path):
    private, key = signing_key(tmp_path / "audit.key", "a/b")
    assert public_key((tmp_path / "audit.pub").read_text(), "a/b") == key
    assert public_key((tmp_path / "audit.vkey").read_text(), "") == key
    assert verify(key.public, private.sign(b"x"), b"x")
    assert not verify(key.public, private.sign(b"x"), b"y")


@pytest.mark.parametrize("text", ["", "x", "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_public_key_is_refused(text: str):
    with pytest.raises(CheckpointError):
        public_key(text, "a")


def test_a_key_of_another_kind_is_refused(tmp_path: Path):
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    private = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "audit.key"
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    with pytest.raises(Unavailable, match="not an Ed25519"):
        signing_key(path, "a")
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(CheckpointError, match="not an Ed25519"):
        public_key(pem, "a")


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path):
    site_key(tmp_path / "site.key")
    (tmp_path / "site.key").chmod(0o644)
    with pytest.raises(Unavailable, match="read by others"):
        site_key(tmp_path / "site.key")


@pytest.mark.parametrize("content", [b"", b"\xff", base64.b64encode(b"short")])
def test_a_damaged_site_key_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "site.key").write_bytes(content)
    (tmp_path / "site.key").chmod(0o600)
    with pytest.raises(Unavailable):
        site_key(tmp_path / "site.key")


def test_the_name_of_the_trail_is_a_key_name(tmp_path: Path):
    with pytest.raises(CheckpointError):
        signing_key(tmp_path / "audit.key", "two words")
    assert str(Key("a/b", bytes(32))).startswith("a/b+")
