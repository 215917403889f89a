"""What is restored is what was there, whatever happened before."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.backbone.ledger import Ledger, restored
from adapters.backbone.schema import connect
from spir.errors import FactError
from spir.model.facts import CLOSED, Assert, Change, Doubt, Fact, FactStore, Merge, Retract, Settle, Snapshot, _members
from tests.given import NOON

keys = st.tuples(st.just("patient"), st.sampled_from(["HIS|1", "HIS|2", "HIS|3", "HIS|4"])) | st.just(
    ("staff", "dr.li")
)
attributes = st.sampled_from(["care_team", "vip", "location", CLOSED])
scopes = st.sampled_from([(), ("team",), ("team", "vip")])
edges = st.none() | st.integers(-5, 5).map(lambda n: NOON + timedelta(minutes=n))
parts = st.sampled_from(["", "visit:V1", "visit:V1/attending", "visit:V2"])
moments = st.integers(-5, 5).map(lambda n: NOON + timedelta(minutes=n))
values = st.sampled_from([True, "ward 3", 7, 0.5, ("dr.li", "dr.wu"), NOON, {"a": (1, 2)}])
facts = st.builds(
    Fact, keys, attributes, values, st.just("HIS"), moments, parts, st.none() | moments, st.none() | moments
)
changes = st.one_of(
    st.builds(Assert, facts),
    st.builds(Retract, keys, attributes | st.just(""), parts, st.just("HIS"), moments),
    st.builds(Merge, keys, keys, st.just("HIS"), moments),
    st.builds(Doubt, keys, st.just("HIS"), moments, scopes),
    st.builds(Settle, keys, st.just("HIS"), moments, scopes),
)


def state(snapshot: Snapshot) -> object:
    return (
        snapshot.revision,
        {key: dict(snapshot.rows(key)) for key in sorted(snapshot.every_key())},
        dict(snapshot.aliases),
        snapshot.doubted,
        [{entry: sorted(_members(keys)) for entry, keys in part.items()} for part in snapshot.index],
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(changes, max_size=4), max_size=6))
def test_the_store_is_restored_as_it_was(batches: list[list[Change]]):
    with TemporaryDirectory() as folder:
        connection = connect(Path(folder) / "spir.db")
        ledger, plain = Ledger(FactStore()), FactStore()
        for batch in batches:
            ledger.begin()
            connection.execute("begin")
            try:
                ledger.learn(connection, batch)
            except FactError:
                connection.execute("rollback")
                continue
            connection.execute("commit")
            ledger.publish()
            plain.apply(batch)
        assert state(ledger.store.snapshot) == state(plain.snapshot)
        assert state(restored(connection).snapshot) == state(plain.snapshot)
        connection.close()


def test_a_part_that_is_undone_is_as_if_it_had_never_been(tmp_path: Path):
    connection = connect(tmp_path / "spir.db")
    ledger = Ledger(FactStore())
    ledger.begin()
    ledger.learn(connection, [Assert(Fact(("patient", "1"), "vip", True, "HIS", NOON))])
    mark = ledger.mark()
    ledger.learn(connection, [Assert(Fact(("patient", "2"), "vip", True, "HIS", NOON))])
    ledger.undo(mark)
    assert ledger.store.snapshot.revision == 0
    ledger.publish()
    assert (ledger.store.snapshot.revision, list(ledger.store.snapshot.every_key())) == (1, [("patient", "1")])


def test_merged_names_come_back_in_the_order_in_which_they_were_learnt(tmp_path: Path):
    connection = connect(tmp_path / "spir.db")
    ledger = Ledger(FactStore())
    ledger.begin()
    one, two, three = (("patient", str(n)) for n in (1, 2, 3))
    ledger.learn(connection, [Merge(one, two, "HIS", NOON), Merge(two, three, "HIS", NOON)])
    ledger.publish()
    again = restored(connection).snapshot
    assert again.resolve(one) == again.resolve(two) == three
    assert dict(again.aliases) == {one: two, two: three}
