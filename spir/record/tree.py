"""The Merkle tree over the audit trail (RFC 6962 2.1, RFC 9162 2.1).

A leaf is an event's canonical bytes. `Frontier` grows the tree by one leaf at
the cost of about one hash and keeps only the roots of its complete subtrees,
so a trail of any length is held in some hundred bytes. Proofs are made from
all leaf hashes, in one pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

from spir.errors import RequestError

__all__ = [
    "EMPTY_ROOT",
    "Frontier",
    "consistency_proof",
    "consistent",
    "included",
    "inclusion_proof",
    "leaf_hash",
    "root_of",
]

EMPTY_ROOT = sha256(b"").digest()
HASH_SIZE = 32


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 || data): no leaf can be mistaken for a node (RFC 6962 2.1)."""
    return sha256(b"\x00" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: the roots of its complete subtrees, largest first.

    INVARIANT: there are as many peaks as `size` has bits set.
    """

    __slots__ = ("peaks", "size")

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self.peaks = list(peaks)
        if size < 0 or len(self.peaks) != size.bit_count() or any(len(peak) != HASH_SIZE for peak in self.peaks):
            raise RequestError(f"{len(self.peaks)} peaks cannot belong to a tree of {size} leaves")

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> Frontier:
        """A frontier from its size and its peaks written one after another. Raises RequestError."""
        return cls(size, (data[n : n + HASH_SIZE] for n in range(0, len(data), HASH_SIZE)))

    def __bytes__(self) -> bytes:
        return b"".join(self.peaks)

    def copy(self) -> Frontier:
        return Frontier(self.size, self.peaks)

    def append(self, leaf: bytes) -> None:
        """Add a leaf by its hash."""
        level = self.size
        while level & 1:
            leaf = _node(self.peaks.pop(), leaf)
            level >>= 1
        self.peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = _node(peak, root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Hashes that lead from leaf `index` to the root, lowest first (RFC 9162 2.1.3.1). Raises RequestError."""
    if not 0 <= index < len(leaves):
        raise RequestError(f"there is no leaf {index} in a tree of {len(leaves)}")
    start, end, path = 0, len(leaves), []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(root_of(leaves[middle:end]))
            end = middle
        else:
            path.append(root_of(leaves[start:middle]))
            start = middle
    return tuple(reversed(path))


def included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows that `leaf` is number `index` under `root` (RFC 9162 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = _node(step, found)
            at, last = _climb(at, last)
        else:
            found = _node(found, step)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def consistency_proof(leaves: Sequence[bytes], old: int) -> tuple[bytes, ...]:
    """Hashes that show that the first `old` leaves are still the first (RFC 9162 2.1.4.1); none for 0 and for all.

    Raises RequestError.
    """
    if not 0 <= old <= len(leaves):
        raise RequestError(f"a tree of {len(leaves)} leaves never had {old}")
    start, end, path, whole = 0, len(leaves), [], True
    while old not in (0, end):
        middle = start + _split(end - start)
        if old <= middle:
            path.append(root_of(leaves[middle:end]))
            end = middle
        else:
            path.append(root_of(leaves[start:middle]))
            start, whole = middle, False
    if not whole:
        path.append(root_of(leaves[start:end]))
    return tuple(reversed(path))


def consistent(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the tree of `new` leaves begins with the tree of `old` (RFC 9162 2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old in (0, new):
        return not proof and (old_root == new_root if old else old_root == EMPTY_ROOT)
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = path[0]
    for step in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = _node(step, first), _node(step, second)
            at, last = _climb(at, last)
        else:
            second = _node(second, step)
        at, last = at >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def _split(size: int) -> int:
    """The largest power of two smaller than `size` (2 or more)."""
    return 1 << ((size - 1).bit_length() - 1)


def _climb(at: int, last: int) -> tuple[int, int]:
    """Up past the levels where the node has no sibling."""
    while at and not at & 1:
        at, last = at >> 1, last >> 1
    return at, last
