"""The Merkle tree against the definitions of RFC 6962 2.1, written down as slowly as they read."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spir.errors import RequestError
from spir.record.tree import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    consistent,
    included,
    inclusion_proof,
    leaf_hash,
    root_of,
)

LEAVES = [leaf_hash(bytes([n % 256, n // 256])) for n in range(300)]
sizes = st.integers(1, 70)


def slow_split(size: int) -> int:
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def slow_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = slow_split(len(leaves))
    return sha256(b"\x01" + slow_root(leaves[:k]) + slow_root(leaves[k:])).digest()


def slow_path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = slow_split(len(leaves))
    if index < k:
        return [*slow_path(index, leaves[:k]), slow_root(leaves[k:])]
    return [*slow_path(index - k, leaves[k:]), slow_root(leaves[:k])]


def slow_proof(old: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    if old == len(leaves):
        return [] if whole else [slow_root(leaves)]
    k = slow_split(len(leaves))
    if old <= k:
        return [*slow_proof(old, leaves[:k], whole), slow_root(leaves[k:])]
    return [*slow_proof(old - k, leaves[k:], False), slow_root(leaves[:k])]


def test_the_root_is_that_of_the_definition_at_every_size():
    frontier = Frontier()
    for size in range(200):
        assert frontier.root() == slow_root(LEAVES[:size])
        frontier.append(LEAVES[size])


def test_the_root_of_nothing_is_the_hash_of_nothing():
    assert root_of([]) == EMPTY_ROOT == sha256(b"").digest()


@given(st.integers(0, 300))
def test_a_frontier_goes_on_where_it_was_written_down(size: int):
    whole = Frontier()
    for leaf in LEAVES[:size]:
        whole.append(leaf)
    again = Frontier.from_bytes(size, bytes(whole))
    for leaf in LEAVES[size:]:
        whole.append(leaf)
        again.append(leaf)
    assert again.root() == whole.root()


@pytest.mark.parametrize(("size", "data"), [(1, b""), (0, b"x" * 32), (3, b"x" * 32), (2, b"x" * 31), (-1, b"x" * 32)])
def test_peaks_that_cannot_belong_to_the_size_are_refused(size: int, data: bytes):
    with pytest.raises(RequestError):
        Frontier.from_bytes(size, data)


@given(sizes, st.data())
def test_an_inclusion_proof_is_the_definitions_and_holds(size: int, data: st.DataObject):
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(LEAVES[:size], index)
    assert list(proof) == slow_path(index, LEAVES[:size])
    assert included(LEAVES[index], index, size, proof, slow_root(LEAVES[:size]))


@given(sizes, st.data())
def test_an_inclusion_proof_holds_for_nothing_else(size: int, data: st.DataObject):
    index, other = data.draw(st.integers(0, size - 1)), data.draw(st.integers(-1, size))
    proof, root = inclusion_proof(LEAVES[:size], index), slow_root(LEAVES[:size])
    if other != index:
        assert not included(LEAVES[index], other, size, proof, root)
    assert not included(LEAVES[size], index, size, proof, root)
    assert not included(LEAVES[index], index, size, (*proof, LEAVES[0]), root)
    for n in range(len(proof)):
        assert not included(LEAVES[index], index, size, proof[:n] + proof[n + 1 :], root)
        assert not included(LEAVES[index], index, size, (*proof[:n], LEAVES[299], *proof[n + 1 :]), root)


@given(sizes, st.data())
def test_a_consistency_proof_is_the_definitions_and_holds(new: int, data: st.DataObject):
    old = data.draw(st.integers(0, new))
    proof = consistency_proof(LEAVES[:new], old)
    assert list(proof) == ([] if old == 0 else slow_proof(old, LEAVES[:new]))
    assert consistent(old, slow_root(LEAVES[:old]), new, slow_root(LEAVES[:new]), proof)


@given(sizes, st.data())
def test_a_consistency_proof_holds_for_no_other_history(new: int, data: st.DataObject):
    old = data.draw(st.integers(1, new))
    changed = data.draw(st.integers(0, old - 1))
    history = [*LEAVES[:changed], LEAVES[299], *LEAVES[changed + 1 : new]]
    proof = consistency_proof(history, old)
    assert not consistent(old, slow_root(LEAVES[:old]), new, slow_root(history), proof)
    honest = consistency_proof(LEAVES[:new], old)
    assert not consistent(old, slow_root(LEAVES[:old]), new, slow_root(history), honest)
    assert not consistent(old, slow_root(LEAVES[:old]), new, slow_root(LEAVES[:new]), (*honest, LEAVES[0]))


def test_no_proof_is_made_for_what_is_not_there():
    for asked in (-1, 3):
        with pytest.raises(RequestError):
            inclusion_proof(LEAVES[:3], asked)
    for asked in (-1, 4):
        with pytest.raises(RequestError):
            consistency_proof(LEAVES[:3], asked)
    assert not consistent(3, LEAVES[0], 2, LEAVES[0], ())
    assert not consistent(3, LEAVES[0], 5, LEAVES[0], ())
