"""Every way of tampering with a trail is found, by editing a real database."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.audit.journal import START, Journal, chained
from adapters.audit.keys import verify
from adapters.audit.notary import Notary, NotaryConfig, notes_in
from adapters.audit.trail import TrailError, export, from_database, from_export
from adapters.audit.verify import Report, Trouble, verify_trail
from spir.errors import Unavailable
from spir.record.checkpoint import Key
from spir.record.tree import leaf_hash
from tests.audit.trails import NAMES, Written, decided, filled

TABLES = ("audit", "audit_patient")
REST = "time, kind, protocol, operation, subject, outcome, effect, body, leaf, previous"

Tamper = Callable[[apsw.Connection], object]


class Kept:
    """A trail of 20 records with checkpoints at 10 and 20, and a copy of the checkpoints elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.connection, self.journal = filled(folder / "spir.db")
        self.notary = self.hire()
        asyncio.run(self.notary.seal())
        self.old = (folder / "spir.db").read_bytes()
        for n in range(10, 20):
            self.journal.append(self.connection, decided(n))
        asyncio.run(self.notary.seal())
        self.saved = notes_in((folder / "checkpoints").read_text())

    def hire(self, name: str = "audit.key") -> Notary:
        config = NotaryConfig("audit.example/a", self.folder / name, self.folder / "checkpoints", seconds=0.01)
        return Notary(config, self.journal, Written(self.connection))

    def report(self, key: Key | None = None, saved: bool = True) -> Report:
        trail = from_database(self.connection)
        return verify_trail(trail, key or self.notary.key, verify, self.saved if saved else ())


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def found(report: Report) -> list[tuple[Trouble, int]]:
    return [(finding.trouble, finding.sequence) for finding in report.findings]


def rebuild(connection: apsw.Connection) -> None:
    """What a patient forger does: number again, hash again, chain again."""
    rows = connection.execute("select seq, body from audit order by seq").fetchall()
    chain = START
    for number, (sequence, data) in enumerate(rows, 1):
        leaf = leaf_hash(data)
        connection.execute(
            "update audit set seq = ?, leaf = ?, previous = ? where seq = ?", (number, leaf, chain, sequence)
        )
        connection.execute("update audit_patient set seq = ? where seq = ?", (number, sequence))
        chain = chained(chain, leaf)


def sql(*statements: str) -> Tamper:
    def run(connection: apsw.Connection) -> None:
        for statement in statements:
            connection.execute(statement)

    return run


def edited(again: bool = False) -> Tamper:
    def run(connection: apsw.Connection) -> None:
        connection.execute(
            "update audit set body = cast(replace(cast(body as text), 'dr.li', 'dr.wu') as blob), subject = 'dr.wu'"
            " where seq = 7"
        )
        if again:
            rebuild(connection)

    return run


def inserted(connection: apsw.Connection) -> None:
    connection.execute("update audit set seq = -seq - 1 where seq >= 8")
    connection.execute("update audit_patient set seq = -seq - 1 where seq >= 8")
    connection.execute(f"insert into audit select 8, {REST} from audit where seq = 6")
    connection.execute("insert into audit_patient select patient, 8 from audit_patient where seq = 6")
    connection.execute("update audit set seq = -seq where seq < 0")
    connection.execute("update audit_patient set seq = -seq where seq < 0")


SWAP = sql(
    *(f"update {table} set seq = {a} where seq = {b}" for a, b in ((99, 5), (5, 6), (6, 99)) for table in TABLES)
)

TAMPERS: dict[str, tuple[Tamper, Trouble, int]] = {
    "a record is edited": (edited(), Trouble.CHANGED, 7),
    "a record and its hash are edited": (
        lambda c: [edited()(c), c.execute("update audit set leaf = ? where seq = 7", (leaf_hash(c.execute(
            "select body from audit where seq = 7").fetchone()[0]),))],
        Trouble.ORDER, 8),
    "a record is edited and all hashes are made again": (edited(again=True), Trouble.REWRITTEN, 1),
    "a body is put in as text": (sql("update audit set body = 'x' where seq = 3"), Trouble.CHANGED, 3),
    "a leaf is cleared": (sql("update audit set leaf = 0 where seq = 3"), Trouble.CHANGED, 3),
    "a record is deleted": (sql("delete from audit where seq = 5"), Trouble.MISSING, 5),
    "the first is deleted": (sql("delete from audit where seq = 1"), Trouble.MISSING, 1),
    "a record is deleted and the gap closed": (
        sql("delete from audit where seq = 5", "delete from audit_patient where seq = 5",
            *(f"update {t} set seq = {n - 1} where seq = {n}" for n in range(6, 21) for t in TABLES)),
        Trouble.ORDER, 5),
    "a record is deleted and all is made again": (
        lambda c: [sql("delete from audit where seq = 5", "delete from audit_patient where seq = 5")(c), rebuild(c)],
        Trouble.REWRITTEN, 1),
    "a record is put in": (inserted, Trouble.ORDER, 8),
    "a record is put before the first": (
        sql(f"insert into audit select 0, {REST} from audit where seq = 1"), Trouble.ORDER, 0),
    "two records change places": (SWAP, Trouble.ORDER, 5),
    "two records change places and all is made again": (lambda c: [SWAP(c), rebuild(c)], Trouble.REWRITTEN, 1),
    "the end is cut off": (sql("delete from audit where seq > 17"), Trouble.SHORT, 18),
    "all is deleted": (sql("delete from audit"), Trouble.SHORT, 1),
    "the end is cut off and its checkpoint too": (
        sql("delete from audit where seq > 17", "delete from audit_checkpoint where size > 17"), Trouble.SHORT, 18),
    "a record is hidden from a search by subject": (
        sql("update audit set subject = 'nobody' where seq = 4"), Trouble.COLUMNS, 4),
    "a record is hidden from a search by time": (
        sql("update audit set time = '1999-01-01' where seq = 4"), Trouble.COLUMNS, 4),
    "a record is hidden from a search by patient": (
        sql("delete from audit_patient where seq = 4"), Trouble.COLUMNS, 4),
    "a record is found under another patient": (
        sql("insert into audit_patient values ('hmac:0', 4)"), Trouble.COLUMNS, 4),
}  # fmt: skip


def test_a_trail_that_nobody_touched_is_good(kept: Kept):
    report = kept.report()
    assert (report.ok, report.records, report.signed) == (True, 20, 20)


@pytest.mark.parametrize("name", TAMPERS)
def test_tampering_is_found_at_its_first_record(kept: Kept, name: str):
    tamper, trouble, sequence = TAMPERS[name]
    with kept.connection:
        tamper(kept.connection)
    assert found(kept.report())[0] == (trouble, sequence)


def test_a_forger_with_the_database_alone_is_caught_by_its_own_checkpoints(kept: Kept):
    with kept.connection:
        edited(again=True)(kept.connection)
    assert found(kept.report(saved=False)) == [(Trouble.REWRITTEN, 1)]


def test_what_changed_after_a_checkpoint_is_said_to_be_after_it(kept: Kept):
    with kept.connection:
        kept.connection.execute(
            "update audit set body = cast(replace(cast(body as text), 'dr.li', 'dr.wu') as blob), subject = 'dr.wu'"
            " where seq = 15"
        )
        rebuild(kept.connection)
    assert found(kept.report()) == [(Trouble.REWRITTEN, 11)]


def test_an_old_copy_that_is_put_back_is_found(kept: Kept, tmp_path: Path):
    kept.connection.close()
    (tmp_path / "spir.db").write_bytes(kept.old)
    kept.connection = apsw.Connection(str(tmp_path / "spir.db"))
    assert kept.report(saved=False).ok
    assert found(kept.report()) == [(Trouble.SHORT, 11)]


def test_another_key_confirms_nothing(kept: Kept):
    other = kept.hire("other.key").key
    assert found(kept.report(other)) == [(Trouble.SIGNATURE, 0), (Trouble.UNSIGNED, 1)]


def test_a_forged_checkpoint_is_found(kept: Kept):
    kept.saved.append(kept.saved[0].replace("\n10\n", "\n11\n"))
    assert found(kept.report()) == [(Trouble.SIGNATURE, 0)]


def test_records_after_the_last_checkpoint_are_counted_but_not_confirmed(kept: Kept):
    kept.journal.append(kept.connection, decided(1))
    report = kept.report()
    assert (report.ok, report.records, report.signed) == (True, 21, 20)


def test_a_trail_without_checkpoints_is_said_to_be_unsigned():
    connection, _ = filled()
    report = verify_trail(from_database(connection), Key("a", bytes(32)), verify)
    assert found(report) == [(Trouble.UNSIGNED, 1)]
    assert report.to_json()["findings"][0]["trouble"] == "unsigned"


def exported(kept: Kept) -> bytes:
    out = io.BytesIO()
    assert export(kept.connection, out) == 20
    return out.getvalue()


def checked(kept: Kept, data: bytes) -> Report:
    return verify_trail(from_export(io.BytesIO(data)), kept.notary.key, verify, kept.saved)


def test_an_exported_trail_is_verified_without_the_database(kept: Kept):
    report = checked(kept, exported(kept))
    assert (report.ok, report.records, report.signed) == (True, 20, 20)


def test_an_edited_export_is_found_at_its_line(kept: Kept):
    lines = exported(kept).splitlines(keepends=True)
    edits = {
        "word": [*lines[:7], lines[7].replace(b"dr.li", b"dr.wu"), *lines[8:]],
        "space": [*lines[:7], lines[7].replace(b",", b", ", 1), *lines[8:]],
        "twice": [*lines[:7], lines[7].replace(b"{", b'{"seq":7,', 1), *lines[8:]],
        "junk": [*lines[:7], b"junk\n", *lines[8:]],
        "gone": [*lines[:7], *lines[8:]],
        "swap": [*lines[:7], lines[8], lines[7], *lines[9:]],
        "twofold": [*lines[:7], lines[6], *lines[7:]],
        "cut": lines[:8],
    }
    expected = {
        "word": (Trouble.CHANGED, 7),
        "space": (Trouble.CHANGED, 7),
        "twice": (Trouble.CHANGED, 7),
        "junk": (Trouble.CHANGED, 7),
        "gone": (Trouble.MISSING, 7),
        "swap": (Trouble.MISSING, 7),
        "twofold": (Trouble.ORDER, 6),
        "cut": (Trouble.SHORT, 8),
    }
    assert {name: found(checked(kept, b"".join(edit)))[0] for name, edit in edits.items()} == expected


@given(st.binary())
def test_any_file_is_read_or_refused(data: bytes):
    with pytest.raises(TrailError):
        from_export(io.BytesIO(data))


def test_any_change_of_one_byte_of_an_export_is_found(tmp_path: Path):
    kept = Kept(tmp_path)
    data = exported(kept)

    @given(st.integers(0, len(data) - 1), st.integers(0, 255))
    @example(len(data) - 1, ord(" "))  # what ends the last line
    def change(place: int, byte: int) -> None:
        mutant = data[:place] + bytes([byte]) + data[place + 1 :]
        if mutant == data:
            return
        try:
            assert not checked(kept, mutant).ok
        except TrailError:
            assert place < len(data.split(b"\n")[0]) + 1

    change()


def test_the_notary_signs_only_what_is_new(kept: Kept):
    assert asyncio.run(kept.notary.seal()) is None
    kept.journal.append(kept.connection, decided(1))
    point = asyncio.run(kept.notary.seal())
    assert point is not None and point.size == 21
    assert len(notes_in((kept.folder / "checkpoints").read_text())) == 3


def test_the_notary_signs_while_it_runs_and_once_more_at_the_end(kept: Kept):
    async def run() -> list[int]:
        notary = kept.hire()
        await notary.start()
        kept.journal.append(kept.connection, decided(1))
        while len(notes_in((kept.folder / "checkpoints").read_text())) < 3:
            await asyncio.sleep(0)
        kept.journal.append(kept.connection, decided(2))
        await notary.stop()
        return [point for (point,) in kept.connection.execute("select size from audit_checkpoint order by size")]

    assert asyncio.run(run()) == [10, 20, 21, 22]


def test_a_gateway_does_not_go_on_with_a_shortened_trail(kept: Kept):
    kept.connection.execute("delete from audit where seq > 17")
    with pytest.raises(Unavailable, match="ends at record 17, but a checkpoint was signed at 20"):
        asyncio.run(kept.hire().start())


def test_a_gateway_does_not_go_on_with_another_trail(kept: Kept):
    with kept.connection:
        edited(again=True)(kept.connection)
        kept.connection.execute("update audit_state set size = 0, peaks = x''")
    kept.journal = Journal(NAMES)
    with pytest.raises(Unavailable, match="not the one"):
        asyncio.run(kept.hire().start())


def test_a_checkpoint_that_was_cut_off_by_a_crash_is_left_out(kept: Kept):
    text = (kept.folder / "checkpoints").read_text()
    assert notes_in(text) == kept.saved
    for cut in range(1, 60):
        assert notes_in(text[:-cut])[:1] == kept.saved[:1]


def test_a_checkpoints_file_that_is_none_is_said_to_be_none(kept: Kept):
    (kept.folder / "checkpoints").write_text("a\n\nb\n\n")
    with pytest.raises(Unavailable, match="cannot be read"):
        asyncio.run(kept.hire().start())
