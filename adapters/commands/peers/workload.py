"""Policies and requests that belong to no engine, drawn from a seed; and the plainest way to decide them.

Attributes are a hospital's: role, department, licence and clearance of who
asks; type, sensitivity, modality, owner and risk of what is asked for; hour,
location and device. 70 % of the policies permit, the others deny; a deny wins
and nothing permits by itself. In an `idx` workload most policies name a
department and a role, as people write them. In a `flat` one they name neither,
and have four to seven comparisons that no index helps with: our worst case.

Requests are drawn by fitting one policy each, and kept so that exactly half of
them are permitted. No attribute is ever absent here: what engines make of that
is a matter of safety, not of speed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

__all__ = ["ACTIONS", "KINDS", "MAX_DEPARTMENTS", "TYPES", "Ask", "Atom", "Rule", "Workload"]

KINDS = ("idx", "flat")
ACTIONS = ("search", "read", "view", "retrieve", "create", "update", "delete", "export")
TYPES = (
    "patient",
    "encounter",
    "allergy",
    "result",
    "order",
    "report",
    "imaging",
    "prescription",
    "vitals",
    "document",
)
MAX_DEPARTMENTS = 200

# attribute -> its values; `subject.department` and `resource.department` have as many as the policies ask for
TEXTS: Mapping[str, tuple[str, ...]] = {
    "subject.role": ("physician", "nurse", "pharmacist", "radiologist", "clerk", "student", "auditor", "technician"),
    "subject.license": ("none", "medical", "nursing", "pharmacy", "radiology"),
    "resource.modality": ("CR", "CT", "DX", "MG", "MR", "NM", "US", "XA"),
    "resource.owner": tuple(f"u{number}" for number in range(50)),
    "context.location": ("ward", "theatre", "office", "home", "remote"),
}
NUMBERS: Mapping[str, tuple[int, int]] = {
    "subject.clearance": (1, 3),
    "subject.tier": (1, 3),
    "resource.sensitivity": (1, 5),
    "resource.risk": (0, 9),
    "context.hour": (0, 23),
}
SWITCH = "context.device_trusted"
SAME = (("resource.owner", "subject.id"), ("resource.department", "subject.department"))


@dataclass(frozen=True, slots=True)
class Atom:
    """`attribute op value`; op is one of == != >= <= in between same (`value` then names another attribute)."""

    attribute: str
    op: str
    value: Any


@dataclass(frozen=True, slots=True)
class Rule:
    """All atoms must hold. `masks` are elements that whoever is permitted by it must not see."""

    id: str
    permits: bool
    operations: tuple[tuple[str, str], ...]
    atoms: tuple[Atom, ...]
    masks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as values by attribute path, and what the plain interpreter says to it."""

    action: str
    type: str
    values: Mapping[str, Any]
    permitted: bool
    matched: frozenset[str]

    def under(self, dimension: str) -> dict[str, Any]:
        """The attributes of one dimension by their names: {"role": ...} for `subject`."""
        names = ((path.partition("."), value) for path, value in self.values.items())
        return {name: value for (first, _, name), value in names if first == dimension}


class Workload:
    """So many policies of one kind; the same for the same seed."""

    def __init__(self, kind: str, size: int, seed: int = 11) -> None:
        self.kind, self.size = kind, size
        self._random = Random(f"{kind} {size} {seed}")
        self._choose = self._random.choice
        departments = tuple(f"d{number}" for number in range(max(4, min(MAX_DEPARTMENTS, size // 50))))
        self._texts = {**TEXTS, "subject.department": departments, "resource.department": departments}
        self.rules = tuple(self._rule(f"p{number}") for number in range(size))

    # -- policies ----------------------------------------------------------------------------

    def _rule(self, id: str) -> Rule:
        permits = self._random.random() < 0.7
        pairs = [(action, type) for action in ACTIONS for type in TYPES]
        operations = tuple(sorted(self._random.sample(pairs, self._choose((1, 1, 2, 3)))))
        atoms = tuple(self._indexed() if self.kind == "idx" else self._flat())
        masks = ("patient.telecom",) if permits and self._random.random() < 0.3 else ()
        return Rule(id, permits, operations, atoms, masks)

    def _indexed(self) -> Iterator[Atom]:
        """85 % name a department and 80 % a role; one to three comparisons beside."""
        if self._random.random() < 0.85:
            yield self._is("subject.department")
        if self._random.random() < 0.8:
            yield self._is("subject.role")
        yield from self._comparisons(self._choose((1, 2, 3)))

    def _flat(self) -> Iterator[Atom]:
        yield from self._comparisons(self._choose((4, 5, 6, 7)), equal=0.05)

    def _comparisons(self, count: int, equal: float = 0.3) -> Iterator[Atom]:
        texts = ("subject.license", "resource.modality", "context.location")
        for path in self._random.sample((*texts, *NUMBERS, SWITCH, "same"), count):
            if path == "same":
                one, other = self._choose(SAME)
                yield Atom(one, "same", other)
            elif path == SWITCH:
                yield Atom(path, "==", self._choose((True, False)))
            elif self._random.random() < equal:
                yield self._is(path)
            else:
                yield self._number(path) if path in NUMBERS else self._text(path)

    def _is(self, path: str) -> Atom:
        return Atom(path, "==", self._any(path))

    def _text(self, path: str) -> Atom:
        if self._random.random() < 0.5:
            return Atom(path, "!=", self._any(path))
        return Atom(path, "in", tuple(sorted(self._random.sample(self._texts[path], self._choose((2, 3, 4))))))

    def _number(self, path: str) -> Atom:
        op = self._choose((">=", "<=", "!=", "between"))
        if op == "between":
            return Atom(path, op, tuple(sorted((self._any(path), self._any(path)))))
        return Atom(path, op, self._any(path))

    # -- requests ----------------------------------------------------------------------------

    def asks(self, count: int) -> list[Ask]:
        """So many requests, half of them permitted, in random order."""
        wanted = {True: count // 2, False: count - count // 2}
        found: list[Ask] = []
        for _ in range(1000 * count):
            action, type, values = self._drawn()
            permitted = self.permitted(action, type, values)
            if wanted[permitted]:
                wanted[permitted] -= 1
                matched = frozenset(one.id for one in self._about[action, type] if holds(one, values))
                found.append(Ask(action, type, values, permitted, matched))
                if len(found) == count:
                    self._random.shuffle(found)  # whichever half is harder to find came last
                    return found
        raise AssertionError(f"{self.kind} {self.size}: no balanced requests, {wanted} are wanting")

    def _drawn(self) -> tuple[str, str, dict[str, Any]]:
        rule = self._choose(self.rules)
        action, type = self._choose(rule.operations)
        values = {path: self._any(path) for path in (*self._texts, *NUMBERS, SWITCH)}
        values["subject.id"] = self._choose(self._texts["resource.owner"])
        # what is compared with another attribute comes last, when that one has its value
        for atom in sorted(rule.atoms, key=lambda atom: atom.op == "same"):
            values[atom.attribute] = values[atom.value] if atom.op == "same" else self._fitting(atom)
        return action, type, values

    def permitted(self, action: str, type: str, values: Mapping[str, Any]) -> bool:
        """Something permits and nothing denies."""
        about = self._about[action, type]
        denied = any(not one.permits and holds(one, values) for one in about)
        return not denied and any(one.permits and holds(one, values) for one in about)

    def _fitting(self, atom: Atom) -> Any:
        while not _true(atom, {atom.attribute: (value := self._any(atom.attribute))}):
            pass
        return value

    def _any(self, path: str) -> Any:
        if path in NUMBERS:
            return self._random.randint(*NUMBERS[path])
        return self._choose((True, False)) if path == SWITCH else self._choose(self._texts[path])

    @cached_property
    def _about(self) -> dict[tuple[str, str], list[Rule]]:
        found: dict[tuple[str, str], list[Rule]] = {}
        for rule in self.rules:
            for operation in rule.operations:
                found.setdefault(operation, []).append(rule)
        return found


def holds(rule: Rule, values: Mapping[str, Any]) -> bool:
    """Whether all atoms of a rule are true of these values: the reference that every engine is held to."""
    return all(_true(atom, values) for atom in rule.atoms)


def _true(atom: Atom, values: Mapping[str, Any]) -> bool:
    held, wanted = values[atom.attribute], atom.value
    match atom.op:
        case "==":
            return bool(held == wanted)
        case "!=":
            return bool(held != wanted)
        case ">=":
            return bool(held >= wanted)
        case "<=":
            return bool(held <= wanted)
        case "in":
            return held in wanted
        case "between":
            return bool(wanted[0] <= held <= wanted[1])
        case _:
            return bool(held == values[wanted])
