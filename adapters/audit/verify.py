"""Whether a trail is what was written: every record, their order, their number, and what was signed.

Recomputes all of it: leaf hashes from the bytes, the chain, the Merkle root
at every checkpoint. Needs the public key and, to find a cut end or an old
copy, checkpoints that were kept elsewhere. Pure: no database, no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from adapters.audit.journal import START, chained, columns
from adapters.audit.swift import dumps, loads
from adapters.audit.trail import Stored, Trail
from spir.errors import SpirError
from spir.record.checkpoint import Checkpoint, CheckpointError, Key, Verify, opened
from spir.record.tree import Frontier, leaf_hash

__all__ = ["Finding", "Report", "Trouble", "verify_trail"]


class Trouble(Enum):
    CHANGED = "changed"  # the bytes of a record are not those that were hashed
    COLUMNS = "columns"  # what a record is searched by is not what it says
    ORDER = "order"  # a record does not follow the one before it: put in, taken out, moved
    MISSING = "missing"  # a number is left out
    REWRITTEN = "rewritten"  # all fits, but it is not what was signed
    SHORT = "short"  # the trail ends before a checkpoint that was signed
    SIGNATURE = "signature"  # a checkpoint is not signed by the key
    UNSIGNED = "unsigned"  # there is no checkpoint at all


@dataclass(frozen=True, slots=True)
class Finding:
    """`sequence` is the first record concerned."""

    trouble: Trouble
    sequence: int
    text: str

    def to_json(self) -> dict[str, Any]:
        return {"trouble": self.trouble.value, "record": self.sequence, "text": self.text}


@dataclass(frozen=True, slots=True)
class Report:
    """`records` were read; up to `signed` they are confirmed by a checkpoint. Findings: first record first."""

    records: int
    signed: int
    root: bytes
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "records": self.records,
            "signed": self.signed,
            "root": self.root.hex(),
            "findings": [finding.to_json() for finding in self.findings],
        }


def verify_trail(trail: Trail, key: Key, check: Verify, saved: Iterable[str] = ()) -> Report:
    """Check a trail against its own checkpoints and `saved` ones (signed notes kept elsewhere).

    Reads records up to the first bad one: what follows it proves nothing.
    """
    points, findings = _points([*trail.notes, *saved], key, check)
    walk = _Walk(points)
    for record in trail.records:
        if (finding := walk.step(record)) is not None:
            findings.append(finding)
            break
    else:
        findings.extend(walk.shortfall())
        if walk.size and not points:
            findings.append(Finding(Trouble.UNSIGNED, 1, "no checkpoint of this key vouches for any record"))
    order = sorted(findings, key=lambda finding: finding.sequence)
    return Report(walk.size, walk.signed, walk.frontier.root(), tuple(order))


class _Walk:
    """Along the records, with the chain and the tree as they should be."""

    def __init__(self, points: Mapping[int, list[Checkpoint]]) -> None:
        self.points = points
        self.frontier = Frontier()
        self.chain = START
        self.signed = 0

    @property
    def size(self) -> int:
        return self.frontier.size

    def step(self, record: Stored) -> Finding | None:
        """What is wrong with the next record; None if it is good and counted."""
        expected = self.size + 1
        if record.sequence > expected:
            return Finding(Trouble.MISSING, expected, f"record {expected} is missing")
        if record.sequence < expected:
            return Finding(Trouble.ORDER, record.sequence, f"record {record.sequence} is there twice")
        if not record.intact or leaf_hash(record.body) != record.leaf:
            return Finding(Trouble.CHANGED, expected, f"record {expected} was changed")
        if record.previous != self.chain:
            return Finding(Trouble.ORDER, expected, f"record {expected} does not follow the one before it")
        if record.columns is not None and _said(record.body) != (record.columns, record.patients):
            return Finding(Trouble.COLUMNS, expected, f"record {expected} is filed under what it does not say")
        self.frontier.append(record.leaf)
        self.chain = chained(self.chain, record.leaf)
        return self._compare(expected)

    def shortfall(self) -> list[Finding]:
        """Checkpoints beyond the end."""
        longest = max(self.points, default=0)
        if longest <= self.size:
            return []
        text = f"the trail ends at record {self.size}, a checkpoint was signed at {longest}"
        return [Finding(Trouble.SHORT, self.size + 1, text)]

    def _compare(self, size: int) -> Finding | None:
        for point in self.points.get(size, ()):
            if point.root != self.frontier.root():
                text = f"records {self.signed + 1} to {size} are not those that were signed"
                return Finding(Trouble.REWRITTEN, self.signed + 1, text)
        if size in self.points:
            self.signed = size
        return None


def _points(notes: Iterable[str], key: Key, check: Verify) -> tuple[dict[int, list[Checkpoint]], list[Finding]]:
    found: dict[int, list[Checkpoint]] = {}
    bad: list[Finding] = []
    for note in dict.fromkeys(notes):
        try:
            point = opened(note, key, check)
            if point.origin != key.name:
                raise CheckpointError(f"the checkpoint is of another trail, `{point.origin}`")
        except CheckpointError as error:
            bad = bad or [Finding(Trouble.SIGNATURE, 0, str(error))]
        else:
            found.setdefault(point.size, []).append(point)
    return found, bad


def _said(body: bytes) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Columns and patients that a body stands for; None if it is none."""
    try:
        found = loads(body)
        return (columns(found), tuple(sorted(found.get("patients", ())))) if dumps(found) == body else None
    except (SpirError, KeyError, TypeError, AttributeError):
        return None
